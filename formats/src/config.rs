//! `config.json` of a Hugging Face folder, as transformers 4 and 5 write it.
//!
//! The two differ in names: `rope_theta` and `rope_scaling` against `rope_parameters`, `torch_dtype`
//! against `dtype`; models with a vision part keep the text model's values in `text_config`. Here
//! they look the same. A key that stands there as `null` counts as absent for reading, but a family's
//! default does not replace it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Limits, Result, json};

/// The values of a `config.json`, with those of a nested `text_config` over them.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Config {
    /// Reads `config.json` in `folder`. A folder whose weights are quantized is refused.
    pub fn read(folder: &Path, limits: &Limits) -> Result<Self> {
        let path = folder.join("config.json");
        let values = json::read_object(&path, limits)?;
        Self::new(&path, values)
    }

    /// From parsed JSON; `path` is for the messages.
    pub fn new(path: &Path, mut values: Map<String, Value>) -> Result<Self> {
        let quantized = |values: &Map<String, Value>| {
            values.get("quantization_config").and_then(Value::as_object).map(|found| {
                found.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed").to_owned()
            })
        };
        let mut method = quantized(&values);
        if let Some(Value::Object(text)) = values.remove("text_config") {
            method = method.or_else(|| quantized(&text));
            values.extend(text);
        }
        if let Some(method) = method {
            return Err(Error::unsupported(
                path,
                format!("its weights are already quantized (quantization_config, {method})"),
                "use the folder with the original F32, F16 or BF16 weights",
            ));
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `model_type`; with a nested text model, that model's (`gemma3_text`).
    pub fn model_type(&self) -> Result<&str> {
        self.str("model_type")?
            .ok_or_else(|| Error::malformed(&self.path, "model_type", "is missing"))
    }

    /// Puts in what the model's class assumes for keys that are not there at all.
    #[must_use]
    pub fn with_defaults(mut self, defaults: &Value) -> Self {
        for (key, value) in defaults.as_object().into_iter().flatten() {
            if !self.values.contains_key(key) {
                self.values.insert(key.clone(), value.clone());
            }
        }
        self
    }

    /// The value under `key`, `null` counting as none.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key stands there, be it as `null`.
    pub fn names(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A non-negative integer.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a non-negative integer", Value::as_u64)
    }

    /// An integer that must be there, from 1 to `u32::MAX` (GGUF keys are 32 bits wide).
    pub fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| Error::malformed(&self.path, key, "is missing"))
    }

    /// As [`Self::size`], where it may be absent.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.u64(key)? else { return Ok(None) };
        match u32::try_from(value) {
            Ok(size) if size > 0 => Ok(Some(size as usize)),
            _ => Err(Error::malformed(
                &self.path,
                key,
                format!("{value} is not between 1 and {}", u32::MAX),
            )),
        }
    }

    /// A finite number.
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// A number that must be there.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.f64(key)?.ok_or_else(|| Error::malformed(&self.path, key, "is missing"))
    }

    /// `true` or `false`; `absent` where there is none.
    pub fn flag(&self, key: &str, absent: bool) -> Result<bool> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(absent))
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// An object.
    pub fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>> {
        self.typed(key, "an object", Value::as_object)
    }

    /// A list.
    pub fn list(&self, key: &str) -> Result<Option<&[Value]>> {
        self.typed(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| Error::malformed(&self.path, key, format!("is not {kind}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: &Value) -> Result<Config> {
        Config::new(Path::new("m/config.json"), value.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn text_config_stands_over_the_root() {
        let value = json!({"model_type": "gemma3", "vocab_size": 1,
            "text_config": {"model_type": "gemma3_text", "vocab_size": 7}});
        let config = config(&value).unwrap();
        assert_eq!(config.model_type().unwrap(), "gemma3_text");
        assert_eq!(config.size("vocab_size").unwrap(), 7);
    }

    #[test]
    fn null_is_absent_but_keeps_the_default_out() {
        let config = config(&json!({"sliding_window": null})).unwrap();
        let config = config.with_defaults(&json!({"sliding_window": 4096, "head_dim": 8}));
        assert_eq!(config.u64("sliding_window").unwrap(), None);
        assert_eq!(config.size("head_dim").unwrap(), 8);
    }

    #[test]
    fn quantized_folders_and_wrong_kinds_are_refused() {
        let error = config(&json!({"quantization_config": {"quant_method": "awq"}})).unwrap_err();
        assert!(error.to_string().contains("awq"), "{error}");
        let config = config(&json!({"hidden_size": -3, "layers": 0})).unwrap();
        for (key, part) in [("hidden_size", "integer"), ("layers", "between"), ("x", "missing")] {
            let error = config.size(key).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(part), "{error}");
        }
    }
}
