//! A loaded model: hyper-parameters, weights and the threads that it computes with.

use std::sync::Arc;

use mdl_formats::{Checkpoint, Limits};
use mdl_kernels::{Compute, matrix::Precision};

use crate::{
    Result,
    config::Config,
    keys::Keys,
    rope::{Frequencies, Scaling},
    weights::Weights,
};

/// How a model is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads and instruction set. Models that are run in turns share it.
    pub compute: Arc<Compute>,
    /// How activations enter the matrix products.
    pub precision: Precision,
    /// Positions that a session may hold; the model's own context where `None`.
    pub context: Option<usize>,
    /// Bounds on what the file may ask for.
    pub limits: Limits,
}

impl Options {
    /// Activations quantized as llama.cpp does, the model's own context.
    pub fn new(compute: Arc<Compute>) -> Self {
        Self { compute, precision: Precision::Q8, context: None, limits: Limits::default() }
    }
}

/// A model that is ready to run. Weights stay mapped where the file's layout allows it.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) weights: Weights,
    pub(crate) compute: Arc<Compute>,
    pub(crate) precision: Precision,
    pub(crate) context: usize,
    pub(crate) rotations: Rotations,
}

/// The model's ways to rotate.
#[derive(Debug)]
pub(crate) struct Rotations {
    /// Within the original context.
    pub(crate) global: Frequencies,
    /// For sequences beyond it, where they differ.
    pub(crate) long: Option<Frequencies>,
    /// In layers with a window, where they differ.
    pub(crate) local: Frequencies,
}

impl Model {
    /// Takes the weights out of a checkpoint.
    ///
    /// # Errors
    /// [`crate::Error::Format`] names the key or tensor that is missing, odd or of another shape, and
    /// architectures that cannot be run.
    pub fn load(checkpoint: &Checkpoint, options: &Options) -> Result<Self> {
        let keys = Keys::new(checkpoint)?;
        let config = Config::read(&keys, options.limits.layers)?;
        let weights = Weights::load(checkpoint, &config, &options.compute)?;
        if config.rope.scaling == Scaling::Long && weights.rope_short.is_none() {
            return Err(keys
                .malformed("rope.scaling.type", "longrope without rope_factors_short.weight")
                .into());
        }
        let scaled = |factors: Option<&Vec<f32>>| {
            Frequencies::scaled(&config.rope, factors.map(Vec::as_slice))
        };
        let rotations = Rotations {
            global: scaled(weights.rope_short.as_ref()),
            long: weights.rope_long.as_ref().map(|factors| scaled(Some(factors))),
            local: Frequencies::plain(config.rope.rotary, config.rope.local_base),
        };
        Ok(Self {
            context: options.context.unwrap_or(config.context).max(1),
            compute: Arc::clone(&options.compute),
            precision: options.precision,
            config,
            weights,
            rotations,
        })
    }

    /// Tokens in the vocabulary, which is the length of a row of logits.
    pub fn vocab(&self) -> usize {
        self.weights.output.rows()
    }

    /// Positions that a session may hold.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Lets sessions hold so many positions at most.
    pub fn limit_context(&mut self, positions: usize) {
        self.context = self.context.min(positions).max(1);
    }

    /// Positions that the model was trained for.
    pub fn trained_context(&self) -> usize {
        self.config.context
    }

    /// The threads and instruction set in use.
    pub fn compute(&self) -> &Arc<Compute> {
        &self.compute
    }
}
