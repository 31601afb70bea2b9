//! Text generation: token by token, until something ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use mdl_formats::gguf::{Array, Metadata, Value};

use crate::{Error, Result, Sampler, Session, Wanted, stop::StopStrings};

/// Turns tokens into text as they come. A piece may be empty while a character is incomplete.
pub trait Decoder {
    /// The text that `token` completes.
    ///
    /// # Errors
    /// Where the token is unknown, in words.
    fn push(&mut self, token: u32) -> Result<String, String>;

    /// What is still held back when no token follows.
    fn finish(&mut self) -> String;
}

/// When generation ends.
#[derive(Debug, Clone, Default)]
pub struct StopRules<'a> {
    /// Tokens to generate at most; without it the context is the limit.
    pub max_tokens: Option<usize>,
    /// Texts that end generation; they are not part of the output.
    pub stop: &'a [String],
    /// Tokens that end generation; see [`end_tokens`].
    pub end_tokens: &'a [u32],
    /// Set by Ctrl-C; looked at before every token and every batch of the prompt.
    pub cancelled: Option<&'a AtomicBool>,
}

/// Why generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The model gave one of its end tokens.
    EndToken(u32),
    /// The text contained that stop string.
    Stop(String),
    /// As many tokens as asked for.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// Cancelled by the user.
    Cancelled,
}

/// What was generated.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The tokens, without the end token.
    pub tokens: Vec<u32>,
    /// Why no more.
    pub ended: Ended,
}

/// Tokens of the prompt that are processed between two looks at the cancel flag.
const PROMPT_STEP: usize = 512;

/// Appends `prompt` to the session and generates from there. `emit` receives the text as it becomes
/// certain: whole characters, and nothing that may be the beginning of a stop string.
///
/// Afterwards the session holds the prompt and the generated tokens, except the last one unless an end
/// token followed it: [`Session::keep_common`] finds out where to go on.
///
/// # Errors
/// [`Error::Context`] where the prompt alone fills the context, and as [`Session::forward`].
pub fn generate(
    session: &mut Session<'_>,
    decoder: &mut dyn Decoder,
    prompt: &[u32],
    sampler: &mut Sampler,
    rules: &StopRules<'_>,
    emit: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    let needed = session.tokens().len() + prompt.len();
    let limit = session.model().context();
    if needed > limit {
        return Err(Error::Context { needed, limit });
    }
    let cancelled = || rules.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed));
    let mut tokens = Vec::new();
    let mut stop = StopStrings::new(rules.stop);
    let mut pending = prompt.to_vec();
    let ended = loop {
        if rules.max_tokens.is_some_and(|max| tokens.len() >= max) {
            break Ended::MaxTokens;
        }
        if session.remaining() < pending.len() {
            break Ended::ContextFull;
        }
        let Some(token) = next(session, sampler, &pending, &cancelled)? else {
            break Ended::Cancelled;
        };
        if rules.end_tokens.contains(&token) {
            break Ended::EndToken(token);
        }
        tokens.push(token);
        pending.clear();
        pending.push(token);
        let piece = decoder.push(token).map_err(|problem| Error::Decode { token, problem })?;
        if let Some(found) = stop.push(&piece, emit) {
            break Ended::Stop(found);
        }
    };
    if !matches!(ended, Ended::Stop(_)) {
        let found = stop.push(&decoder.finish(), emit);
        if found.is_none() {
            stop.finish(emit);
        }
    }
    Ok(Outcome { tokens, ended })
}

/// Appends `pending` and chooses the next token; `None` when cancelled.
fn next(
    session: &mut Session<'_>,
    sampler: &mut Sampler,
    pending: &[u32],
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<u32>> {
    let steps = pending.len().div_ceil(PROMPT_STEP).max(1);
    session.reserve(session.tokens().len() + pending.len())?;
    for (step, part) in pending.chunks(PROMPT_STEP).enumerate() {
        if cancelled() {
            return Ok(None);
        }
        if step + 1 < steps {
            session.forward(part, Wanted::None, &mut |_| {})?;
            continue;
        }
        let position = session.tokens().len() + part.len() - 1;
        let logits = session.next_logits(part)?;
        return sampler.choose(logits).map(Some).ok_or(Error::NotFinite { position });
    }
    Err(Error::Setting { setting: "prompt", value: "empty".into(), expected: "at least one token" })
}

/// Every token that the metadata name as an end: of the text, of a turn, of a message. Sorted.
///
/// Sources: llama.cpp's `llama-vocab.cpp` for the first three keys; `mdl.tokenizer.end_ids` is where
/// the others of a `generation_config.json` are kept.
pub fn end_tokens(metadata: &Metadata) -> Vec<u32> {
    const KEYS: [&str; 3] = [
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
    ];
    let single = KEYS.iter().filter_map(|key| metadata.u64(key));
    let mut tokens: Vec<u32> = single.filter_map(|token| u32::try_from(token).ok()).collect();
    if let Some(Value::Array(Array::U32(more))) = metadata.get("mdl.tokenizer.end_ids") {
        tokens.extend(more);
    }
    // Old files write −1 for none.
    tokens.retain(|&token| token != u32::MAX);
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_end_tokens_are_found_once() {
        let mut metadata = Metadata::new();
        metadata.set("tokenizer.ggml.eos_token_id", 7u32);
        metadata.set("tokenizer.ggml.eot_token_id", 3i32);
        metadata.set("tokenizer.ggml.eom_token_id", u32::MAX);
        metadata.set("mdl.tokenizer.end_ids", vec![9u32, 7]);
        assert_eq!(end_tokens(&metadata), [3, 7, 9]);
        assert!(end_tokens(&Metadata::new()).is_empty());
    }
}
