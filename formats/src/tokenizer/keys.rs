//! A folder's tokenizer as GGUF keys.
//!
//! Byte-level BPE becomes `gpt2` with its merges; SentencePiece's BPE (from `tokenizer.model`, or from
//! a `tokenizer.json` with byte fallback) becomes `llama` with scores. Source of the keys and of what
//! counts as which type of token: llama.cpp's `conversion/base.py` and `gguf-py/gguf/vocab.py`.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    TokenType,
    json::{AddedToken, Merge, TokenizerJson},
    pre, sentencepiece,
    side::{self, Side},
};
use crate::{Config, Error, Limits, Result, gguf::Metadata};

/// Everything under `tokenizer.` for a folder, with `vocabulary` tokens. Without tokenizer files that
/// is `no_vocab` and the chat template.
pub fn read(
    folder: &Path,
    config: &Config,
    vocabulary: usize,
    limits: &Limits,
    notes: &mut Vec<String>,
) -> Result<Metadata> {
    let side = Side::read(folder, limits)?;
    let (path, pieces) = (folder.join("tokenizer.json"), folder.join("tokenizer.model"));
    let mut out = Metadata::new();
    if path.is_file() {
        let json = TokenizerJson::read(&path, limits)?;
        let source = Source { path: &path, json: &json, side: &side, config, vocabulary };
        if json.is_byte_level() {
            source.byte_level(&mut out, notes)?;
        } else {
            source.sentencepiece(&pieces, limits, &mut out, notes)?;
        }
    } else if pieces.is_file() {
        from_model(&pieces, folder, config, &side, vocabulary, limits, &mut out)?;
    } else {
        if ["tekken.json", "vocab.json", "tokenizer.tiktoken"]
            .iter()
            .any(|n| folder.join(n).exists())
        {
            notes.push(
                "The folder has neither tokenizer.json nor tokenizer.model, so the tokenizer is left \
                 out."
                    .into(),
            );
        }
        out.set("tokenizer.ggml.model", "no_vocab");
        side.write_templates(&mut out);
    }
    Ok(out)
}

/// A `tokenizer.json` with what stands beside it.
struct Source<'a> {
    path: &'a Path,
    json: &'a TokenizerJson,
    side: &'a Side,
    config: &'a Config,
    vocabulary: usize,
}

/// Tokens in the order of their ids.
struct Table {
    tokens: Vec<String>,
    types: Vec<TokenType>,
}

impl Table {
    /// As many as the model has rows, each filled in later or left as padding.
    fn new(vocabulary: usize) -> Self {
        let tokens = (0..vocabulary).map(|id| format!("[PAD{id}]")).collect();
        Self { tokens, types: vec![TokenType::Unused; vocabulary] }
    }

    fn set(&mut self, path: &Path, id: u32, text: &str, ty: TokenType) -> Result<()> {
        let index = id as usize;
        let (Some(token), Some(slot)) = (self.tokens.get_mut(index), self.types.get_mut(index))
        else {
            let place = format!("token {text:?}");
            return Err(Error::malformed(path, place, format!("has id {id}, beyond vocab_size")));
        };
        text.clone_into(token);
        *slot = ty;
        Ok(())
    }

    /// Refuses one text under two ids, which GGUF readers cannot take.
    fn check_unique(&self, path: &Path) -> Result<()> {
        let mut seen: Vec<_> = self.tokens.iter().map(String::as_str).collect();
        seen.sort_unstable();
        match seen.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(Error::malformed(path, format!("token {:?}", pair[0]), "stands twice"))
            }
            None => Ok(()),
        }
    }

    fn write(self, out: &mut Metadata, scores: Option<Vec<f32>>) {
        let types: Vec<i32> = self.types.into_iter().map(|ty| ty as i32).collect();
        out.set("tokenizer.ggml.tokens", self.tokens);
        if let Some(scores) = scores {
            out.set("tokenizer.ggml.scores", scores);
        }
        out.set("tokenizer.ggml.token_type", types);
    }
}

/// Tokens that some models list as ordinary although they are for control.
fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}

/// The type and stored text of an added token.
fn added(text: &str, special: bool) -> (TokenType, String) {
    if special || looks_special(text) {
        (TokenType::Control, text.to_owned())
    } else {
        (TokenType::UserDefined, text.replace('▁', " "))
    }
}

impl Source<'_> {
    fn table(&self, ordinary: impl Fn(&str) -> TokenType) -> Result<Table> {
        let mut table = Table::new(self.vocabulary);
        for (text, id) in &self.json.model.vocab.0 {
            table.set(self.path, *id, text, ordinary(text))?;
        }
        for token in &self.json.added_tokens {
            let (ty, text) = added(&token.content, token.special);
            table.set(self.path, token.id, &text, ty)?;
        }
        table.check_unique(self.path)?;
        Ok(table)
    }

    fn check_kind(&self) -> Result<()> {
        let model = &self.json.model;
        let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
        let kind = model.kind.as_deref().unwrap_or("BPE");
        let plain = empty(&model.continuing_subword_prefix) && empty(&model.end_of_word_suffix);
        if kind != "BPE" || model.vocab.0.is_empty() || !plain {
            return Err(Error::unsupported(
                self.path,
                format!("its model is {kind}, or BPE with marked subwords"),
                "plain BPE is known",
            ));
        }
        Ok(())
    }

    fn byte_level(&self, out: &mut Metadata, notes: &mut Vec<String>) -> Result<()> {
        self.check_kind()?;
        let table = self.table(|_| TokenType::Normal)?;
        out.set("tokenizer.ggml.model", "gpt2");
        let ignore = self.json.model.ignore_merges.unwrap_or(false);
        let known = pre::of_json(&self.json.pre_tokenizer, ignore);
        out.set("tokenizer.ggml.pre", known.map_or("default", |pre| pre.name));
        table.write(out, None);
        out.set("tokenizer.ggml.merges", self.merges()?);
        self.special(out);
        if known.is_none() {
            out.set(super::PRE_TOKENIZER, self.json.pre_tokenizer.to_string());
            notes.push(
                "The tokenizer cuts text in a way that has no name in GGUF. It is kept in a key of \
                 ours, which llama.cpp does not read: its tokens will differ."
                    .into(),
            );
        }
        let pre = known.or_else(|| pre::named("default"));
        if pre.is_some_and(|pre| pre.ignore_merges != ignore) {
            out.set(super::IGNORE_MERGES, ignore);
        }
        let composes = pre.is_some_and(|pre| pre.nfc);
        self.normalizer(composes, out, notes);
        self.flags(out);
        Ok(())
    }

    /// Keeps a normalizer that the pre-tokenizer's name does not imply.
    fn normalizer(&self, composes: bool, out: &mut Metadata, notes: &mut Vec<String>) {
        let value = &self.json.normalizer;
        let kind = value.get("type").and_then(Value::as_str);
        let parts = value.get("normalizers").and_then(Value::as_array);
        let none =
            value.is_null() || (kind == Some("Sequence") && parts.is_some_and(Vec::is_empty));
        match (none, kind == Some("NFC"), composes) {
            (true, _, false) | (_, true, true) => {}
            (true, _, true) => out.set(super::NORMALIZER, "null"),
            (_, nfc, _) => {
                out.set(super::NORMALIZER, value.to_string());
                if !nfc {
                    notes.push(
                        "The tokenizer changes text before cutting it, which llama.cpp does not do."
                            .into(),
                    );
                }
            }
        }
    }

    /// Merges with one space between the parts; spaces inside them as in GPT-2's alphabet.
    fn merges(&self) -> Result<Vec<String>> {
        let merge = |(index, merge): (usize, &Merge)| match merge {
            Merge::Text(text) if text.matches(' ').count() == 1 => Ok(text.clone()),
            Merge::Pair(left, right) => {
                Ok(format!("{} {}", left.replace(' ', "Ġ"), right.replace(' ', "Ġ")))
            }
            Merge::Text(text) => Err(Error::malformed(
                self.path,
                format!("merge {index}"),
                format!("{text:?} is not two parts with a space between"),
            )),
        };
        self.json.model.merges.iter().enumerate().map(merge).collect()
    }

    fn sentencepiece(
        &self,
        pieces: &Path,
        limits: &Limits,
        out: &mut Metadata,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        self.check_kind()?;
        if !self.json.model.byte_fallback {
            return Err(Error::unsupported(
                self.path,
                "its tokens are neither bytes nor text with byte fallback",
                "byte-level BPE and SentencePiece BPE are known",
            ));
        }
        let unknown = self.json.model.unk_token.as_deref();
        let ordinary = |text: &str| {
            if sentencepiece::byte_of(text).is_some() {
                TokenType::Byte
            } else if Some(text) == unknown {
                TokenType::Unknown
            } else {
                TokenType::Normal
            }
        };
        let mut table = self.table(ordinary)?;
        if let Some(unknown) = unknown
            && let Some(index) = table.tokens.iter().position(|token| token == unknown)
            && !self.json.added_tokens.iter().any(|token| token.content == unknown)
        {
            table.types[index] = TokenType::Unknown;
        }
        let scores = if pieces.is_file() {
            let model = sentencepiece::Model::read(pieces, limits)?;
            model.scores(&table.tokens, &table.types)
        } else {
            self.scores(&table)
        };
        out.set("tokenizer.ggml.model", "llama");
        out.set("tokenizer.ggml.pre", "default");
        table.write(out, Some(scores));
        self.special(out);
        let (prefix, first_only) = self.prefix();
        out.set("tokenizer.ggml.add_space_prefix", prefix);
        if first_only {
            out.set(super::PREFIX_FIRST, true);
        }
        self.flags(out);
        let _ = notes;
        Ok(())
    }

    /// Whether text gets a space in front, and whether only at the very start.
    fn prefix(&self) -> (bool, bool) {
        let scheme = |value: &Value| {
            value.get("prepend_scheme").and_then(Value::as_str).map(ToOwned::to_owned)
        };
        let pre = &self.json.pre_tokenizer;
        if pre.get("type").and_then(Value::as_str) == Some("Metaspace") {
            return match scheme(pre).as_deref() {
                Some("first") => (true, true),
                Some("never") => (false, false),
                Some(_) => (true, false),
                None => {
                    (pre.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true), false)
                }
            };
        }
        let normalizer = &self.json.normalizer;
        let list = normalizer.get("normalizers").and_then(Value::as_array);
        let list = list.map_or(std::slice::from_ref(normalizer), Vec::as_slice);
        let prepends = |value: &Value| value.get("type").and_then(Value::as_str) == Some("Prepend");
        (list.iter().any(prepends), false)
    }

    /// Scores that make SentencePiece's order of merging that of the merges listed.
    ///
    /// SentencePiece gives the pieces it learns 0, −1, −2 … in the order of their ids. Where the
    /// merges agree with that order, so do the scores; else they count the merges.
    fn scores(&self, table: &Table) -> Vec<f32> {
        let is_normal = |id: &usize| table.types[*id] == TokenType::Normal;
        let ids: BTreeMap<&str, usize> =
            table.tokens.iter().enumerate().map(|(id, text)| (text.as_str(), id)).collect();
        let first = (0..table.tokens.len()).find(is_normal).unwrap_or(0);
        let mut order: Vec<usize> = Vec::new();
        let mut known = vec![false; table.tokens.len()];
        for merge in &self.json.model.merges {
            let Some((left, right)) = merge.parts() else { continue };
            let Some(id) = ids.get(format!("{left}{right}").as_str()).copied() else { continue };
            if is_normal(&id) && !known[id] {
                known[id] = true;
                order.push(id);
            }
        }
        let added =
            |id: usize| matches!(table.types[id], TokenType::Control | TokenType::UserDefined);
        let base = |id: usize| match table.types[id] {
            TokenType::Unused => -10000.0,
            _ if added(id) => -1000.0,
            TokenType::Normal => first as f32 - id as f32,
            _ => 0.0,
        };
        let mut scores: Vec<f32> = (0..table.tokens.len()).map(base).collect();
        if !order.is_sorted() {
            for (rank, id) in order.into_iter().enumerate() {
                scores[id] = -(rank as f32);
            }
        }
        scores
    }

    /// Special ids, flags and templates.
    fn special(&self, out: &mut Metadata) {
        let around = side::around(&self.json.post_processor);
        let class = self.side.str("tokenizer_class").unwrap_or_default();
        // These classes set up the post-processor anew from their configuration.
        let own = class.starts_with("Llama") || class.starts_with("Gemma");
        let decide = |kind: &str, found: Option<bool>, absent: bool| {
            let said = self.side.flag(&format!("add_{kind}_token"));
            let (first, second) = if own { (said, found) } else { (found, said) };
            first.or(second).unwrap_or(absent)
        };
        let flags = [decide("bos", around.bos, false), decide("eos", around.eos, false)];
        let find = |text: &str| self.find(text);
        self.side.write(self.config, self.vocabulary, flags, find, out);
        // The post-processor's tokens are the ones that are put there.
        for (text, key, added) in [
            (&around.first, "tokenizer.ggml.bos_token_id", flags[0]),
            (&around.last, "tokenizer.ggml.eos_token_id", flags[1]),
        ] {
            if let Some(id) = text.as_deref().and_then(find)
                && added
            {
                out.set(key, id);
            }
        }
    }

    fn find(&self, text: &str) -> Option<u32> {
        let added = self.json.added_tokens.iter().find(|token| token.content == text);
        added.map(|token| token.id).or_else(|| {
            self.json.model.vocab.0.iter().find(|(token, _)| token == text).map(|(_, id)| *id)
        })
    }

    /// Keeps what else is said of added tokens, by lists of ids.
    fn flags(&self, out: &mut Metadata) {
        let mut list = |key: &str, wanted: fn(&AddedToken) -> bool| {
            let tokens = self.json.added_tokens.iter().filter(|token| wanted(token));
            let ids: Vec<u32> = tokens.map(|token| token.id).collect();
            if !ids.is_empty() {
                out.set(key, ids);
            }
        };
        list(super::LSTRIP, |token| token.lstrip);
        list(super::RSTRIP, |token| token.rstrip);
        list(super::SINGLE_WORD, |token| token.single_word);
        list(super::NORMALIZED, |token| token.normalized);
    }
}

/// From `tokenizer.model` alone.
fn from_model(
    path: &Path,
    folder: &Path,
    config: &Config,
    side: &Side,
    vocabulary: usize,
    limits: &Limits,
    out: &mut Metadata,
) -> Result<()> {
    let model = sentencepiece::Model::read(path, limits)?;
    let mut table = Table::new(vocabulary);
    let mut scores = vec![-10000.0; vocabulary];
    for (id, piece) in model.pieces.iter().enumerate().take(vocabulary) {
        table.tokens[id].clone_from(&piece.text);
        table.types[id] = piece.ty;
        scores[id] = piece.score;
    }
    let mut extra = side.added();
    let path_added = folder.join("added_tokens.json");
    if path_added.is_file() {
        for (text, id) in crate::json::read_object(&path_added, limits)? {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| {
                Error::malformed(&path_added, format!("token {text:?}"), "has no sound id")
            })?;
            if !extra.iter().any(|(other, ..)| *other == id) {
                extra.push((id, text, false));
            }
        }
    }
    for (id, text, special) in extra {
        let (ty, text) = added(&text, special);
        table.set(&folder.join("tokenizer_config.json"), id, &text, ty)?;
        scores[id as usize] = -1000.0;
    }
    table.check_unique(path)?;
    let find = {
        let tokens = table.tokens.clone();
        move |text: &str| {
            let index = tokens.iter().position(|token| token == text)?;
            u32::try_from(index).ok()
        }
    };
    out.set("tokenizer.ggml.model", "llama");
    out.set("tokenizer.ggml.pre", "default");
    table.write(out, Some(scores));
    let flags =
        [side.flag("add_bos_token").unwrap_or(true), side.flag("add_eos_token") == Some(true)];
    for (key, id) in [
        ("tokenizer.ggml.bos_token_id", model.bos),
        ("tokenizer.ggml.eos_token_id", model.eos),
        ("tokenizer.ggml.unknown_token_id", model.unknown),
    ] {
        if let Some(id) = id.filter(|id| (*id as usize) < vocabulary) {
            out.set(key, id);
        }
    }
    side.write(config, vocabulary, flags, find, out);
    let class = side.str("tokenizer_class").unwrap_or_default();
    let prefix = side.flag("add_prefix_space").unwrap_or(model.prefix);
    out.set("tokenizer.ggml.add_space_prefix", prefix && !class.starts_with("Gemma"));
    Ok(())
}
