//! The forward pass: a batch of tokens through embedding, layers and output head.

use std::ops::Range;

use mdl_kernels::{
    Compute,
    ops::{self, Attention},
};

use crate::{
    Result,
    arch::{Activation, QkNorm},
    config::{LayerConfig, Rotation},
    model::Model,
    rope::Frequencies,
    session::{Angles, LayerCache, Scratch},
    weights::Layer,
};

/// Consecutive tokens of one sequence.
pub(crate) struct Batch<'a> {
    pub(crate) model: &'a Model,
    pub(crate) tokens: &'a [u32],
    /// Positions in the cache before them.
    pub(crate) past: usize,
    /// Positions that the cache has room for.
    pub(crate) capacity: usize,
    pub(crate) global: &'a Frequencies,
}

/// A buffer cut to `len` values, grown where it is shorter.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// Embeds the batch and takes it through all layers; the result stands in `scratch.x`.
pub(crate) fn layers(
    batch: &Batch<'_>,
    cache: &mut [LayerCache],
    scratch: &mut Scratch,
) -> Result<()> {
    let model = batch.model;
    embed(batch, scratch)?;
    let rotary = model.config.rope.rotary;
    scratch.global.fill(batch.global, batch, rotary);
    if model.config.layers.iter().any(|layer| layer.rotation == Rotation::Local) {
        scratch.local.fill(&model.rotations.local, batch, rotary);
    }
    let facts = model.config.layers.iter().zip(&model.weights.layers);
    for ((config, weights), cache) in facts.zip(cache) {
        let layer = LayerPass { batch, config, weights };
        layer.attention(cache, scratch)?;
        layer.feed_forward(scratch)?;
    }
    Ok(())
}

/// Logits of tokens `rows` of the batch that [`layers`] has left in `scratch.x`.
pub(crate) fn head<'s>(
    model: &Model,
    rows: Range<usize>,
    scratch: &'s mut Scratch,
) -> Result<&'s mut [f32]> {
    let (config, compute) = (&model.config, &*model.compute);
    let width = config.width;
    let x = &scratch.x[rows.start * width..rows.end * width];
    let h = sized(&mut scratch.h, x.len());
    ops::rms_norm(compute, x, width, &model.weights.output_norm, config.norm_eps, h);
    scratch.activations.load(h, width);
    let logits = sized(&mut scratch.logits, rows.len() * model.vocab());
    model.weights.output.apply(compute, &mut scratch.activations, logits)?;
    if let Some(cap) = config.logit_softcap {
        compute.chunks(logits, 4096, |_, piece| {
            for value in piece {
                *value = cap * (*value / cap).tanh();
            }
        });
    }
    Ok(logits)
}

fn embed(batch: &Batch<'_>, scratch: &mut Scratch) -> Result<()> {
    let model = batch.model;
    let width = model.config.width;
    let x = sized(&mut scratch.x, batch.tokens.len() * width);
    for (row, &token) in x.chunks_exact_mut(width).zip(batch.tokens) {
        model.weights.embedding.decode_row(&model.compute, token as usize, row)?;
    }
    let scale = model.config.embedding_scale;
    if scale != 1.0 {
        for value in x {
            *value *= scale;
        }
    }
    Ok(())
}

impl Angles {
    fn fill(&mut self, frequencies: &Frequencies, batch: &Batch<'_>, rotary: usize) {
        let len = batch.tokens.len() * rotary / 2;
        let (cos, sin) = (sized(&mut self.cos, len), sized(&mut self.sin, len));
        frequencies.fill(batch.past, cos, sin);
    }
}

/// One layer's pass over a batch.
struct LayerPass<'a> {
    batch: &'a Batch<'a>,
    config: &'a LayerConfig,
    weights: &'a Layer,
}

impl LayerPass<'_> {
    fn compute(&self) -> &Compute {
        &self.batch.model.compute
    }

    /// Adds attention's output to `scratch.x`.
    fn attention(&self, cache: &mut LayerCache, scratch: &mut Scratch) -> Result<()> {
        let (batch, weights) = (self.batch, self.weights);
        let config = &batch.model.config;
        let tokens = batch.tokens.len();
        self.normalize_into_activations(weights.attention_norm.as_deref(), scratch);
        let query = sized(&mut scratch.query, tokens * weights.query.rows());
        weights.query.apply(self.compute(), &mut scratch.activations, query)?;
        let key = sized(&mut scratch.key, tokens * weights.key.rows());
        weights.key.apply(self.compute(), &mut scratch.activations, key)?;
        let value = sized(&mut scratch.value, tokens * weights.value.rows());
        weights.value.apply(self.compute(), &mut scratch.activations, value)?;
        self.prepare(scratch);

        let shape = Attention {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            value_dim: config.value_dim,
            past: batch.past,
            capacity: batch.capacity,
            window: self.config.window,
            scale: config.attention_scale,
        };
        let query = &scratch.query[..tokens * weights.query.rows()];
        let key = &scratch.key[..tokens * weights.key.rows()];
        let value = &scratch.value[..tokens * weights.value.rows()];
        ops::remember(&shape, key, value, &mut cache.keys, &mut cache.values);
        let attended = sized(&mut scratch.attended, tokens * config.heads * config.value_dim);
        ops::attention(self.compute(), &shape, query, &cache.keys, &cache.values, attended);
        scratch.activations.load(attended, config.heads * config.value_dim);
        let out = sized(&mut scratch.h, tokens * config.width);
        weights.attention_out.apply(self.compute(), &mut scratch.activations, out)?;
        self.add_residual(weights.attention_post_norm.as_deref(), scratch);
        Ok(())
    }

    /// Adds the feed-forward network's output to `scratch.x`.
    fn feed_forward(&self, scratch: &mut Scratch) -> Result<()> {
        let (batch, weights) = (self.batch, self.weights);
        let config = &batch.model.config;
        let tokens = batch.tokens.len();
        self.normalize_into_activations(weights.ffn_norm.as_deref(), scratch);
        let gate = sized(&mut scratch.gate, tokens * config.ffn_width);
        weights.gate.apply(self.compute(), &mut scratch.activations, gate)?;
        let up = sized(&mut scratch.up, tokens * config.ffn_width);
        weights.up.apply(self.compute(), &mut scratch.activations, up)?;
        match config.family.activation {
            Activation::Silu => ops::silu_mul(self.compute(), gate, up),
            Activation::GeluTanh => ops::gelu_mul(self.compute(), gate, up),
        }
        scratch.activations.load(gate, config.ffn_width);
        let out = sized(&mut scratch.h, tokens * config.width);
        weights.down.apply(self.compute(), &mut scratch.activations, out)?;
        self.add_residual(weights.ffn_post_norm.as_deref(), scratch);
        Ok(())
    }

    /// Loads `x`, normalized where the family does so here, as activations.
    fn normalize_into_activations(&self, norm: Option<&[f32]>, scratch: &mut Scratch) {
        let config = &self.batch.model.config;
        let len = self.batch.tokens.len() * config.width;
        let x = &scratch.x[..len];
        let Some(norm) = norm else {
            scratch.activations.load(x, config.width);
            return;
        };
        let h = sized(&mut scratch.h, len);
        ops::rms_norm(self.compute(), x, config.width, norm, config.norm_eps, h);
        scratch.activations.load(h, config.width);
    }

    /// `x += h`, `h` normalized first where the family does so here.
    fn add_residual(&self, norm: Option<&[f32]>, scratch: &mut Scratch) {
        let config = &self.batch.model.config;
        let len = self.batch.tokens.len() * config.width;
        let (x, h) = (&mut scratch.x[..len], &scratch.h[..len]);
        let Some(norm) = norm else {
            ops::add(x, h);
            return;
        };
        let normed = sized(&mut scratch.attended, len);
        ops::rms_norm(self.compute(), h, config.width, norm, config.norm_eps, normed);
        ops::add(x, normed);
    }

    /// Normalizes and rotates queries and keys.
    fn prepare(&self, scratch: &mut Scratch) {
        let (config, tokens) = (&self.batch.model.config, self.batch.tokens.len());
        let angles = match self.config.rotation {
            Rotation::None => None,
            Rotation::Global => Some(&scratch.global),
            Rotation::Local => Some(&scratch.local),
        };
        let parts = [
            (&mut scratch.query, &self.weights.query_norm, config.heads),
            (&mut scratch.key, &self.weights.key_norm, config.kv_heads),
        ];
        for (buffer, norm, heads) in parts {
            let row = heads * config.head_dim;
            if let Some(norm) = norm {
                let cols =
                    if config.family.qk_norm == QkNorm::Head { config.head_dim } else { row };
                let normed = sized(&mut scratch.attended, tokens * row);
                let x = &mut buffer[..tokens * row];
                ops::rms_norm(self.compute(), x, cols, norm, config.norm_eps, normed);
                x.copy_from_slice(normed);
            }
            if let Some(angles) = angles {
                let rotary = config.rope.rotary;
                let len = tokens * rotary / 2;
                ops::rope(
                    self.compute(),
                    &mut buffer[..tokens * row],
                    heads,
                    config.head_dim,
                    rotary,
                    config.family.pairs,
                    &angles.cos[..len],
                    &angles.sin[..len],
                );
            }
        }
    }
}
