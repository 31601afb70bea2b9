//! A sequence in progress: its tokens, their keys and values, and the buffers of the forward pass.

use std::mem;

use mdl_kernels::{matrix::Activations, ops};

use crate::{
    Error, Result,
    forward::{self, Batch},
    model::Model,
};

/// Tokens that go through the layers at once.
const BATCH: usize = 512;

/// Logits that are computed at once, in values: bounds the memory for scoring a long text.
const TILE_VALUES: usize = 4 << 20;

/// Which of the tokens of a call are to be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: the call only fills the cache.
    None,
    /// The last one.
    Last,
    /// All from that index among the call's tokens on; `From(0)` is all.
    From(usize),
}

/// Logits of some consecutive tokens of a call.
#[derive(Debug)]
pub struct Tile<'a> {
    /// Index, among the call's tokens, of the one whose output stands first.
    pub first: usize,
    /// Values in a row.
    pub vocab: usize,
    /// One row a token. The receiver may change them: they are not used again.
    pub logits: &'a mut [f32],
}

/// Keys and values of one layer.
#[derive(Debug, Default)]
pub(crate) struct LayerCache {
    /// As [`ops::remember`] lays them out.
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
}

/// Buffers of the forward pass; each grows to the largest batch seen and is then reused.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Tokens between layers.
    pub(crate) x: Vec<f32>,
    /// Normalized tokens; outputs of attention and of the feed-forward network.
    pub(crate) h: Vec<f32>,
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    /// Results of attention, heads side by side; normalized queries and keys before.
    pub(crate) attended: Vec<f32>,
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// A tile of logits.
    pub(crate) logits: Vec<f32>,
    pub(crate) global: Angles,
    pub(crate) local: Angles,
    pub(crate) activations: Activations,
}

/// Cosines and sines of a batch's positions.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

/// A sequence in progress.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    tokens: Vec<u32>,
    cache: Vec<LayerCache>,
    capacity: usize,
    /// Whether the cache was filled with the rotation for sequences beyond the original context.
    long: bool,
    scratch: Scratch,
    /// What [`Self::next_logits`] gave last.
    last: Vec<f32>,
}

impl<'m> Session<'m> {
    /// An empty sequence. The cache grows with it.
    pub fn new(model: &'m Model) -> Self {
        let scratch = Scratch {
            x: Vec::new(),
            h: Vec::new(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            attended: Vec::new(),
            gate: Vec::new(),
            up: Vec::new(),
            logits: Vec::new(),
            global: Angles::default(),
            local: Angles::default(),
            activations: Activations::new(model.precision),
        };
        Self {
            model,
            tokens: Vec::new(),
            cache: model.config.layers.iter().map(|_| LayerCache::default()).collect(),
            capacity: 0,
            long: false,
            scratch,
            last: Vec::new(),
        }
    }

    /// The model that runs it.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The tokens seen so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions that are still free.
    pub fn remaining(&self) -> usize {
        self.model.context.saturating_sub(self.tokens.len())
    }

    /// Forgets all tokens but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    /// Forgets what differs from the beginning of `tokens`, and gives how many of these are then held:
    /// those from that index on are to be appended. One is always left to append, since logits
    /// come from appending.
    pub fn keep_common(&mut self, tokens: &[u32]) -> usize {
        let same = self.tokens.iter().zip(tokens).take_while(|(held, new)| held == new).count();
        let kept = same.min(tokens.len().saturating_sub(1));
        self.truncate(kept);
        kept
    }

    /// Makes room for `positions` in all, so that the cache need not grow up to there.
    ///
    /// # Errors
    /// [`Error::Context`] where the context is smaller.
    pub fn reserve(&mut self, positions: usize) -> Result<()> {
        let limit = self.model.context;
        if positions > limit {
            return Err(Error::Context { needed: positions, limit });
        }
        if positions <= self.capacity {
            return Ok(());
        }
        // Doubling keeps the copies rare.
        let most = limit.next_multiple_of(64);
        let capacity = positions.max(self.capacity * 2).next_multiple_of(64).min(most);
        let config = &self.model.config;
        let (heads, dim) = (config.kv_heads, config.head_dim);
        let row = ops::values_len(1, 1, config.value_dim);
        // Keys lie in blocks of sixteen positions, the last of which may be filled in part.
        let filled = self.tokens.len().next_multiple_of(16);
        for layer in &mut self.cache {
            grow(&mut layer.keys, heads, filled * dim, ops::keys_len(heads, capacity, dim));
            let len = ops::values_len(heads, capacity, config.value_dim);
            grow(&mut layer.values, heads, filled * row, len);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Appends `tokens` and gives the logits that follow the last of them.
    ///
    /// # Errors
    /// As [`Self::forward`]; an empty call gives no logits.
    pub fn next_logits(&mut self, tokens: &[u32]) -> Result<&mut [f32]> {
        let mut last = mem::take(&mut self.last);
        let done = self.forward(tokens, Wanted::Last, &mut |tile| {
            last.clear();
            last.extend_from_slice(tile.logits);
        });
        self.last = last;
        done?;
        Ok(&mut self.last)
    }

    /// Appends `tokens`; `sink` receives the logits of the wanted ones in order, in tiles of bounded
    /// size.
    ///
    /// # Errors
    /// [`Error::Token`] and [`Error::Context`] before anything is done; [`Error::Kernel`] where a
    /// tensor's type cannot be multiplied, after which the session holds the batches before.
    pub fn forward(
        &mut self,
        tokens: &[u32],
        wanted: Wanted,
        sink: &mut dyn FnMut(Tile<'_>),
    ) -> Result<()> {
        let vocab = self.model.weights.embedding.rows();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab) {
            return Err(Error::Token { token, vocab });
        }
        let end = self.tokens.len() + tokens.len();
        self.reserve(end)?;
        self.choose_rotation(end)?;
        let from = match wanted {
            Wanted::None => tokens.len(),
            Wanted::Last => tokens.len().saturating_sub(1),
            Wanted::From(index) => index,
        };
        self.run(tokens, from, sink)
    }

    /// Long rope factors hold for the whole of a sequence that is longer than the original context, so
    /// that crossing that border means to go through its tokens again, as transformers does.
    fn choose_rotation(&mut self, end: usize) -> Result<()> {
        let config = &self.model.config;
        let long = self.model.rotations.long.is_some() && end > config.rope.original_context;
        if long == self.long {
            return Ok(());
        }
        self.long = long;
        let seen = mem::take(&mut self.tokens);
        self.run(&seen, seen.len(), &mut |_| {})
    }

    fn run(&mut self, tokens: &[u32], from: usize, sink: &mut dyn FnMut(Tile<'_>)) -> Result<()> {
        let model = self.model;
        for (index, batch) in tokens.chunks(BATCH).enumerate() {
            let first = index * BATCH;
            let rotations = &model.rotations;
            let global = match &rotations.long {
                Some(frequencies) if self.long => frequencies,
                _ => &rotations.global,
            };
            let run = Batch {
                model,
                tokens: batch,
                past: self.tokens.len(),
                capacity: self.capacity,
                global,
            };
            let scored = from.saturating_sub(first).min(batch.len());
            forward::layers(&run, &mut self.cache, &mut self.scratch)?;
            self.tokens.extend_from_slice(batch);
            self.score(scored, batch.len(), first, sink)?;
        }
        Ok(())
    }

    /// The output head for tokens `from..len` of the batch whose first token has index `first`.
    fn score(
        &mut self,
        from: usize,
        len: usize,
        first: usize,
        sink: &mut dyn FnMut(Tile<'_>),
    ) -> Result<()> {
        let vocab = self.model.vocab();
        let tile = (TILE_VALUES / vocab).clamp(1, BATCH);
        let mut start = from;
        while start < len {
            let end = len.min(start + tile);
            let logits = forward::head(self.model, start..end, &mut self.scratch)?;
            sink(Tile { first: first + start, vocab, logits });
            start = end;
        }
        Ok(())
    }
}

/// Replaces a cache of `heads` parts by one of `len` values, keeping the first `filled` of each part.
fn grow(cache: &mut Vec<f32>, heads: usize, filled: usize, len: usize) {
    let old = mem::replace(cache, vec![0.0; len]);
    if old.is_empty() || filled == 0 {
        return;
    }
    let parts = cache.chunks_exact_mut(len / heads).zip(old.chunks_exact(old.len() / heads));
    for (new, old) in parts {
        new[..filled].copy_from_slice(&old[..filled]);
    }
}
