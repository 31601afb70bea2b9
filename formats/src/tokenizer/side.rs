//! The small files beside a tokenizer: which tokens are special, whether they are put around text,
//! chat templates, end tokens.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{Config, Limits, Result, gguf::Metadata, json};

/// Kinds of special tokens: name in Hugging Face files, GGUF key (source: `gguf-py/constants.py`,
/// with its spelling).
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("bos", "tokenizer.ggml.bos_token_id"),
    ("eos", "tokenizer.ggml.eos_token_id"),
    ("unk", "tokenizer.ggml.unknown_token_id"),
    ("sep", "tokenizer.ggml.seperator_token_id"),
    ("pad", "tokenizer.ggml.padding_token_id"),
    ("cls", "tokenizer.ggml.cls_token_id"),
    ("mask", "tokenizer.ggml.mask_token_id"),
];

/// What the side files say.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// `tokenizer_config.json`, with what only `special_tokens_map.json` has.
    config: Map<String, Value>,
    /// Chat templates: name and text; the one without a name is the usual one.
    templates: Vec<(Option<String>, String)>,
    /// End tokens of `generation_config.json`.
    end_ids: Vec<u32>,
}

impl Side {
    pub(crate) fn read(folder: &Path, limits: &Limits) -> Result<Self> {
        let object = |name: &str| -> Result<Map<String, Value>> {
            let path = folder.join(name);
            if path.is_file() { json::read_object(&path, limits) } else { Ok(Map::new()) }
        };
        let mut config = object("tokenizer_config.json")?;
        for (key, value) in object("special_tokens_map.json")? {
            if config.get(&key).is_none_or(Value::is_null) {
                config.insert(key, value);
            }
        }
        let generation = object("generation_config.json")?;
        let end_ids = match generation.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            Some(value) => id(value).into_iter().collect(),
            None => Vec::new(),
        };
        let templates = templates(folder, &config, limits)?;
        Ok(Self { config, templates, end_ids })
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.config.get(key).and_then(Value::as_bool)
    }

    pub(crate) fn str(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    /// The text of a special token: a string, or an object with `content`.
    pub(crate) fn token(&self, kind: &str) -> Option<&str> {
        let value = self.config.get(&format!("{kind}_token"))?;
        value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
    }

    /// `added_tokens_decoder`: id, text, whether special.
    pub(crate) fn added(&self) -> Vec<(u32, String, bool)> {
        let entry = |(id, value): (&String, &Value)| {
            let content = value.get("content")?.as_str()?.to_owned();
            let special = value.get("special").and_then(Value::as_bool).unwrap_or(false);
            Some((id.parse().ok()?, content, special))
        };
        let list = self.config.get("added_tokens_decoder").and_then(Value::as_object);
        list.into_iter().flatten().filter_map(entry).collect()
    }

    /// Writes the special ids, the flags and the templates. `find` gives a token's id.
    pub(crate) fn write(
        &self,
        config: &Config,
        vocabulary: usize,
        flags: [bool; 2],
        find: impl Fn(&str) -> Option<u32>,
        out: &mut Metadata,
    ) {
        for (kind, key) in KINDS {
            let named = self.token(kind).and_then(&find);
            let listed = || config.get(&format!("{kind}_token_id")).and_then(first_id);
            if let Some(id) = named.or_else(listed).filter(|id| (*id as usize) < vocabulary) {
                out.set(*key, id);
            }
        }
        let [bos, eos] = flags;
        out.set("tokenizer.ggml.add_bos_token", bos);
        out.set("tokenizer.ggml.add_eos_token", eos);
        let mut ends = self.end_ids.clone();
        if ends.is_empty()
            && let Some(Value::Array(ids)) = config.get("eos_token_id")
        {
            ends = ids.iter().filter_map(id).collect();
        }
        ends.retain(|id| (*id as usize) < vocabulary);
        let eos = out.u64("tokenizer.ggml.eos_token_id");
        if ends.iter().any(|id| Some(u64::from(*id)) != eos) {
            out.set(super::END_IDS, ends);
        }
        self.write_templates(out);
    }

    pub(crate) fn write_templates(&self, out: &mut Metadata) {
        let mut names = Vec::new();
        for (name, text) in &self.templates {
            match name {
                None => out.set("tokenizer.chat_template", text.as_str()),
                Some(name) => {
                    out.set(format!("tokenizer.chat_template.{name}"), text.as_str());
                    names.push(name.clone());
                }
            }
        }
        if !names.is_empty() {
            out.set("tokenizer.chat_templates", names);
        }
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn first_id(value: &Value) -> Option<u32> {
    id(value).or_else(|| id(value.as_array()?.first()?))
}

/// Templates from `chat_template.jinja`, else `chat_template.json`, else `tokenizer_config.json`;
/// and those in `additional_chat_templates`.
fn templates(
    folder: &Path,
    config: &Map<String, Value>,
    limits: &Limits,
) -> Result<Vec<(Option<String>, String)>> {
    let jinja = folder.join("chat_template.jinja");
    if jinja.is_file() {
        let mut all = vec![(None, json::read_text(&jinja, limits)?)];
        all.extend(additional(&folder.join("additional_chat_templates"), limits)?);
        return Ok(all);
    }
    let other = json::read_optional(&folder.join("chat_template.json"), limits)?;
    let found = other.as_ref().and_then(|value| value.get("chat_template"));
    let Some(found) = found.or_else(|| config.get("chat_template")) else { return Ok(Vec::new()) };
    if let Some(text) = found.as_str() {
        return Ok(vec![(None, text.to_owned())]);
    }
    let entry = |value: &Value| {
        let name = value.get("name")?.as_str()?;
        let text = value.get("template")?.as_str()?.to_owned();
        // Names become parts of keys.
        let sound = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let name = (name != "default").then(|| name.to_owned());
        sound.then_some((name, text))
    };
    Ok(found.as_array().into_iter().flatten().filter_map(entry).collect())
}

fn additional(folder: &Path, limits: &Limits) -> Result<Vec<(Option<String>, String)>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "jinja"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        Ok((name, json::read_text(path, limits)?))
    };
    paths.iter().map(read).collect()
}

/// Whether the post-processor puts a begin and an end token around text, and which tokens these are;
/// none where it says nothing about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) bos: Option<bool>,
    pub(crate) eos: Option<bool>,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
}

/// Reads a `post_processor` object.
pub(crate) fn around(value: &Value) -> Around {
    let mut found = Around::default();
    let list = value.get("processors").and_then(Value::as_array);
    for part in list.map_or(std::slice::from_ref(value), Vec::as_slice) {
        match part.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => {
                found.bos.get_or_insert(false);
                found.eos.get_or_insert(false);
            }
            Some("TemplateProcessing") => {
                let single = part.get("single").and_then(Value::as_array);
                let single = single.map_or(&[][..], Vec::as_slice);
                let special = |value: Option<&Value>| {
                    let id = value?.get("SpecialToken")?.get("id")?.as_str()?;
                    Some(id.to_owned())
                };
                found.first = special(single.first());
                found.last = if single.len() > 1 { special(single.last()) } else { None };
                found.bos = Some(found.first.is_some());
                found.eos = Some(found.last.is_some());
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn post_processors_say_what_stands_around_text() {
        let template = json!({"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]});
        let found = around(&json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel"}, template]}));
        assert_eq!((found.bos, found.eos), (Some(true), Some(false)));
        assert_eq!(found.first.as_deref(), Some("<s>"));
        let bare = json!({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]});
        assert_eq!(around(&bare).bos, Some(false));
        assert_eq!(around(&Value::Null), Around::default());
    }
}
