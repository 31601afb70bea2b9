//! Which tokens end a reply: every one that the model names, by key or by its text.

use super::vocabulary::Vocabulary;
use crate::{
    gguf::{Array, Metadata, Value},
    tokenizer::{self, TokenType},
};

/// Texts of control tokens that end a turn or a text. Source: llama.cpp's `src/llama-vocab.cpp`.
const TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<｜end▁of▁sentence｜>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// The ids, ascending, each once.
pub(super) fn read(metadata: &Metadata, vocabulary: &Vocabulary, eos: Option<u32>) -> Vec<u32> {
    let mut all: Vec<u32> = eos.into_iter().collect();
    for key in ["eot", "eom"] {
        let id = metadata.u64(&format!("tokenizer.ggml.{key}_token_id"));
        all.extend(id.and_then(|id| u32::try_from(id).ok()));
    }
    if let Some(Value::Array(Array::U32(ids))) = metadata.get(tokenizer::END_IDS) {
        all.extend(ids);
    }
    // Where ordinary tokens have such a text (HTML tags in Gemma's vocabulary) it is only text.
    let control = |id: &u32| vocabulary.ty(*id) == TokenType::Control;
    all.extend(TEXTS.iter().filter_map(|text| vocabulary.id(text)).filter(control));
    // gpt-oss ends a message within a reply with <|end|>, a reply with the other two.
    let has = |text: &str| vocabulary.id(text).is_some_and(|id| all.contains(&id));
    let within = has("<|return|>") && has("<|call|>") || has("<|calls|>") && has("<|flush|>");
    let message = vocabulary.id("<|end|>").filter(|_| within);
    all.retain(|id| (*id as usize) < vocabulary.tokens.len() && Some(*id) != message);
    all.sort_unstable();
    all.dedup();
    all
}
