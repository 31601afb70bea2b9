//! What distinguishes the architecture families, as facts that the one forward pass follows.
//!
//! Each family is a file with one constant. The formulas are those of the families' reference
//! implementations in transformers; where a GGUF file cannot say something, llama.cpp's reading of
//! the same file (`src/models/*.cpp`) is followed.

mod gemma3;
mod llama;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use mdl_kernels::ops::RopePairs;

use crate::{Result, keys::Keys};

/// Where a layer normalizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before attention and before the feed-forward network.
    Pre,
    /// After each, before the residual is added.
    Post,
    /// Both.
    Sandwich,
}

impl Norms {
    pub(crate) fn before(self) -> bool {
        self != Self::Post
    }

    pub(crate) fn after(self) -> bool {
        self != Self::Pre
    }
}

/// How queries and keys are normalized before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QkNorm {
    /// Not at all.
    None,
    /// Each head by itself, all with the same weights.
    Head,
    /// All heads of a token as one row.
    Row,
}

/// What the gate of a feed-forward network goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// GELU in its tanh approximation.
    GeluTanh,
}

/// How layers with a sliding window rotate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LocalRope {
    /// As the others.
    Same,
    /// Unscaled, with a base of their own: the file's, or else this one; `None`: the others' base.
    Unscaled(Option<f32>),
}

/// A family's facts.
#[derive(Debug)]
pub(crate) struct Family {
    /// GGUF's `general.architecture`.
    pub(crate) architecture: &'static str,
    /// How rotated pairs lie in a query or key head, as GGUF stores the rows.
    pub(crate) pairs: RopePairs,
    pub(crate) norms: Norms,
    pub(crate) qk_norm: QkNorm,
    pub(crate) activation: Activation,
    /// Embeddings are multiplied with the square root of their width.
    pub(crate) scaled_embedding: bool,
    /// The layers that a sliding window holds for where the file gives no pattern: all but every
    /// n-th; 0 means all.
    pub(crate) window_interval: usize,
    /// How layers with a window rotate.
    pub(crate) local_rope: LocalRope,
    /// Every n-th layer does not rotate, where the file gives no pattern; 0 means all rotate.
    pub(crate) unrotated_interval: usize,
    /// What attention scores are multiplied with, where the file does not say.
    pub(crate) attention_scale: fn(&Dimensions) -> f32,
}

/// The sizes that a family's attention scale may depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dimensions {
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
}

impl Family {
    /// What most families share.
    const PLAIN: Self = Self {
        architecture: "",
        pairs: RopePairs::Halves,
        norms: Norms::Pre,
        qk_norm: QkNorm::None,
        activation: Activation::Silu,
        scaled_embedding: false,
        window_interval: 0,
        local_rope: LocalRope::Same,
        unrotated_interval: 0,
        attention_scale: |sizes| 1.0 / (sizes.head_dim as f32).sqrt(),
    };

    /// The family of a model.
    pub(crate) fn of(keys: &Keys<'_>) -> Result<&'static Self> {
        let name = keys.architecture();
        FAMILIES.iter().copied().find(|family| family.architecture == name).ok_or_else(|| {
            let known: Vec<&str> = architectures().collect();
            mdl_formats::Error::unsupported(
                keys.path(),
                format!("the architecture {name} cannot be run"),
                format!("architectures that can be run: {}", known.join(", ")),
            )
            .into()
        })
    }
}

const FAMILIES: [&Family; 7] = [
    &gemma3::FAMILY,
    &llama::FAMILY,
    &olmo2::FAMILY,
    &phi3::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &smollm3::FAMILY,
];

/// GGUF names of the architectures that can be run.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.architecture)
}
