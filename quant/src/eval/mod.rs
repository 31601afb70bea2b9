//! Evaluation: perplexity by llama-perplexity's protocol, and divergence from a base model.
//!
//! The text's tokens are cut into chunks of `context`; the first token of a chunk becomes the begin token where the
//! tokenizer adds one; the model is asked for the tokens at n/2 + 1 … n − 1 of each chunk. With a base, both models run in
//! lockstep on the same chunk, so that no logits are stored beyond some tens of positions. Source: llama.cpp's
//! `tools/perplexity`.

mod gate;
mod report;
mod stats;

use std::sync::atomic::{AtomicBool, Ordering};

pub use gate::{Gates, Verdict};
use mdl_infer::{Model, Session, Wanted};
use mdl_kernels::Compute;
pub use report::{Divergence, Figure, Report, Spread};
use stats::{Pair, Tally};

use crate::{Error, Result};

/// Positions whose logits of the base are held while the other model computes its own.
const HELD: usize = 64;

/// The tokens of a text, and how they are cut.
#[derive(Debug, Clone)]
pub struct Text {
    /// All tokens, a begin token first where the tokenizer adds one.
    pub tokens: Vec<u32>,
    /// The begin token, where the tokenizer adds one.
    pub begin: Option<u32>,
    /// Tokens in a chunk.
    pub context: usize,
    /// Chunks to use at most.
    pub chunks: Option<usize>,
}

impl Text {
    /// The chunks, each of `context` tokens.
    ///
    /// # Errors
    /// [`Error::Refused`] where the text has fewer than two, as llama-perplexity asks, or the context is too small.
    fn chunks(&self) -> Result<Vec<Vec<u32>>> {
        if self.context < 8 {
            return Err(Error::refused(
                format!("a context of {} tokens is too small", self.context),
                "use 8 or more",
            ));
        }
        let whole = self.tokens.len() / self.context;
        if whole < 2 {
            return Err(Error::refused(
                format!(
                    "the text has {} tokens, but {} are needed",
                    self.tokens.len(),
                    2 * self.context
                ),
                "use a longer text or a smaller --context",
            ));
        }
        let used = whole.min(self.chunks.unwrap_or(whole));
        let chunk = |tokens: &[u32]| {
            let mut tokens = tokens.to_vec();
            if let (Some(first), Some(begin)) = (tokens.first_mut(), self.begin) {
                *first = begin;
            }
            tokens
        };
        Ok(self.tokens.chunks_exact(self.context).take(used).map(chunk).collect())
    }
}

/// Measures `model` on a text, and against `base` where one is given. `progress` is told after every chunk how many are
/// done, of how many, and the perplexity so far.
///
/// # Errors
/// [`Error::Refused`] where the models' vocabularies differ or the text is too short, [`Error::Infer`].
pub fn evaluate(
    model: &Model,
    base: Option<&Model>,
    text: &Text,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize, f64),
) -> Result<Report> {
    if let Some(base) = base.filter(|base| base.vocab() != model.vocab()) {
        let problem =
            format!("the vocabularies differ: {} tokens and {}", model.vocab(), base.vocab());
        return Err(Error::refused(problem, "compare a model with the one that it was made from"));
    }
    let chunks = text.chunks()?;
    let mut session = Session::new(model);
    let mut base_session = base.map(Session::new);
    let mut tally = Tally::default();
    for (index, chunk) in chunks.iter().enumerate() {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match &mut base_session {
            Some(base) => compare(&mut session, base, chunk, &mut tally)?,
            None => score(&mut session, chunk, &mut tally)?,
        }
        progress(index + 1, chunks.len(), tally.perplexity());
    }
    Ok(tally.report(chunks.len(), text.context))
}

/// Position of the first token of a chunk whose successor is asked for.
fn first_scored(chunk: &[u32]) -> usize {
    chunk.len() / 2
}

fn score(session: &mut Session<'_>, chunk: &[u32], tally: &mut Tally) -> Result<()> {
    session.truncate(0);
    let compute = session.model().compute().clone();
    let mut scores = Vec::new();
    let tokens = chunk.get(..chunk.len() - 1).unwrap_or_default();
    session.forward(tokens, Wanted::From(first_scored(chunk)), &mut |tile| {
        let targets = chunk.get(tile.first + 1..).unwrap_or_default();
        scores.extend(each_row(&compute, tile.logits, tile.vocab, targets, |row, target| {
            stats::nll(row, target)
        }));
    })?;
    for nll in scores {
        tally.single(nll);
    }
    Ok(())
}

fn compare(
    session: &mut Session<'_>,
    base: &mut Session<'_>,
    chunk: &[u32],
    tally: &mut Tally,
) -> Result<()> {
    let first = first_scored(chunk);
    let prefix = chunk.get(..first).unwrap_or_default();
    restart(session, prefix)?;
    restart(base, prefix)?;
    let compute = session.model().compute().clone();
    let mut held = Vec::new();
    let mut start = first;
    while start + 1 < chunk.len() {
        let end = (start + HELD).min(chunk.len() - 1);
        let tokens = chunk.get(start..end).unwrap_or_default();
        held.clear();
        base.forward(tokens, Wanted::From(0), &mut |tile| held.extend_from_slice(tile.logits))?;
        let mut pairs = Vec::new();
        session.forward(tokens, Wanted::From(0), &mut |tile| {
            let vocab = tile.vocab;
            let theirs = held.get(tile.first * vocab..).unwrap_or_default();
            let targets = chunk.get(start + tile.first + 1..).unwrap_or_default();
            let rows = tile.logits.len() / vocab.max(1);
            let mut found = vec![Pair::default(); rows];
            compute.chunks(&mut found, 1, |row, slot| {
                let ours = tile.logits.get(row * vocab..(row + 1) * vocab).unwrap_or_default();
                let theirs = theirs.get(row * vocab..(row + 1) * vocab).unwrap_or_default();
                let target = targets.get(row).copied().unwrap_or_default();
                slot.fill(Pair::of(ours, theirs, target));
            });
            pairs.append(&mut found);
        })?;
        for pair in &pairs {
            tally.pair(pair);
        }
        start = end;
    }
    Ok(())
}

/// Forgets the chunk before and reads the part of this one that is not scored.
fn restart(session: &mut Session<'_>, prefix: &[u32]) -> Result<()> {
    session.truncate(0);
    Ok(session.forward(prefix, Wanted::None, &mut |_| {})?)
}

/// Applies `score` to every row of logits with its target, on all threads.
fn each_row(
    compute: &Compute,
    logits: &[f32],
    vocab: usize,
    targets: &[u32],
    score: impl Fn(&[f32], u32) -> f64 + Sync,
) -> Vec<f64> {
    let mut scores = vec![0.0; logits.len() / vocab.max(1)];
    compute.chunks(&mut scores, 1, |row, slot| {
        let row_logits = logits.get(row * vocab..(row + 1) * vocab).unwrap_or_default();
        slot.fill(score(row_logits, targets.get(row).copied().unwrap_or_default()));
    });
    scores
}
