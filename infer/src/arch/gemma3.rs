//! Gemma 3 (text): norms around both halves of a layer, five layers with a window for each without,
//! the former with a rope base of their own.

use super::{Activation, Dimensions, Family, LocalRope, Norms, QkNorm};

pub(super) const FAMILY: Family = Family {
    architecture: "gemma3",
    norms: Norms::Sandwich,
    qk_norm: QkNorm::Head,
    activation: Activation::GeluTanh,
    scaled_embedding: true,
    window_interval: 6,
    local_rope: LocalRope::Unscaled(Some(10_000.0)),
    attention_scale,
    ..Family::PLAIN
};

/// `query_pre_attn_scalar` to the power −1/2. It is the head's size in every published model but the
/// 27B, where it is the width per head (168 against 128); GGUF has no key for it, so that the 27B is
/// told by its 62 layers, as llama.cpp does.
fn attention_scale(sizes: &Dimensions) -> f32 {
    let scalar = if sizes.layers == 62 { sizes.width / sizes.heads } else { sizes.head_dim };
    1.0 / (scalar as f32).sqrt()
}
