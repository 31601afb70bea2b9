//! Tokenizers: from a folder's files to GGUF keys, and from those keys to tokens.
//!
//! Keys of llama.cpp (`tokenizer.ggml.…`, `tokenizer.chat_template`) carry what they can. What they
//! cannot say stands in keys of ours, written only where it differs from what the others imply:
//!
//! | key | type | meaning |
//! | --- | --- | --- |
//! | `mdl.tokenizer.pre_tokenizer` | string | `pre_tokenizer` of a `tokenizer.json` that has no name |
//! | `mdl.tokenizer.normalizer` | string | its `normalizer`; `null` for none |
//! | `mdl.tokenizer.ignore_merges` | bool | whether a word that is a token is taken whole |
//! | `mdl.tokenizer.prefix_first` | bool | the space goes in front of the text, not after each special token |
//! | `mdl.tokenizer.end_ids` | u32[] | every token that ends a reply (`generation_config.json`) |
//! | `mdl.tokenizer.lstrip`, `.rstrip`, `.single_word`, `.normalized` | u32[] | added tokens of that kind |

mod json;
mod keys;
pub mod pre;
mod sentencepiece;
mod side;
#[cfg(feature = "tokenizers")]
mod text;

pub use keys::read;
pub(crate) use side::KINDS;
#[cfg(feature = "tokenizers")]
pub use text::{Decoder, Tokenizer};

pub(crate) const PRE_TOKENIZER: &str = "mdl.tokenizer.pre_tokenizer";
pub(crate) const NORMALIZER: &str = "mdl.tokenizer.normalizer";
pub(crate) const IGNORE_MERGES: &str = "mdl.tokenizer.ignore_merges";
pub(crate) const PREFIX_FIRST: &str = "mdl.tokenizer.prefix_first";
pub(crate) const END_IDS: &str = "mdl.tokenizer.end_ids";
pub(crate) const LSTRIP: &str = "mdl.tokenizer.lstrip";
pub(crate) const RSTRIP: &str = "mdl.tokenizer.rstrip";
pub(crate) const SINGLE_WORD: &str = "mdl.tokenizer.single_word";
pub(crate) const NORMALIZED: &str = "mdl.tokenizer.normalized";

/// `tokenizer.ggml.token_type`: llama.cpp's numbers, which are SentencePiece's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// Not stated.
    Undefined = 0,
    /// Made by merging.
    Normal = 1,
    /// Stands for what has no token.
    Unknown = 2,
    /// For control: found in text only where special tokens are asked for.
    Control = 3,
    /// Found in text always, before anything is merged.
    UserDefined = 4,
    /// Not used.
    Unused = 5,
    /// One byte.
    Byte = 6,
}

impl TokenType {
    /// The type of that number.
    pub fn of(number: i64) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }
}
