//! Facts from files that need not stand under their own names: blobs of a store, files of a folder.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use mdl_formats::{Tensor, gguf, safetensors};
use serde_json::Value;

use super::Facts;
use crate::{
    Error, Limits, Result,
    name::{has_extension, is_projector},
};

/// Bytes of a side file that are read.
const SIDE_BYTES: u64 = 16 << 20;

impl Facts {
    /// Of the files of one model that hold its weights: the parts of a GGUF, or safetensors files.
    ///
    /// # Errors
    /// [`Error::Formats`] where they are neither.
    pub fn of_parts(paths: &[&Path], limits: &Limits) -> Result<Self> {
        let mut facts = Self::default();
        let mut tensors: Vec<Tensor> = Vec::new();
        for path in paths {
            if is_gguf(path)? {
                let part = gguf::open(path, &limits.formats)?;
                // The first part of a split model carries all keys.
                if facts.format.is_none() {
                    facts.add_metadata(&part.metadata);
                    facts.format = Some("gguf".to_owned());
                }
                tensors.extend(part.tensors.into_iter().map(|(tensor, _)| tensor));
            } else {
                facts.format = Some("safetensors".to_owned());
                let file = safetensors::open(path, &limits.formats)?;
                tensors.extend(file.tensors.into_iter().map(|raw| raw.tensor));
            }
        }
        facts.add_tensors(tensors.iter());
        Ok(facts)
    }

    /// Of all files of a package, each under its name. What cannot be read is told in [`Facts::notes`].
    pub fn of_files(files: &[(&str, &Path)], limits: &Limits) -> Self {
        let mut facts = Self::default();
        let groups = weights(files);
        if let Some((_, first)) = groups.first() {
            let paths: Vec<&Path> = first.iter().map(|(_, path)| *path).collect();
            match Self::of_parts(&paths, limits) {
                Ok(found) => facts = found,
                Err(error) => facts.notes.push(error.to_string()),
            }
            if groups.len() > 1 {
                facts.several(groups.len());
            }
        }
        facts.add_side_files(files);
        if facts.format.is_none() {
            facts.format = Some(format_of(files).to_owned());
        }
        facts
    }

    /// Forgets what differs between several models in one package.
    fn several(&mut self, count: usize) {
        self.notes.push(format!("holds {count} models; what is said is the first one's"));
        self.types.clear();
        (self.quantization, self.bits_per_weight, self.tensor_bytes) = (None, None, None);
        self.recipe = None;
        self.sources.clear();
    }

    /// What `config.json`, the tokenizer's settings and the card say.
    fn add_side_files(&mut self, files: &[(&str, &Path)]) {
        let find = |name: &str| {
            files.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, path)| *path)
        };
        let json = |name: &str| serde_json::from_slice::<Value>(&beginning(find(name)?)?).ok();
        let mut said = Self::default();
        if let Some(config) = json("config.json") {
            said.add_model_config(&config);
        }
        if let Some(settings) = json("tokenizer_config.json") {
            let template = settings.get("chat_template").is_some_and(|it| !it.is_null());
            said.chat_template = Some(template || find("chat_template.jinja").is_some());
        }
        if let Some(text) = find("README.md").and_then(beginning) {
            said.add_card(&String::from_utf8_lossy(&text));
        }
        self.fill(said);
    }

    /// `config.json` of a Hugging Face folder.
    fn add_model_config(&mut self, config: &Value) {
        let text = config.get("text_config").filter(|it| it.is_object());
        let get = |key: &str| config.get(key).or_else(|| text?.get(key));
        let number = |key: &str| get(key).and_then(Value::as_u64);
        self.architecture = get("model_type").and_then(Value::as_str).map(str::to_owned);
        self.context_length = number("max_position_embeddings");
        self.layers = number("num_hidden_layers");
        self.embedding_length = number("hidden_size");
        self.vocabulary = number("vocab_size");
        let method = config.pointer("/quantization_config/quant_method").and_then(Value::as_str);
        self.quantization = method.map(str::to_owned);
    }

    /// The front matter of a model card, as far as it is needed.
    fn add_card(&mut self, text: &str) {
        let card = mdl_formats::card_fields(text);
        let first = |key: &str| card.get(key)?.first().filter(|it| !it.is_empty()).cloned();
        let all = |key: &str| card.get(key).cloned().unwrap_or_default();
        self.license = first("license");
        self.name = first("model_name");
        self.base_models = all("base_model");
        self.languages = all("language");
    }
}

type Group<'a> = (String, Vec<(&'a str, &'a Path)>);

/// The files with weights, parts of one model together: GGUF where there is any, else all safetensors.
fn weights<'a>(files: &[(&'a str, &'a Path)]) -> Vec<Group<'a>> {
    let ends = |name: &str, end: &str| name.to_ascii_lowercase().ends_with(end);
    let mut groups: BTreeMap<String, Vec<(&str, &Path)>> = BTreeMap::new();
    for (name, path) in files {
        if has_extension(name, "gguf") && !is_projector(name) && !ends(name, "imatrix.gguf") {
            groups.entry(stem(name).to_owned()).or_default().push((name, path));
        }
    }
    if groups.is_empty() {
        let tensors = files.iter().filter(|(name, _)| has_extension(name, "safetensors"));
        let tensors: Vec<_> = tensors.copied().collect();
        if !tensors.is_empty() {
            groups.insert(String::new(), tensors);
        }
    }
    for parts in groups.values_mut() {
        parts.sort_unstable();
    }
    groups.into_iter().collect()
}

/// A name without the number of its part.
fn stem(name: &str) -> &str {
    let without = || {
        let rest = name.get(..name.len().checked_sub(".gguf".len())?)?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|it| it.is_ascii_digit());
        (digits(count) && digits(number)).then_some(stem)
    };
    without().unwrap_or(name)
}

/// What holds the weights, by the files' names.
fn format_of(files: &[(&str, &Path)]) -> &'static str {
    const FORMATS: &[(&str, &str)] = &[
        (".gguf", "gguf"),
        (".safetensors", "safetensors"),
        (".onnx", "onnx"),
        (".bin", "pytorch"),
        (".pt", "pytorch"),
        (".pth", "pytorch"),
        (".msgpack", "flax"),
        (".tflite", "tflite"),
        (".npz", "npz"),
    ];
    let has = |end: &str| files.iter().any(|(name, _)| name.to_ascii_lowercase().ends_with(end));
    FORMATS.iter().find(|(end, _)| has(end)).map_or("other", |(_, format)| format)
}

fn is_gguf(path: &Path) -> Result<bool> {
    let io = |error| Error::Formats(mdl_formats::Error::io(path, "open")(error));
    let mut begin = Vec::new();
    File::open(path).map_err(io)?.take(4).read_to_end(&mut begin).map_err(io)?;
    Ok(begin == b"GGUF")
}

/// A side file, where it is no longer than allowed.
fn beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SIDE_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= SIDE_BYTES).then_some(bytes)
}

/// Names and paths as [`Facts::of_files`] takes them.
pub(crate) fn borrowed(files: &[(String, PathBuf)]) -> Vec<(&str, &Path)> {
    files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect()
}
