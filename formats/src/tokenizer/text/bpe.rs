//! Byte-level BPE, by the `tokenizers` crate.

use std::path::Path;

use tokenizers::{
    ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    models::bpe::{BPE, Vocab},
    normalizers::NFC,
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::vocabulary::Vocabulary;
use crate::{Error, Result, gguf::Metadata, tokenizer, tokenizer::pre};

/// An encoder of text without special tokens.
#[derive(Debug)]
pub(super) struct Bpe(tokenizers::Tokenizer);

impl Bpe {
    /// From GGUF keys. `path` is for the messages.
    pub(super) fn read(metadata: &Metadata, vocabulary: &Vocabulary, path: &Path) -> Result<Self> {
        let name = metadata.str("tokenizer.ggml.pre").unwrap_or("default");
        let kept = metadata.str(tokenizer::PRE_TOKENIZER);
        let pre = pre::named(name);
        let wrong = |key: &str| {
            let (path, key) = (path.to_owned(), key.to_owned());
            move |error: &dyn std::fmt::Display| Error::malformed(&path, key, error.to_string())
        };
        let cut: PreTokenizerWrapper = match (kept, pre) {
            (Some(kept), _) => serde_json::from_str(kept)
                .map_err(|error| wrong(tokenizer::PRE_TOKENIZER)(&error))?,
            (None, Some(pre)) => {
                by_splits(pre.splits).map_err(|e| wrong("tokenizer.ggml.pre")(&e))?
            }
            (None, None) => return Err(unknown(path, name)),
        };
        let ignore = metadata.bool(tokenizer::IGNORE_MERGES);
        let ignore = ignore.unwrap_or_else(|| pre.is_some_and(|pre| pre.ignore_merges));
        let model = model(metadata, vocabulary, path, ignore)?;
        let mut made = tokenizers::Tokenizer::new(ModelWrapper::BPE(model));
        made.with_pre_tokenizer(Some(cut));
        let normalizer: Option<NormalizerWrapper> = match metadata.str(tokenizer::NORMALIZER) {
            Some("null") => None,
            Some(kept) => Some(
                serde_json::from_str(kept).map_err(|error| wrong(tokenizer::NORMALIZER)(&error))?,
            ),
            None => pre.filter(|pre| pre.nfc).map(|_| NormalizerWrapper::NFC(NFC)),
        };
        made.with_normalizer(normalizer).map_err(|e| wrong(tokenizer::NORMALIZER)(&e))?;
        Ok(Self(made))
    }

    /// Tokens of text.
    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), String> {
        let encoding = self.0.encode_fast(text, false).map_err(|error| error.to_string())?;
        out.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

fn unknown(path: &Path, name: &str) -> Error {
    let known: Vec<_> = pre::TABLE.iter().map(|pre| pre.name).collect();
    Error::unsupported(
        path,
        format!("the pre-tokenizer {name:?} is not known"),
        format!("known are {}", known.join(", ")),
    )
}

/// Expressions one after another, then bytes in GPT-2's alphabet.
fn by_splits(splits: &[&str]) -> tokenizers::Result<PreTokenizerWrapper> {
    let level = |use_regex| PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, use_regex));
    if splits == [pre::GPT2] {
        return Ok(level(true));
    }
    let split = |expression: &&str| {
        let pattern = SplitPattern::Regex((*expression).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
        Ok(PreTokenizerWrapper::Split(split))
    };
    let mut all = splits.iter().map(split).collect::<tokenizers::Result<Vec<_>>>()?;
    all.push(level(false));
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(all)))
}

fn model(metadata: &Metadata, vocabulary: &Vocabulary, path: &Path, ignore: bool) -> Result<BPE> {
    let key = "tokenizer.ggml.merges";
    let merges = metadata
        .strings(key)
        .ok_or_else(|| Error::malformed(path, key, "is missing or not a list of strings"))?;
    // The first character of a merge may itself be a space in old files.
    let parts = |merge: &String| {
        let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?.0;
        let (left, right) = (merge.get(..at)?, merge.get(at + 1..)?);
        let made = [left, right].concat();
        let known = [left, right, made.as_str()].iter().all(|part| vocabulary.id(part).is_some());
        known.then(|| (left.to_owned(), right.to_owned()))
    };
    let merges: Vec<_> = merges.iter().filter_map(parts).collect();
    let entry = |(id, text): (usize, &String)| Some((text.clone(), u32::try_from(id).ok()?));
    let tokens: Vocab = vocabulary.tokens.iter().enumerate().filter_map(entry).collect();
    BPE::builder()
        .vocab_and_merges(tokens, merges)
        .ignore_merges(ignore)
        .build()
        .map_err(|error| Error::malformed(path, key, error.to_string()))
}
