//! The tokens of a checkpoint: text, type and score by id; id by text.

use std::path::Path;

use crate::{
    Error, Result,
    gguf::{Array, Metadata, Value},
    tokenizer::TokenType,
};

/// Tokens by id and by text.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) types: Vec<TokenType>,
    pub(super) scores: Vec<f32>,
    index: Index,
}

impl Vocabulary {
    /// From GGUF keys. `path` is for the messages.
    pub(super) fn read(metadata: &Metadata, path: &Path) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let tokens = metadata
            .strings(key)
            .ok_or_else(|| Error::malformed(path, key, "is missing or not a list of strings"))?;
        if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
            return Err(Error::malformed(path, key, format!("lists {} tokens", tokens.len())));
        }
        let types = types(metadata, path, tokens.len())?;
        let scores = scores(metadata, path, tokens.len())?;
        let index = Index::new(tokens);
        Ok(Self { tokens: tokens.to_vec(), types, scores, index })
    }

    /// The id of exactly that text.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.index.find(&self.tokens, text)
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    pub(super) fn ty(&self, id: u32) -> TokenType {
        self.types.get(id as usize).copied().unwrap_or(TokenType::Undefined)
    }
}

fn types(metadata: &Metadata, path: &Path, count: usize) -> Result<Vec<TokenType>> {
    let key = "tokenizer.ggml.token_type";
    let numbers: Vec<i64> = match metadata.get(key) {
        None => return Ok(vec![TokenType::Normal; count]),
        Some(Value::Array(Array::I32(numbers))) => numbers.iter().map(|n| i64::from(*n)).collect(),
        Some(Value::Array(Array::U32(numbers))) => numbers.iter().map(|n| i64::from(*n)).collect(),
        Some(_) => return Err(Error::malformed(path, key, "is not a list of 32-bit integers")),
    };
    check_length(path, key, numbers.len(), count)?;
    Ok(numbers.into_iter().map(TokenType::of).collect())
}

fn scores(metadata: &Metadata, path: &Path, count: usize) -> Result<Vec<f32>> {
    let key = "tokenizer.ggml.scores";
    match metadata.get(key) {
        None => Ok(vec![0.0; count]),
        Some(Value::Array(Array::F32(scores))) => {
            check_length(path, key, scores.len(), count)?;
            Ok(scores.clone())
        }
        Some(_) => Err(Error::malformed(path, key, "is not a list of 32-bit floats")),
    }
}

fn check_length(path: &Path, key: &str, length: usize, count: usize) -> Result<()> {
    if length == count {
        return Ok(());
    }
    Err(Error::malformed(path, key, format!("has {length} entries for {count} tokens")))
}

/// Ids by text: a table of open addresses with a fixed hash, so that nothing differs between runs.
#[derive(Debug)]
struct Index {
    /// Id + 1; 0 for an empty place. A power of two long.
    places: Vec<u32>,
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Index {
    fn new(tokens: &[String]) -> Self {
        let mut index = Self { places: vec![0; (tokens.len() * 2).next_power_of_two()] };
        for (id, text) in tokens.iter().enumerate() {
            // Of two tokens with one text the later stands, as in llama.cpp.
            let place = index.place(tokens, text);
            if let (Some(slot), Ok(id)) = (index.places.get_mut(place), u32::try_from(id + 1)) {
                *slot = id;
            }
        }
        index
    }

    /// Where the text stands or would stand. The table is at most half full, so this ends.
    fn place(&self, tokens: &[String], text: &str) -> usize {
        let mask = self.places.len() - 1;
        let mut place = (hash(text) as usize) & mask;
        while let Some(&id) = self.places.get(place)
            && id != 0
            && tokens.get(id as usize - 1).is_some_and(|token| token != text)
        {
            place = (place + 1) & mask;
        }
        place
    }

    fn find(&self, tokens: &[String], text: &str) -> Option<u32> {
        self.places.get(self.place(tokens, text))?.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found() {
        let mut metadata = Metadata::new();
        let tokens: Vec<String> = (0..1000).map(|n| format!("t{}", n % 997)).collect();
        metadata.set("tokenizer.ggml.tokens", tokens);
        let vocabulary = Vocabulary::read(&metadata, Path::new("m")).unwrap();
        assert_eq!(vocabulary.id("t0"), Some(997));
        assert_eq!(vocabulary.id("t5"), Some(5));
        assert_eq!(vocabulary.id("t998"), None);
        assert_eq!(vocabulary.id(""), None);
    }

    #[test]
    fn lists_must_be_of_one_length() {
        let mut metadata = Metadata::new();
        metadata.set("tokenizer.ggml.tokens", vec!["a".to_owned(), "b".to_owned()]);
        metadata.set("tokenizer.ggml.scores", vec![0.0f32]);
        let error = Vocabulary::read(&metadata, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("tokenizer.ggml.scores"), "{error}");
    }
}
