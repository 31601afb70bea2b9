//! Text to tokens and back, from a checkpoint's GGUF keys.

mod bpe;
mod decode;
mod ends;
mod partition;
mod spm;
mod vocabulary;

use std::path::{Path, PathBuf};

use self::{
    bpe::Bpe,
    partition::{Fragment, Specials},
    vocabulary::Vocabulary,
};
use super::{TokenType, pre};
use crate::{Checkpoint, Error, Result, gguf::Metadata};

pub use decode::Decoder;

/// A checkpoint's tokenizer.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags are the format's own, and independent"
)]
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    vocabulary: Vocabulary,
    specials: Specials,
    kind: Kind,
    /// Characters of GPT-2's alphabet with their bytes.
    alphabet: Vec<(char, u8)>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    /// A space goes in front of text.
    space_prefix: bool,
    /// … only at its very start, not after special tokens.
    prefix_first: bool,
    ends: Vec<u32>,
}

#[derive(Debug)]
enum Kind {
    /// Byte-level BPE.
    Bytes(Box<Bpe>),
    /// SentencePiece's BPE, with the ids of its byte tokens.
    Pieces { bytes: Vec<Option<u32>>, unknown: Option<u32> },
}

impl Tokenizer {
    /// The tokenizer of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none, or one of another kind.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        Self::from_metadata(&checkpoint.metadata, checkpoint.path())
    }

    /// The tokenizer that GGUF keys describe. `path` is for the messages.
    ///
    /// # Errors
    /// As [`Self::from_checkpoint`].
    pub fn from_metadata(metadata: &Metadata, path: &Path) -> Result<Self> {
        let model = metadata.str("tokenizer.ggml.model").unwrap_or("no_vocab");
        if !matches!(model, "gpt2" | "llama") {
            let problem = match model {
                "no_vocab" | "none" => "it has no tokenizer".to_owned(),
                other => format!("the tokenizer model {other:?} is not known"),
            };
            return Err(Error::unsupported(path, problem, "known are gpt2 and llama"));
        }
        let vocabulary = Vocabulary::read(metadata, path)?;
        let id = |key: &str| {
            let id = metadata.u64(&format!("tokenizer.ggml.{key}_token_id"))?;
            u32::try_from(id).ok().filter(|id| (*id as usize) < vocabulary.tokens.len())
        };
        let pieces = model == "llama";
        // llama.cpp's defaults for SentencePiece models.
        let usual = |id: Option<u32>, usual: u32| id.or(pieces.then_some(usual));
        let (bos, eos) = (usual(id("bos"), 1), usual(id("eos"), 2));
        let kind = if pieces {
            let bytes = (0..=255u8).map(|b| vocabulary.id(&format!("<0x{b:02X}>"))).collect();
            Kind::Pieces { bytes, unknown: usual(id("unknown"), 0) }
        } else {
            Kind::Bytes(Box::new(Bpe::read(metadata, &vocabulary, path)?))
        };
        let named = metadata.str("tokenizer.ggml.pre").and_then(pre::named);
        let flag = |key: &str| metadata.bool(&format!("tokenizer.ggml.{key}"));
        let usual_bos = pieces || named.is_some_and(|pre| pre.add_bos);
        let (specials, ends) =
            (Specials::read(&vocabulary, metadata), ends::read(metadata, &vocabulary, eos));
        Ok(Self {
            path: path.to_owned(),
            specials,
            ends,
            vocabulary,
            kind,
            alphabet: decode::bytes_by_character(),
            bos,
            eos,
            add_bos: flag("add_bos_token").unwrap_or(usual_bos),
            add_eos: flag("add_eos_token").unwrap_or(false),
            space_prefix: flag("add_space_prefix").unwrap_or(true) && pieces,
            prefix_first: metadata.bool(super::PREFIX_FIRST).unwrap_or(false),
        })
    }

    /// Tokens of text. `add_special`: with the begin and end tokens that the model wants around it.
    /// `parse_special`: control tokens in the text are found; else their text is text.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the vocabulary lacks what the text needs.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>> {
        let mut out = Vec::with_capacity(text.len() / 3 + 2);
        if add_special && self.add_bos {
            out.extend(self.bos);
        }
        let mut prefix = self.space_prefix;
        for fragment in self.specials.split(text, parse_special) {
            match fragment {
                Fragment::Token(id) => {
                    out.push(id);
                    prefix = self.space_prefix && !self.prefix_first;
                }
                Fragment::Text(text) => {
                    self.encode_text(text, prefix, &mut out)?;
                    prefix = false;
                }
            }
        }
        if add_special && self.add_eos {
            out.extend(self.eos);
        }
        Ok(out)
    }

    fn encode_text(&self, text: &str, prefix: bool, out: &mut Vec<u32>) -> Result<()> {
        match &self.kind {
            Kind::Bytes(bpe) => bpe
                .encode(text, out)
                .map_err(|problem| Error::malformed(&self.path, "tokenizer", problem)),
            Kind::Pieces { bytes, unknown } => {
                let mut escaped = String::with_capacity(text.len() + 3);
                if prefix {
                    escaped.push('▁');
                }
                escaped.push_str(&text.replace(' ', "▁"));
                spm::encode(&self.vocabulary, bytes, *unknown, &escaped, out);
                Ok(())
            }
        }
    }

    fn is_byte_level(&self) -> bool {
        matches!(self.kind, Kind::Bytes(_))
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.vocabulary.tokens.len()
    }

    /// Whether there is none; never, for a tokenizer that was read.
    pub fn is_empty(&self) -> bool {
        self.vocabulary.tokens.is_empty()
    }

    /// A token as the vocabulary has it.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// The id of a token, by its text in the vocabulary.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.vocabulary.id(text)
    }

    /// The type of a token.
    pub fn token_type(&self, id: u32) -> TokenType {
        self.vocabulary.ty(id)
    }

    /// The begin token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether a begin token goes before text.
    pub fn adds_bos(&self) -> bool {
        self.add_bos && self.bos.is_some()
    }

    /// Every token that ends a reply, in ascending order.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }
}

#[cfg(test)]
mod tests;
