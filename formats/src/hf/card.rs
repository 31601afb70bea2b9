//! `general.…`: what the model card, the configuration and the generation settings say about a model.
//!
//! Source: llama.cpp's `gguf-py/gguf/metadata.py`. Unlike there a folder's own name is not used:
//! no path of any machine enters a file.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{Config, Limits, Result, Tensor, gguf::Metadata, json};

/// Texts of the card under their keys in GGUF; of several names the first that is there counts.
const TEXTS: &[(&str, &[&str])] = &[
    ("general.name", &["name", "model_name"]),
    ("general.author", &["author", "model_author", "model_creator"]),
    ("general.version", &["version", "model_version"]),
    ("general.organization", &["organization", "model_organization"]),
    ("general.finetune", &["finetune", "model_finetune"]),
    ("general.basename", &["basename", "model_basename"]),
    ("general.description", &["description", "model_description"]),
    ("general.size_label", &["size_label", "model_size_label"]),
    ("general.license", &["license"]),
    ("general.license.name", &["license_name"]),
    ("general.license.link", &["license_link"]),
];

/// Writes the keys that are known.
pub(super) fn write<'a>(
    folder: &Path,
    config: &Config,
    tensors: impl Iterator<Item = &'a Tensor>,
    limits: &Limits,
    out: &mut Metadata,
) -> Result<()> {
    let generation = json::read_optional(&folder.join("generation_config.json"), limits)?;
    sampling(&generation.unwrap_or(Value::Null), out);
    let path = folder.join("README.md");
    let text = if path.is_file() { json::read_text(&path, limits)? } else { String::new() };
    let card = front_matter(&text);
    let values: usize = tensors.map(Tensor::elements).sum();
    let id = config.str("_name_or_path")?.filter(|name| is_model_id(name));
    let (organization, name) = id.map_or((None, None), |id| match id.split_once('/') {
        Some((organization, name)) => (Some(title(organization)), Some(title(name))),
        None => (None, Some(title(id))),
    });
    for (key, names) in TEXTS {
        let stated = names.iter().find_map(|name| card.get(*name)).map(|items| items.join(","));
        let found = stated.filter(|text| !text.is_empty()).or_else(|| match *key {
            "general.name" => name.clone().or_else(|| heading(&text)),
            "general.organization" => organization.clone(),
            "general.size_label" => Some(size_label(values)),
            _ => None,
        });
        if let Some(text) = found {
            out.set(*key, text);
        }
    }
    bases(&card, out);
    for (key, names) in [
        ("general.tags", ["tags", "pipeline_tag"]),
        ("general.languages", ["languages", "language"]),
    ] {
        let items: Vec<String> =
            names.iter().filter_map(|name| card.get(*name)).flatten().cloned().collect();
        if !items.is_empty() {
            out.set(key, items);
        }
    }
    Ok(())
}

/// The models that this one was made from.
fn bases(card: &BTreeMap<String, Vec<String>>, out: &mut Metadata) {
    let Some(ids) = card.get("base_model").or_else(|| card.get("base_models")) else { return };
    let ids: Vec<_> = ids.iter().filter(|id| is_model_id(id)).collect();
    if ids.is_empty() {
        return;
    }
    out.set("general.base_model.count", u32::try_from(ids.len()).unwrap_or(u32::MAX));
    for (index, id) in ids.into_iter().enumerate() {
        let key = |name: &str| format!("general.base_model.{index}.{name}");
        match id.split_once('/') {
            Some((organization, name)) => {
                out.set(key("name"), title(name));
                out.set(key("organization"), title(organization));
                out.set(key("repo_url"), format!("https://huggingface.co/{organization}/{name}"));
            }
            None => out.set(key("name"), title(id)),
        }
    }
}

/// The values of a card's front matter, each a list: as much of YAML as cards use, one level of
/// `key: value`, `key: [a, b]` and `- item` lines.
pub fn front_matter(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return all;
    }
    let mut open: Option<String> = None;
    for line in lines.take_while(|line| line.trim_end() != "---") {
        if let Some(item) = line.trim_start().strip_prefix("- ") {
            if let Some(items) = open.as_ref().and_then(|key| all.get_mut(key)) {
                items.push(plain(item));
            }
            continue;
        }
        // Deeper levels (results, widgets) are not for us.
        let sound = |key: &str| !key.is_empty() && !key.contains([' ', '\t', '#', '"']);
        open = match line.split_once(':') {
            Some((key, value)) if sound(key) => {
                let value = value.trim();
                let items = match serde_json::from_str(value) {
                    Ok(Value::Array(items)) => items
                        .iter()
                        .map(|item| match item {
                            Value::String(text) => text.clone(),
                            other => other.to_string(),
                        })
                        .collect(),
                    _ if value.is_empty() || value == ">-" || value == "|" => Vec::new(),
                    _ => match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
                        Some(inner) => inner.split(',').map(plain).collect(),
                        None => vec![plain(value)],
                    },
                };
                all.insert(key.to_owned(), items);
                Some(key.to_owned())
            }
            _ => None,
        };
    }
    all
}

/// A scalar without its quotes.
fn plain(text: &str) -> String {
    let text = text.trim();
    if let Ok(Value::String(whole)) = serde_json::from_str(text) {
        return whole;
    }
    let single = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    single.unwrap_or(text).to_owned()
}

/// The first heading behind the front matter.
fn heading(text: &str) -> Option<String> {
    let body = match text.strip_prefix("---") {
        Some(rest) => rest.split_once("\n---").map_or("", |(_, body)| body),
        None => text,
    };
    let found = body.lines().find_map(|line| line.strip_prefix("# "))?.trim();
    (!found.is_empty() && found.len() <= 128).then(|| found.to_owned())
}

/// Words with capitals, but for version numbers and what has capitals already.
fn title(id: &str) -> String {
    let word = |word: &str| {
        let lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
        let digits = word.strip_prefix('v').unwrap_or(word);
        let version = word.starts_with(|c: char| c.is_ascii_digit())
            || (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.'));
        if !lower || version {
            return word.to_owned();
        }
        let mut out = String::new();
        let mut inside = false;
        for c in word.chars() {
            if inside {
                out.push(c);
            } else {
                out.extend(c.to_uppercase());
            }
            inside = c.is_alphabetic();
        }
        out
    };
    id.replace('-', " ").split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether this is a name like `org/model`, and no path.
fn is_model_id(name: &str) -> bool {
    let sound = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    name.matches('/').count() <= 1
        && !name.starts_with(['.', '/'])
        && !name.is_empty()
        && name.chars().all(sound)
}

/// `general.sampling.…`, which llama.cpp takes as defaults.
fn sampling(generation: &Value, out: &mut Metadata) {
    let number = |key: &str| generation.get(key).and_then(Value::as_f64);
    if let Some(k) = generation.get("top_k").and_then(Value::as_i64)
        && let Ok(k) = i32::try_from(k)
    {
        out.set("general.sampling.top_k", k);
    }
    for (from, key) in [
        ("top_p", "general.sampling.top_p"),
        ("min_p", "general.sampling.min_p"),
        ("temperature", "general.sampling.temp"),
        ("repetition_penalty", "general.sampling.penalty_repeat"),
    ] {
        if let Some(value) = number(from) {
            out.set(key, value as f32);
        }
    }
}

/// Parameters in words: two digits or more with the thousands' letter.
fn size_label(values: usize) -> String {
    let values = values as f64;
    let (scaled, letter) = if values > 1e12 {
        (values * 1e-12, 'T')
    } else if values > 1e9 {
        (values * 1e-9, 'B')
    } else if values > 1e6 {
        (values * 1e-6, 'M')
    } else {
        (values * 1e-3, 'K')
    };
    let whole = format!("{}", scaled.round_ties_even());
    let digits = 2usize.saturating_sub(whole.trim_start_matches('0').len());
    format!("{scaled:.digits$}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read() {
        let card = front_matter(
            "---\nlicense: apache-2.0\nlanguage:\n- en\n- \"de\"\ntags: [a, 'b c']\n\
             model_name: \"X: y\"\nwidget:\n  - text: q\nbase_model: org/some-model\n---\n# T\nx: 1",
        );
        let get = |key: &str| card.get(key).cloned().unwrap_or_default();
        assert_eq!(get("license"), ["apache-2.0"]);
        assert_eq!(get("language"), ["en", "de"]);
        assert_eq!(get("tags"), ["a", "b c"]);
        assert_eq!(get("model_name"), ["X: y"]);
        assert!(get("x").is_empty());
        let mut out = Metadata::new();
        bases(&card, &mut out);
        assert_eq!(out.str("general.base_model.0.name"), Some("Some Model"));
        assert_eq!(heading("---\na: b\n---\n\n# The model \n"), Some("The model".into()));
        assert_eq!(title("smollm2-135M-v1.5-instruct"), "Smollm2 135M v1.5 Instruct");
        assert!(front_matter("no card").is_empty());
    }

    #[test]
    fn sizes_have_two_digits() {
        for (values, label) in [
            (134_515_008, "135M"),
            (8_030_261_248, "8.0B"),
            (70_553_706_560, "71B"),
            (2_100_000, "2.1M"),
            (494_032_768, "494M"),
            (900, "0.9K"),
        ] {
            assert_eq!(size_label(values), label);
        }
    }
}
