//! Finds special tokens in text before anything else is done to it.
//!
//! At each place the longest one counts, as in Hugging Face's tokenizers.

use super::vocabulary::Vocabulary;
use crate::{
    gguf::{Array, Metadata, Value},
    tokenizer::{self, TokenType},
};

/// A piece of text, or a special token found in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

/// The tokens that are found in text.
#[derive(Debug)]
pub(super) struct Specials {
    /// Sorted by text.
    all: Vec<Special>,
    /// Bytes that some text begins with.
    first: Vec<bool>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags are the format's own, and independent"
)]
#[derive(Debug)]
struct Special {
    text: String,
    id: u32,
    /// Found only where special tokens are asked for.
    control: bool,
    /// White space before or after belongs to the token.
    lstrip: bool,
    rstrip: bool,
    /// Not found inside a word.
    single_word: bool,
}

/// Ids listed under a key.
fn ids(metadata: &Metadata, key: &str) -> Vec<u32> {
    match metadata.get(key) {
        Some(Value::Array(Array::U32(ids))) => ids.clone(),
        _ => Vec::new(),
    }
}

impl Specials {
    pub(super) fn read(vocabulary: &Vocabulary, metadata: &Metadata) -> Self {
        let lists = [tokenizer::LSTRIP, tokenizer::RSTRIP, tokenizer::SINGLE_WORD]
            .map(|key| ids(metadata, key));
        let special = |(id, text): (usize, &String)| {
            let id = u32::try_from(id).ok()?;
            let control = match vocabulary.ty(id) {
                TokenType::Control | TokenType::Unknown => true,
                TokenType::UserDefined => false,
                _ => return None,
            };
            let [lstrip, rstrip, single_word] = lists.each_ref().map(|list| list.contains(&id));
            let text = text.clone();
            (!text.is_empty()).then_some(Special { text, id, control, lstrip, rstrip, single_word })
        };
        let mut all: Vec<_> = vocabulary.tokens.iter().enumerate().filter_map(special).collect();
        all.sort_by(|a, b| a.text.cmp(&b.text));
        let mut first = vec![false; 256];
        for special in &all {
            if let Some(slot) = special.text.bytes().next().and_then(|b| first.get_mut(b as usize))
            {
                *slot = true;
            }
        }
        Self { all, first }
    }

    /// The longest special token that stands at `at`.
    fn at(&self, text: &str, at: usize, parse_special: bool) -> Option<&Special> {
        let bytes = text.as_bytes();
        let mut range = &self.all[..];
        let mut found = None;
        for (depth, byte) in bytes.get(at..)?.iter().enumerate() {
            let key = |special: &Special| special.text.as_bytes().get(depth).copied();
            let start = range.partition_point(|special| key(special) < Some(*byte));
            let end = range.partition_point(|special| key(special) <= Some(*byte));
            range = range.get(start..end)?;
            let Some(shortest) = range.first() else { break };
            if shortest.text.len() == depth + 1
                && (parse_special || !shortest.control)
                && (!shortest.single_word || is_alone(text, at, at + depth + 1))
            {
                found = Some(shortest);
            }
        }
        found
    }

    /// Cuts the text.
    pub(super) fn split<'a>(&self, text: &'a str, parse_special: bool) -> Vec<Fragment<'a>> {
        let mut all = Vec::new();
        let (mut begin, mut at) = (0, 0);
        while let Some(&byte) = text.as_bytes().get(at) {
            let starts = self.first.get(byte as usize).copied().unwrap_or(false);
            let found = if starts { self.at(text, at, parse_special) } else { None };
            let Some(special) = found else {
                at += 1;
                continue;
            };
            let mut before = text.get(begin..at).unwrap_or_default();
            if special.lstrip {
                before = before.trim_end();
            }
            if !before.is_empty() {
                all.push(Fragment::Text(before));
            }
            all.push(Fragment::Token(special.id));
            at += special.text.len();
            if special.rstrip {
                let rest = text.get(at..).unwrap_or_default();
                at += rest.len() - rest.trim_start().len();
            }
            begin = at;
        }
        match text.get(begin..) {
            Some(rest) if !rest.is_empty() => all.push(Fragment::Text(rest)),
            _ => {}
        }
        all
    }
}

/// Whether no letter or digit touches this stretch.
fn is_alone(text: &str, start: usize, end: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.get(..start).and_then(|text| text.chars().next_back());
    let after = text.get(end..).and_then(|text| text.chars().next());
    !before.is_some_and(word) && !after.is_some_and(word)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn specials(rstrip: &[u32]) -> Specials {
        let mut metadata = Metadata::new();
        let tokens = ["<s>", "<s>x", "\n", "\n\n", "a", "é"].map(str::to_owned).to_vec();
        metadata.set("tokenizer.ggml.tokens", tokens);
        metadata.set("tokenizer.ggml.token_type", vec![3i32, 4, 4, 4, 1, 4]);
        metadata.set(tokenizer::RSTRIP, rstrip.to_vec());
        let vocabulary = Vocabulary::read(&metadata, Path::new("m")).unwrap();
        Specials::read(&vocabulary, &metadata)
    }

    #[test]
    fn the_longest_counts_and_control_tokens_only_when_asked_for() {
        use Fragment::{Text, Token};
        let found = specials(&[]);
        assert_eq!(
            found.split("a<s>b\n\n\nè", true),
            [Text("a"), Token(0), Text("b"), Token(3), Token(2), Text("è")]
        );
        assert_eq!(found.split("<s>b<s>x", false), [Text("<s>b"), Token(1)]);
        assert_eq!(found.split("é", false), [Token(5)]);
        assert_eq!(found.split("", true), []);
    }

    #[test]
    fn white_space_behind_is_taken_where_the_token_says_so() {
        let found = specials(&[0]);
        assert_eq!(found.split("<s> \u{a0} b", true), [Fragment::Token(0), Fragment::Text("b")]);
    }
}
