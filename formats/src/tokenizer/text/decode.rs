//! Tokens to text, piece by piece: only whole characters come out.

use super::Tokenizer;
use crate::tokenizer::{TokenType, sentencepiece::byte_of};

/// The character of GPT-2's alphabet that stands for a byte.
///
/// Source: `bytes_to_unicode` of GPT-2's `encoder.py`: printable Latin-1 stands for itself, the other
/// bytes, in order, for the characters from U+0100 on.
pub(crate) fn alphabet() -> [char; 256] {
    let mut all = ['\0'; 256];
    let mut next = 0x100u32;
    for (byte, slot) in (0u8..=255).zip(&mut all) {
        *slot = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or('\0')
            }
        };
    }
    all
}

/// Bytes by character, sorted.
pub(super) fn bytes_by_character() -> Vec<(char, u8)> {
    let mut all: Vec<(char, u8)> = alphabet().into_iter().zip(0..=255).collect();
    all.sort_unstable();
    all
}

impl Tokenizer {
    /// The bytes that a token stands for. `special`: control tokens show as their text, else as
    /// nothing.
    pub fn token_bytes(&self, id: u32, special: bool) -> Vec<u8> {
        let Some(text) = self.vocabulary.text(id) else { return Vec::new() };
        match self.vocabulary.ty(id) {
            TokenType::Control | TokenType::Unknown => {
                if special {
                    text.as_bytes().to_vec()
                } else {
                    Vec::new()
                }
            }
            TokenType::UserDefined => text.as_bytes().to_vec(),
            TokenType::Unused => Vec::new(),
            TokenType::Byte => byte_of(text).into_iter().collect(),
            TokenType::Normal | TokenType::Undefined if self.is_byte_level() => {
                let mut bytes = Vec::with_capacity(text.len());
                for c in text.chars() {
                    match self.alphabet.binary_search_by_key(&c, |(c, _)| *c) {
                        Ok(at) => bytes.extend(self.alphabet.get(at).map(|(_, byte)| *byte)),
                        Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                bytes
            }
            TokenType::Normal | TokenType::Undefined => text.replace('▁', " ").into_bytes(),
        }
    }

    /// The text of tokens, without control tokens; the space that encoding put in front is taken off.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder(false);
        let mut text: String = ids.iter().map(|id| decoder.push(*id)).collect();
        text.push_str(&decoder.finish());
        if self.space_prefix && text.starts_with(' ') {
            text.remove(0);
        }
        text
    }

    /// A decoder for tokens that come one by one.
    pub fn decoder(&self, special: bool) -> Decoder<'_> {
        Decoder { tokenizer: self, special, held: Vec::new() }
    }
}

/// Gives text as soon as it is whole characters.
#[derive(Debug)]
pub struct Decoder<'a> {
    tokenizer: &'a Tokenizer,
    special: bool,
    /// The beginning of a character whose other bytes are still to come: at most three.
    held: Vec<u8>,
}

impl Decoder<'_> {
    /// Takes a token; gives what is whole now. Bytes that are no text become U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        self.held.extend(self.tokenizer.token_bytes(id, self.special));
        let mut text = String::new();
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, broken) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(whole));
                    let Some(length) = error.error_len() else {
                        rest = broken;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = broken.get(length..).unwrap_or_default();
                }
            }
        }
        self.held = rest.to_vec();
        text
    }

    /// What is left: U+FFFD for a character that never became whole.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}
