//! A model's hyper-parameters: read from GGUF keys, checked against each other.

use crate::{
    Result,
    arch::{Dimensions, Family, LocalRope},
    keys::{Keys, Pattern},
    rope::Scaling,
};

/// What the forward pass needs to know besides the weights. All sizes are above zero.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) family: &'static Family,
    pub(crate) layers: Vec<LayerConfig>,
    /// Positions that the model was trained for.
    pub(crate) context: usize,
    /// Values of a token between layers.
    pub(crate) width: usize,
    /// Values between the two halves of a feed-forward network.
    pub(crate) ffn_width: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) value_dim: usize,
    pub(crate) norm_eps: f32,
    pub(crate) embedding_scale: f32,
    pub(crate) attention_scale: f32,
    /// Logits are limited smoothly to ± this.
    pub(crate) logit_softcap: Option<f32>,
    pub(crate) rope: RopeConfig,
}

/// What differs between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerConfig {
    /// Positions that a query sees, itself counted.
    pub(crate) window: Option<usize>,
    pub(crate) rotation: Rotation,
}

/// Which rotation a layer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// None.
    None,
    /// The model's, with its scaling.
    Global,
    /// That of layers with a window.
    Local,
}

/// How positions are rotated.
#[derive(Debug)]
pub(crate) struct RopeConfig {
    /// Values of a head that rotate; even.
    pub(crate) rotary: usize,
    pub(crate) base: f32,
    /// Base of [`Rotation::Local`].
    pub(crate) local_base: f32,
    pub(crate) scaling: Scaling,
    /// Positions before the context was stretched.
    pub(crate) original_context: usize,
    /// What cosines and sines are multiplied with, as the file gives it.
    pub(crate) attention_factor: f32,
}

impl Config {
    pub(crate) fn read(keys: &Keys<'_>, max_layers: u64) -> Result<Self> {
        let family = Family::of(keys)?;
        refuse_unknown(keys)?;
        let layers = keys.positive("block_count")?;
        if layers as u64 > max_layers {
            let problem = format!("{layers} layers are more than the limit of {max_layers}");
            return Err(keys.malformed("block_count", problem).into());
        }
        let width = keys.positive("embedding_length")?;
        let heads = keys.positive("attention.head_count")?;
        let kv_heads = keys.positive_or("attention.head_count_kv", heads)?;
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("{kv_heads} key heads do not divide {heads} query heads");
            return Err(keys.malformed("attention.head_count_kv", problem).into());
        }
        let head_dim = keys.positive_or("attention.key_length", width / heads)?;
        let context = keys.positive("context_length")?;
        let sizes = Dimensions { layers, width, heads, head_dim };
        let scale = keys.number("attention.scale")?.filter(|&scale| scale != 0.0);
        Ok(Self {
            family,
            layers: layer_configs(keys, family, layers)?,
            context,
            width,
            ffn_width: keys.positive("feed_forward_length")?,
            heads,
            kv_heads,
            head_dim,
            value_dim: keys.positive_or("attention.value_length", width / heads)?,
            norm_eps: keys
                .positive_number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| keys.malformed("attention.layer_norm_rms_epsilon", "missing"))?,
            embedding_scale: if family.scaled_embedding { (width as f32).sqrt() } else { 1.0 },
            attention_scale: scale.unwrap_or_else(|| (family.attention_scale)(&sizes)),
            logit_softcap: keys.number("final_logit_softcapping")?.filter(|&cap| cap > 0.0),
            rope: RopeConfig::read(keys, family, head_dim, context)?,
        })
    }
}

/// Refuses what the forward pass would otherwise ignore.
fn refuse_unknown(keys: &Keys<'_>) -> Result<()> {
    let unsupported = |what: &str| {
        mdl_formats::Error::unsupported(
            keys.path(),
            format!("{} with {what} cannot be run", keys.architecture()),
            "",
        )
    };
    if keys.size("expert_count")?.unwrap_or(0) > 0 {
        return Err(unsupported("experts").into());
    }
    if keys.number("attn_logit_softcapping")?.unwrap_or(0.0) > 0.0 {
        return Err(unsupported("soft-capped attention scores").into());
    }
    for name in
        ["attention.key_length_swa", "attention.value_length_swa", "rope.dimension_sections"]
    {
        if keys.contains(name) {
            return Err(unsupported(name).into());
        }
    }
    Ok(())
}

fn layer_configs(keys: &Keys<'_>, family: &Family, layers: usize) -> Result<Vec<LayerConfig>> {
    let window = keys.size("attention.sliding_window")?.filter(|&window| window > 0);
    let windowed = keys
        .pattern("attention.sliding_window_pattern", layers)?
        .unwrap_or(Pattern::Interval(family.window_interval));
    let rotated = keys
        .pattern("attention.rope_pattern", layers)?
        .unwrap_or(Pattern::Interval(family.unrotated_interval));
    let layer = |layer| {
        let window = window.filter(|_| windowed.holds(layer));
        let rotation = match (rotated.holds(layer), window, family.local_rope) {
            (false, ..) => Rotation::None,
            (true, Some(_), LocalRope::Unscaled(_)) => Rotation::Local,
            (true, ..) => Rotation::Global,
        };
        LayerConfig { window, rotation }
    };
    Ok((0..layers).map(layer).collect())
}

impl RopeConfig {
    fn read(keys: &Keys<'_>, family: &Family, head_dim: usize, context: usize) -> Result<Self> {
        let rotary = keys.positive_or("rope.dimension_count", head_dim)?;
        if rotary > head_dim || !rotary.is_multiple_of(2) {
            let problem = format!("{rotary} of {head_dim} values in a head cannot rotate");
            return Err(keys.malformed("rope.dimension_count", problem).into());
        }
        let base = keys.positive_number("rope.freq_base")?.unwrap_or(10_000.0);
        let local_default = match family.local_rope {
            LocalRope::Unscaled(Some(default)) => default,
            LocalRope::Unscaled(None) | LocalRope::Same => base,
        };
        Ok(Self {
            rotary,
            base,
            local_base: keys.positive_number("rope.freq_base_swa")?.unwrap_or(local_default),
            scaling: Scaling::read(keys)?,
            original_context: keys.positive_or("rope.scaling.original_context_length", context)?,
            attention_factor: keys.positive_number("rope.scaling.attn_factor")?.unwrap_or(1.0),
        })
    }
}
