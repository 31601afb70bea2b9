//! What `eval` and `run` share: a model argument becomes a model that runs.

use std::sync::Arc;

use mdl_formats::{Checkpoint, Limits, tokenizer::Tokenizer};
use mdl_infer::{Model, Options, Precision};
use mdl_kernels::Compute;

use crate::{
    args::Activations, failure::Failure, model_argument, printer::Printer, settings::Settings,
};

/// A model and what its file says.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) model: Model,
}

/// The team of threads that models share.
pub(crate) fn compute(settings: &Settings) -> Arc<Compute> {
    Arc::new(Compute::new(settings.tier, settings.threads))
}

/// Opens and loads a model; `context` positions, or its own many.
pub(crate) fn load(
    argument: &str,
    compute: &Arc<Compute>,
    activations: Activations,
    context: Option<usize>,
) -> Result<Loaded, Failure> {
    let path = model_argument::path(argument)?;
    let checkpoint = Checkpoint::open(&path, &Limits::default())?;
    let mut options = Options::new(Arc::clone(compute));
    options.precision = match activations {
        Activations::F32 => Precision::F32,
        Activations::Q8 => Precision::Q8,
    };
    options.context = context;
    let model = Model::load(&checkpoint, &options)?;
    tracing::info!("{argument} is loaded");
    Ok(Loaded { checkpoint, model })
}

/// The model's tokenizer.
pub(crate) fn tokenizer(loaded: &Loaded) -> Result<Tokenizer, Failure> {
    Ok(Tokenizer::from_checkpoint(&loaded.checkpoint)?)
}

/// Says so where more positions are asked for than the model has learnt to tell apart.
pub(crate) fn warn_of_context(argument: &str, loaded: &Loaded, context: usize, printer: Printer) {
    let trained = loaded.model.trained_context();
    if context > trained {
        printer.warn(format!(
            "{argument} was trained for a context of {trained} tokens: beyond that it predicts worse"
        ));
    }
}
