//! Llama 1 to 3, SmolLM 1 and 2, TinyLlama; Mistral 7B, whose window holds for every layer.

use mdl_kernels::ops::RopePairs;

use super::Family;

/// GGUF permutes query and key rows so that pairs are neighbours.
pub(super) const FAMILY: Family =
    Family { architecture: "llama", pairs: RopePairs::Interleaved, ..Family::PLAIN };
