//! A tokenizer's files from GGUF keys: the inverse of [`crate::tokenizer`]'s reading.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Checkpoint, Error, Result,
    gguf::{Array, Metadata, Value as Gguf},
    tokenizer::{self, KINDS, TokenType, pre},
};

/// Names and texts of the files; none for a model without a tokenizer.
pub(super) fn files(
    checkpoint: &Checkpoint,
    context: usize,
) -> Result<Vec<(&'static str, String)>> {
    let metadata = &checkpoint.metadata;
    let mut all = Vec::new();
    if let Some(template) = metadata.str("tokenizer.chat_template") {
        all.push(("chat_template.jinja", template.to_owned()));
    }
    let kind = metadata.str("tokenizer.ggml.model").unwrap_or("no_vocab");
    if matches!(kind, "no_vocab" | "none") {
        return Ok(all);
    }
    let tokens = Tokens::read(checkpoint)?;
    let file = match kind {
        "gpt2" => tokens.byte_level()?,
        "llama" => tokens.pieces(),
        other => {
            let problem = format!("the tokenizer model {other:?} is not known");
            return Err(Error::unsupported(checkpoint.path(), problem, "known are gpt2 and llama"));
        }
    };
    // The vocabulary would fill a line each; the other files are for people too.
    all.push(("tokenizer.json", file.to_string()));
    all.push(("tokenizer_config.json", format!("{:#}\n", tokens.config(context))));
    let named = tokens.named().into_iter().map(|(kind, text)| (format!("{kind}_token"), text));
    all.push(("special_tokens_map.json", format!("{:#}\n", Value::Object(named.collect()))));
    Ok(all)
}

struct Tokens<'a> {
    checkpoint: &'a Checkpoint,
    metadata: &'a Metadata,
    texts: &'a [String],
    types: Vec<TokenType>,
    add_bos: bool,
    add_eos: bool,
}

impl<'a> Tokens<'a> {
    fn read(checkpoint: &'a Checkpoint) -> Result<Self> {
        let metadata = &checkpoint.metadata;
        let key = "tokenizer.ggml.tokens";
        let texts = metadata.strings(key).ok_or_else(|| {
            Error::malformed(checkpoint.path(), key, "is missing or not a list of strings")
        })?;
        let types = match metadata.get("tokenizer.ggml.token_type") {
            Some(Gguf::Array(Array::I32(types))) if types.len() == texts.len() => {
                types.iter().map(|ty| TokenType::of(i64::from(*ty))).collect()
            }
            _ => vec![TokenType::Normal; texts.len()],
        };
        let pieces = metadata.str("tokenizer.ggml.model") == Some("llama");
        let named = metadata.str("tokenizer.ggml.pre").and_then(pre::named);
        let flag = |key: &str| metadata.bool(&format!("tokenizer.ggml.add_{key}_token"));
        let usual = pieces || named.is_some_and(|pre| pre.add_bos);
        let add_bos = flag("bos").unwrap_or(usual);
        let add_eos = flag("eos").unwrap_or(false);
        Ok(Self { checkpoint, metadata, texts, types, add_bos, add_eos })
    }

    /// Special tokens: kind and text.
    fn named(&self) -> Vec<(&'static str, Value)> {
        let text = |(kind, key): &(&'static str, &str)| {
            Some((*kind, json!(self.texts.get(self.id(key)?)?)))
        };
        KINDS.iter().filter_map(text).collect()
    }

    fn id(&self, key: &str) -> Option<usize> {
        self.metadata.u64(key).and_then(|id| usize::try_from(id).ok())
    }

    fn has(&self, key: &str, id: usize) -> bool {
        match self.metadata.get(key) {
            Some(Gguf::Array(Array::U32(ids))) => ids.iter().any(|other| *other as usize == id),
            _ => false,
        }
    }

    /// Tokens found in text: their ids and descriptions.
    fn added(&self) -> Vec<(usize, Value)> {
        let describe = |(id, text): (usize, &String)| {
            let special = match self.types.get(id)? {
                TokenType::Control | TokenType::Unknown => true,
                TokenType::UserDefined => false,
                _ => return None,
            };
            let value = json!({
                "content": text,
                "single_word": self.has(tokenizer::SINGLE_WORD, id),
                "lstrip": self.has(tokenizer::LSTRIP, id),
                "rstrip": self.has(tokenizer::RSTRIP, id),
                "normalized": self.has(tokenizer::NORMALIZED, id),
                "special": special,
            });
            Some((id, value))
        };
        self.texts.iter().enumerate().filter_map(describe).collect()
    }

    /// All tokens but padding that only fills the table.
    fn vocabulary(&self) -> Value {
        let filler = |id: usize, text: &str| {
            self.types.get(id) == Some(&TokenType::Unused) && text == format!("[PAD{id}]")
        };
        let entry =
            |(id, text): (usize, &String)| (!filler(id, text)).then(|| (text.clone(), json!(id)));
        Value::Object(self.texts.iter().enumerate().filter_map(entry).collect())
    }

    fn file(&self, parts: [Value; 5]) -> Value {
        let [normalizer, pre_tokenizer, post_processor, decoder, model] = parts;
        let added = self.added().into_iter().map(|(id, mut value)| {
            // The id comes first in these files.
            let mut whole = Map::from_iter([("id".to_owned(), json!(id))]);
            whole.append(value.as_object_mut().unwrap_or(&mut Map::new()));
            Value::Object(whole)
        });
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added.collect::<Vec<_>>(), "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
            "decoder": decoder, "model": model,
        })
    }

    /// A post-processor that puts the begin and end tokens around text; null for none.
    fn around(&self) -> Value {
        let token = |wanted: bool, key: &str| {
            let id = self.id(key).filter(|_| wanted)?;
            Some((id, self.texts.get(id)?))
        };
        let bos = token(self.add_bos, "tokenizer.ggml.bos_token_id");
        let eos = token(self.add_eos, "tokenizer.ggml.eos_token_id");
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let special = |text: &str, ty: u8| json!({"SpecialToken": {"id": text, "type_id": ty}});
        let list = |ty: u8, name: &str| {
            let mut items = Vec::new();
            items.extend(bos.map(|(_, text)| special(text, ty)));
            items.push(json!({"Sequence": {"id": name, "type_id": ty}}));
            items.extend(eos.map(|(_, text)| special(text, ty)));
            items
        };
        let known: Map<String, Value> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|(id, text)| (text.clone(), json!({"id": text, "ids": [id], "tokens": [text]})))
            .collect();
        let pair: Vec<_> = list(0, "A").into_iter().chain(list(1, "B")).collect();
        json!({"type": "TemplateProcessing", "single": list(0, "A"), "pair": pair,
            "special_tokens": known})
    }

    fn byte_level(&self) -> Result<Value> {
        let path = self.checkpoint.path();
        let name = self.metadata.str("tokenizer.ggml.pre").unwrap_or("default");
        let known = pre::named(name);
        let kept = |key: &str| -> Result<Option<Value>> {
            let Some(text) = self.metadata.str(key) else { return Ok(None) };
            let parsed = serde_json::from_str(text);
            parsed.map(Some).map_err(|error| Error::malformed(path, key, error.to_string()))
        };
        let cut = match (kept(tokenizer::PRE_TOKENIZER)?, known) {
            (Some(kept), _) => kept,
            (None, Some(pre)) => pre.to_json(),
            (None, None) => {
                let problem = format!("the pre-tokenizer {name:?} is not known");
                return Err(Error::unsupported(path, problem, ""));
            }
        };
        let composed = known.is_some_and(|pre| pre.nfc);
        let usual = if composed { json!({"type": "NFC"}) } else { Value::Null };
        let normalizer = kept(tokenizer::NORMALIZER)?.unwrap_or(usual);
        let ignore = self.metadata.bool(tokenizer::IGNORE_MERGES);
        let ignore = ignore.unwrap_or_else(|| known.is_some_and(|pre| pre.ignore_merges));
        let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": false});
        let around = match self.around() {
            Value::Null => level.clone(),
            template => json!({"type": "Sequence", "processors": [level, template]}),
        };
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": ignore, "vocab": self.vocabulary(), "merges": self.merges()?,
        });
        Ok(self.file([normalizer, cut, around, level.clone(), model]))
    }

    /// Merges as pairs.
    fn merges(&self) -> Result<Vec<[&str; 2]>> {
        let key = "tokenizer.ggml.merges";
        let malformed = |problem: String| Error::malformed(self.checkpoint.path(), key, problem);
        let merges = self.metadata.strings(key);
        let merges = merges.ok_or_else(|| malformed("is missing".to_owned()))?;
        let pair = |merge: &'a String| {
            let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let parts = at.and_then(|at| Some([merge.get(..at)?, merge.get(at + 1..)?]));
            parts.ok_or_else(|| malformed(format!("{merge:?} is not two parts")))
        };
        merges.iter().map(pair).collect()
    }

    /// SentencePiece's BPE: merges in the order of the scores.
    fn pieces(&self) -> Value {
        let prefix = self.metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let first = self.metadata.bool(tokenizer::PREFIX_FIRST).unwrap_or(false);
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let (normalizer, cut) = match (prefix, first) {
            (true, true) => (
                Value::Null,
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                    "split": false}),
            ),
            (true, false) => (
                json!({"type": "Sequence",
                    "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]}),
                Value::Null,
            ),
            (false, _) => (spaces, Value::Null),
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.id("tokenizer.ggml.unknown_token_id").unwrap_or(0);
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": self.texts.get(unknown),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": self.vocabulary(),
            "merges": self.merges_of_scores(),
        });
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        self.file([normalizer, cut, self.around(), decoder, model])
    }

    /// Every way to make a piece of two others, pieces with the best scores first.
    fn merges_of_scores(&self) -> Vec<[&'a str; 2]> {
        let scores = match self.metadata.get("tokenizer.ggml.scores") {
            Some(Gguf::Array(Array::F32(scores))) => scores.as_slice(),
            _ => &[],
        };
        let score = |id: usize| scores.get(id).copied().unwrap_or_default();
        let ordinary = |id: &usize| {
            matches!(self.types.get(*id), Some(TokenType::Normal | TokenType::Undefined))
        };
        let all = self.texts.iter().enumerate().filter(|(id, _)| ordinary(id));
        let ids: BTreeMap<&str, usize> = all.map(|(id, text)| (text.as_str(), id)).collect();
        let mut order: Vec<(&'a str, usize)> = self
            .texts
            .iter()
            .enumerate()
            .filter(|(id, _)| ordinary(id))
            .map(|(id, text)| (text.as_str(), id))
            .collect();
        order.sort_by(|(_, a), (_, b)| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
        let mut merges = Vec::new();
        for (text, _) in order {
            let mut ways: Vec<_> = text
                .char_indices()
                .skip(1)
                .filter_map(|(at, _)| {
                    let (left, right) = text.split_at(at);
                    Some((*ids.get(left)?, *ids.get(right)?, [left, right]))
                })
                .collect();
            ways.sort_unstable();
            merges.extend(ways.into_iter().map(|(.., pair)| pair));
        }
        merges
    }

    /// `tokenizer_config.json`.
    fn config(&self, context: usize) -> Value {
        let mut out = Map::new();
        let decoder = self.added().into_iter().map(|(id, value)| (id.to_string(), value));
        out.insert("add_bos_token".into(), json!(self.add_bos));
        out.insert("add_eos_token".into(), json!(self.add_eos));
        out.insert("added_tokens_decoder".into(), Value::Object(decoder.collect()));
        for (kind, text) in self.named() {
            out.insert(format!("{kind}_token"), text);
        }
        if let Some(template) = self.metadata.str("tokenizer.chat_template") {
            out.insert("chat_template".into(), json!(template));
        }
        out.insert("clean_up_tokenization_spaces".into(), json!(false));
        out.insert("model_max_length".into(), json!(context));
        out.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        Value::Object(out)
    }
}
