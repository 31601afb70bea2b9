//! `general.…`: what the model card, the configuration and the generation settings say about a model.
//!
//! Source: llama.cpp's `gguf-py/gguf/metadata.py`. Unlike there a folder's own name is not used:
//! no path of any machine enters a file.

use std::path::Path;

use serde_json::Value;

use crate::{Config, Limits, Result, Tensor, gguf::Metadata, json};

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
    if let Some(name) = config.str("_name_or_path")?
        && is_model_id(name)
    {
        out.set("general.name", name.rsplit('/').next().unwrap_or(name));
    }
    let values: usize = tensors.map(Tensor::elements).sum();
    out.set("general.size_label", size_label(values));
    Ok(())
}

/// Whether this is a name like `org/model`, and no path.
fn is_model_id(name: &str) -> bool {
    name.matches('/').count() <= 1 && !name.starts_with(['.', '/', '~']) && !name.is_empty()
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
