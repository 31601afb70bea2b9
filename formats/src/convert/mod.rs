//! A checkpoint as a Hugging Face folder, which transformers 4 and 5 load as it is.
//!
//! Weights are decoded to one plain type; names, row order and norms go back to the folder's layout
//! through the model's family. `config.json` names everything that readers otherwise guess.

mod config;
mod tokenizer;
mod weights;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use mdl_kernels::TensorType;
use serde_json::{Map, Value, json};

use crate::{
    Checkpoint, Error, Limits, Result,
    atomic::AtomicFolder,
    gguf::{Array, Metadata, Value as Gguf},
    tokenizer::END_IDS,
};

/// How a folder is written.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// Type of the weights: F32, F16 or BF16. None: the model's own where all its matrices have one of
    /// these, else F32.
    pub ty: Option<TensorType>,
    /// Bytes of tensors in one file, at most (but one tensor at least).
    pub max_shard: u64,
    /// Whether what stands at the destination is replaced.
    pub replace: bool,
    /// Set by somebody else to stop early; nothing is then left.
    pub interrupt: Option<&'static AtomicBool>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { ty: None, max_shard: 5_000_000_000, replace: false, interrupt: None }
    }
}

/// Writes `checkpoint` as the folder `destination`, which appears whole or not at all. `progress` is
/// told how many bytes of weights were written since the last call.
///
/// # Errors
/// [`Error::Unsupported`] for a model of no known family, or one that a folder cannot express;
/// [`Error::Malformed`] for tensors that do not fit the model; [`Error::Io`]; [`Error::Interrupted`].
pub fn write_folder(
    checkpoint: &Checkpoint,
    destination: &Path,
    options: &FolderOptions,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let model = config::Model::read(checkpoint, limits)?;
    let plan = weights::Plan::new(checkpoint, &model, options)?;
    let folder = AtomicFolder::create(destination, options.replace)?;
    for (name, text) in side_files_of(checkpoint, &model, plan.ty())? {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map_err(Error::io(&path, "write"))?;
    }
    let interrupted = || options.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed));
    let mut going = |bytes| {
        progress(bytes);
        if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    };
    plan.write(checkpoint, folder.path(), &mut going)?;
    folder.commit()
}

/// All files of the folder but the weights, names and texts, for weights of type `ty`.
///
/// # Errors
/// As [`write_folder`].
pub fn side_files(
    checkpoint: &Checkpoint,
    ty: TensorType,
    limits: &Limits,
) -> Result<Vec<(&'static str, String)>> {
    side_files_of(checkpoint, &config::Model::read(checkpoint, limits)?, ty)
}

fn side_files_of(
    checkpoint: &Checkpoint,
    model: &config::Model,
    ty: TensorType,
) -> Result<Vec<(&'static str, String)>> {
    let pretty = |value: &Value| format!("{value:#}\n");
    let metadata = &checkpoint.metadata;
    let mut all = vec![
        ("config.json", pretty(&model.config(metadata, ty))),
        ("generation_config.json", pretty(&generation(metadata))),
    ];
    all.extend(tokenizer::files(checkpoint, model.dims.context)?);
    all.extend(card(metadata).map(|card| ("README.md", card)));
    Ok(all)
}

/// Special ids by their names in Hugging Face files; several end tokens make a list.
pub(crate) fn special_ids(metadata: &Metadata) -> Map<String, Value> {
    let mut out = Map::new();
    for (kind, key) in crate::tokenizer::KINDS {
        if matches!(*kind, "bos" | "eos" | "pad")
            && let Some(id) = metadata.u64(key)
        {
            out.insert(format!("{kind}_token_id"), json!(id));
        }
    }
    out
}

/// `generation_config.json`.
fn generation(metadata: &Metadata) -> Value {
    let mut out = special_ids(metadata);
    if let Some(Gguf::Array(Array::U32(ids))) = metadata.get(END_IDS) {
        out.insert("eos_token_id".into(), json!(ids));
    }
    let mut sampled = false;
    for (key, name) in [
        ("general.sampling.temp", "temperature"),
        ("general.sampling.top_p", "top_p"),
        ("general.sampling.min_p", "min_p"),
        ("general.sampling.penalty_repeat", "repetition_penalty"),
    ] {
        if let Some(value) = metadata.f32(key) {
            sampled = sampled || name != "repetition_penalty";
            out.insert(name.into(), json!(crate::family::shortest(value)));
        }
    }
    if let Some(k) = metadata.u64("general.sampling.top_k") {
        sampled = true;
        out.insert("top_k".into(), json!(k));
    }
    if sampled {
        out.insert("do_sample".into(), json!(true));
    }
    Value::Object(out)
}

/// A model card with what the metadata say: the front matter's values are JSON, which is YAML too.
fn card(metadata: &Metadata) -> Option<String> {
    let mut lines = Vec::new();
    for (key, name) in [
        ("general.license", "license"),
        ("general.license.name", "license_name"),
        ("general.license.link", "license_link"),
        ("general.name", "model_name"),
        ("general.author", "model_author"),
        ("general.version", "model_version"),
        ("general.organization", "model_organization"),
        ("general.finetune", "model_finetune"),
        ("general.basename", "model_basename"),
        ("general.size_label", "model_size_label"),
    ] {
        if let Some(text) = metadata.str(key) {
            lines.push(format!("{name}: {}", json!(text)));
        }
    }
    for (key, name) in [("general.languages", "language"), ("general.tags", "tags")] {
        if let Some(items) = metadata.strings(key) {
            lines.push(format!("{name}: {}", json!(items)));
        }
    }
    if lines.is_empty() {
        return None;
    }
    let title =
        metadata.str("general.name").map(|name| format!("\n# {}\n", name.replace('\n', " ")));
    Some(format!("---\n{}\n---\n{}", lines.join("\n"), title.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
