//! `tokenizer.model`: SentencePiece's protobuf, as far as its BPE models need it.
//!
//! Source: `sentencepiece_model.proto` (field numbers) and the protobuf encoding. Every length is
//! checked against the bytes that remain.

use std::{collections::BTreeMap, path::Path};

use super::TokenType;
use crate::{Error, Limits, Result, json};

/// A piece of the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) score: f32,
    pub(crate) ty: TokenType,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) unknown: Option<u32>,
    /// Whether text gets a space in front.
    pub(crate) prefix: bool,
}

/// The byte that a piece like `<0x0A>` stands for.
pub(crate) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let sound = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if sound { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
}

/// Reads the fields of a message; `offset` is where it stands in the file.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    offset: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, at: 0, offset }
    }

    fn place(&self) -> String {
        format!("byte {}", self.offset + self.at)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// The next field's number and value; none at the end, an error for broken bytes.
    fn next(&mut self) -> Option<Result<(u64, Field<'a>), String>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let place = self.place();
        let read = |this: &mut Self| {
            let tag = this.varint()?;
            let value = match tag & 7 {
                0 => Field::Number(this.varint()?),
                1 => {
                    this.take(8)?;
                    Field::Number(0)
                }
                2 => {
                    let length = this.varint()?;
                    Field::Bytes(this.take(length)?)
                }
                5 => {
                    let bytes = this.take(4)?.first_chunk::<4>()?;
                    Field::Float(f32::from_le_bytes(*bytes))
                }
                _ => return None,
            };
            Some((tag >> 3, value))
        };
        Some(read(self).ok_or(place))
    }
}

impl Model {
    /// Reads the file. Only BPE models are taken.
    pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Self> {
        let bytes = json::read_bytes(path, limits)?;
        let broken = |place: String| {
            Error::malformed(path, place, "is not a sound field of a SentencePiece model")
        };
        let mut model =
            Self { pieces: Vec::new(), bos: Some(1), eos: Some(2), unknown: Some(0), prefix: true };
        let mut fields = Fields::new(&bytes, 0);
        // 1 is unigram, the format's default.
        let mut kind = 1;
        while let Some(field) = fields.next() {
            let offset = fields.at;
            match field.map_err(broken)? {
                (1, Field::Bytes(piece)) => {
                    if model.pieces.len() as u64 >= limits.array_len {
                        let problem = format!("are more than the limit of {}", limits.array_len);
                        return Err(Error::malformed(path, "pieces", problem));
                    }
                    let start = offset.saturating_sub(piece.len());
                    model.pieces.push(Piece::read(piece, start).map_err(broken)?);
                }
                (2, Field::Bytes(spec)) => model.trainer(spec, &mut kind).map_err(broken)?,
                (3, Field::Bytes(spec)) => model.normalizer(spec).map_err(broken)?,
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(Error::malformed(path, "pieces", "are missing; not a SentencePiece model"));
        }
        if kind != 2 {
            let name = match kind {
                1 => "unigram",
                3 => "word",
                _ => "character",
            };
            return Err(Error::unsupported(
                path,
                format!("a SentencePiece model of kind {name}"),
                "BPE models are known",
            ));
        }
        Ok(model)
    }

    /// `TrainerSpec`: kind of model (3) and special ids (40 to 42).
    fn trainer(&mut self, bytes: &[u8], kind: &mut u64) -> Result<(), String> {
        // Negative ids, for none, are written as 64-bit numbers.
        let id = |value: u64| u32::try_from(value).ok();
        let mut fields = Fields::new(bytes, 0);
        while let Some(field) = fields.next() {
            match field? {
                (3, Field::Number(value)) => *kind = value,
                (40, Field::Number(value)) => self.unknown = id(value),
                (41, Field::Number(value)) => self.bos = id(value),
                (42, Field::Number(value)) => self.eos = id(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// `NormalizerSpec`: `add_dummy_prefix` (3).
    fn normalizer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Fields::new(bytes, 0);
        while let Some(field) = fields.next() {
            if let (3, Field::Number(value)) = field? {
                self.prefix = value != 0;
            }
        }
        Ok(())
    }

    /// Scores for a table made from elsewhere: the pieces' own, −1000 for added tokens, −10000 for
    /// padding.
    pub(crate) fn scores(&self, tokens: &[String], types: &[TokenType]) -> Vec<f32> {
        let own: BTreeMap<&str, f32> =
            self.pieces.iter().map(|piece| (piece.text.as_str(), piece.score)).collect();
        let score = |(text, ty): (&String, &TokenType)| match ty {
            TokenType::Control | TokenType::UserDefined => -1000.0,
            _ => own.get(text.as_str()).copied().unwrap_or(-10000.0),
        };
        tokens.iter().zip(types).map(score).collect()
    }
}

impl Piece {
    /// `SentencePiece`: text (1), score (2), type (3), whose numbers are GGUF's token types too.
    fn read(bytes: &[u8], offset: usize) -> Result<Self, String> {
        let mut piece = Self { text: String::new(), score: 0.0, ty: TokenType::Normal };
        let mut fields = Fields::new(bytes, offset);
        while let Some(field) = fields.next() {
            let place = fields.place();
            match field? {
                (1, Field::Bytes(text)) => {
                    piece.text = String::from_utf8(text.to_vec()).map_err(|_| place)?;
                }
                (2, Field::Float(score)) => piece.score = score,
                (3, Field::Number(ty)) => {
                    piece.ty = TokenType::of(i64::try_from(ty).unwrap_or(0));
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 128 && number < 16);
        [&[number << 3 | 2, length], bytes].concat()
    }

    /// A small model file.
    pub(crate) fn file(pieces: &[(&str, f32, u8)], kind: u8) -> Vec<u8> {
        let mut all = Vec::new();
        for (text, score, ty) in pieces {
            let mut piece = message(1, text.as_bytes());
            piece.push(2 << 3 | 5);
            piece.extend(score.to_le_bytes());
            piece.extend([3 << 3, *ty]);
            all.extend(message(1, &piece));
        }
        all.extend(message(2, &[3 << 3, kind]));
        all
    }

    fn read(bytes: &[u8]) -> Result<Model> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        std::fs::write(&path, bytes).unwrap();
        Model::read(&path, &Limits::default())
    }

    #[test]
    fn pieces_are_read() {
        let bytes = file(&[("<unk>", 0.0, 2), ("<0x0A>", 0.0, 6), ("▁the", -3.0, 1)], 2);
        let model = read(&bytes).unwrap();
        assert_eq!(model.pieces[0].ty, TokenType::Unknown);
        assert_eq!(model.pieces[1].ty, TokenType::Byte);
        assert_eq!(model.pieces[2].text, "▁the");
        assert_eq!(model.pieces[2].score, -3.0);
        assert!(read(&file(&[("a", 0.0, 1)], 1)).unwrap_err().to_string().contains("unigram"));
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_model() {
        let bytes = file(&[("<unk>", 0.0, 2), ("▁a", -1.0, 1)], 2);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err());
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] = 0xff;
            let _ = read(&broken);
        }
    }

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_of("<0xFF>"), Some(255));
        for text in ["<0x>", "<0x+1>", "<0x123>", "0x12", "<0xé>"] {
            assert_eq!(byte_of(text), None);
        }
    }
}
