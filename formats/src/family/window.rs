//! Sliding windows: which layers have one, from a configuration and back.

use serde_json::{Map, Value, json};

use super::{Dims, Keys};
use crate::{
    Config, Error, Result,
    gguf::{Array, Metadata, Value as Gguf},
};

/// Whether each layer has the window, by `layer_types`; none where it is not listed.
pub(super) fn listed(config: &Config, dims: &Dims) -> Result<Option<Vec<bool>>> {
    let Some(types) = config.list("layer_types")? else { return Ok(None) };
    let error = |problem: String| Error::malformed(config.path(), "layer_types", problem);
    if types.len() != dims.layers {
        return Err(error(format!("lists {} layers of {}", types.len(), dims.layers)));
    }
    let kind = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(error(format!("{kind} is neither full_attention nor sliding_attention"))),
    };
    types.iter().map(kind).collect::<Result<Vec<_>>>().map(Some)
}

/// Writes a window that llama.cpp ignores for this architecture, with a note where it matters.
pub(super) fn write_ignored(
    window: usize,
    layers: &[bool],
    dims: &Dims,
    out: &mut Keys<'_>,
    notes: &mut Vec<String>,
) {
    if !layers.contains(&true) {
        return;
    }
    out.u32("attention.sliding_window", window);
    if layers.contains(&false) {
        out.bools("attention.sliding_window_pattern", layers.to_vec());
    }
    note(window, dims, notes);
}

/// Says that llama.cpp ignores the window, where it is shorter than the context.
pub(super) fn note(window: usize, dims: &Dims, notes: &mut Vec<String>) {
    if window < dims.context {
        notes.push(format!(
            "The model attends within a sliding window of {window} tokens; llama.cpp ignores it for \
             this architecture and attends to all tokens, so results differ beyond {window} tokens."
        ));
    }
}

/// The windows of Qwen and SmolLM3: off unless `use_sliding_window`, then from layer
/// `max_window_layers` on, or as `layer_types` says.
pub(super) fn switched(
    config: &Config,
    dims: &Dims,
    out: &mut Keys<'_>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let Some(window) = config.optional_size("sliding_window")? else { return Ok(()) };
    if !config.flag("use_sliding_window", false)? {
        return Ok(());
    }
    let first = config.u64("max_window_layers")?.unwrap_or(u64::MAX);
    let layers = match listed(config, dims)? {
        Some(layers) => layers,
        None => (0..dims.layers).map(|layer| layer as u64 >= first).collect(),
    };
    write_ignored(window, &layers, dims, out, notes);
    Ok(())
}

/// The window's length in metadata; none for 0.
pub(super) fn length(metadata: &Metadata) -> Option<u64> {
    let architecture = metadata.str("general.architecture")?;
    metadata.u64(&format!("{architecture}.attention.sliding_window")).filter(|window| *window > 0)
}

/// Whether each layer has the window. `absent`: the pattern where metadata state none, 1 for all.
pub(super) fn pattern(metadata: &Metadata, layers: usize, absent: u64) -> Vec<bool> {
    if length(metadata).is_none() {
        return vec![false; layers];
    }
    let architecture = metadata.str("general.architecture").unwrap_or_default();
    let key = format!("{architecture}.attention.sliding_window_pattern");
    let every = match metadata.get(&key) {
        Some(Gguf::Array(Array::Bool(flags))) if flags.len() >= layers => {
            return flags[..layers].to_vec();
        }
        _ => metadata.u64(&key).unwrap_or(absent),
    };
    let full = |layer: usize| every > 1 && layer as u64 % every == every - 1;
    (0..layers).map(|layer| !full(layer)).collect()
}

/// `layer_types` as transformers lists them.
pub(super) fn types(layers: &[bool]) -> Value {
    let name = |window: &bool| if *window { "sliding_attention" } else { "full_attention" };
    layers.iter().map(name).collect()
}

/// The keys of [`switched`] for `config.json`.
pub(super) fn switched_json(metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
    let layers = pattern(metadata, dims.layers, 1);
    let window = length(metadata);
    let first = layers.iter().position(|window| *window).unwrap_or(dims.layers);
    out.insert("use_sliding_window".into(), json!(window.is_some()));
    out.insert("sliding_window".into(), json!(window));
    out.insert("max_window_layers".into(), json!(first));
    out.insert("layer_types".into(), types(&layers));
}
