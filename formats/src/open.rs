//! Finds out what a path is, and opens it.

use std::path::Path;

use crate::{Checkpoint, Error, Limits, Mapping, Result, gguf};

/// Opens a model folder or file; see [`Checkpoint::open`].
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Checkpoint> {
    let facts = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
    if facts.is_dir() {
        return crate::hf::open_folder(path, limits);
    }
    let mapping = Mapping::open(path)?;
    refuse_placeholder(path, &mapping)?;
    if mapping.starts_with(b"GGUF") {
        return Checkpoint::from_gguf(path, gguf::open_all(path, limits)?);
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let folder = path.parent().unwrap_or(Path::new("."));
        if folder.join("config.json").exists() {
            return crate::hf::open_folder(folder, limits);
        }
        let hint = "a safetensors file holds tensors alone: put config.json and the tokenizer's files beside it";
        return Err(Error::unsupported(path, "no config.json beside it", hint));
    }
    if mapping.starts_with(b"PK") || mapping.starts_with(b"\x80\x02") {
        return Err(Error::unsupported(
            path,
            "a PyTorch pickle, which is not read",
            "take the safetensors form of this model",
        ));
    }
    Err(Error::unsupported(
        path,
        "neither GGUF nor safetensors",
        "models are GGUF files or Hugging Face folders",
    ))
}

/// Refuses what stands where a weight file should be: nothing, or git-lfs's pointer to it.
pub(crate) fn refuse_placeholder(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::unsupported(path, "the file is empty", "fetch it again"));
    }
    if bytes.starts_with(b"version https://git-lfs") {
        let hint = "run `git lfs pull` in its folder, or download the file itself";
        return Err(Error::unsupported(
            path,
            "a git-lfs pointer, not the file that it stands for",
            hint,
        ));
    }
    Ok(())
}
