//! Hugging Face folders: read as a checkpoint, through the model's family.

mod card;
mod plan;
mod source;

use std::path::Path;

use mdl_kernels::TensorType;

use crate::{
    Checkpoint, Config, Error, Limits, Result, Tensor, TensorSource,
    family::Description,
    gguf::Metadata,
    safetensors::{self, RawTensor},
    tokenizer,
};

pub use card::front_matter as card_fields;
use plan::{Origin, Raw};
use source::{Changed, Made};

/// `general.quantization_version`: ggml's, of the block types that it knows now.
const QUANTIZATION_VERSION: u32 = 2;

/// Opens a folder with `config.json` and safetensors.
pub(crate) fn open_folder(folder: &Path, limits: &Limits) -> Result<Checkpoint> {
    let config_path = folder.join("config.json");
    if !config_path.is_file() {
        return Err(Error::unsupported(
            folder,
            "holds no config.json",
            "a model folder has config.json, safetensors and the tokenizer's files",
        ));
    }
    let config = Config::read(folder, limits)?;
    let description = Description::read(config.clone(), limits)?;
    let raws = safetensors::open_folder(folder, limits)?;
    let mut notes = description.notes.clone();
    let views: Vec<_> = raws
        .tensors
        .iter()
        .map(|raw| Raw { name: &raw.tensor.name, ty: raw.tensor.ty, shape: &raw.tensor.shape })
        .collect();
    let planned = plan::plan(&description, folder, &views, &mut notes)?;
    let tokenizer =
        tokenizer::read(folder, &config, description.dims.vocabulary, limits, &mut notes)?;
    let metadata = metadata(folder, &config, &description, &planned, &tokenizer, limits)?;
    let mut tensors = Vec::with_capacity(planned.len());
    for (tensor, origin) in planned {
        let source = source(&tensor, origin, &raws.tensors)?;
        tensors.push((tensor, source));
    }
    let mut sources = raws.files;
    sources.extend(side_files(folder));
    let mut checkpoint = Checkpoint::new(folder, metadata, tensors, sources)?;
    checkpoint.notes = notes;
    Ok(checkpoint)
}

/// The reader of one tensor.
fn source(tensor: &Tensor, origin: Origin, raws: &[RawTensor]) -> Result<Box<dyn TensorSource>> {
    match origin {
        Origin::Values(values) => Ok(Box::new(Made { values })),
        Origin::Raw { index, transform } => {
            let raw = raws.get(index).ok_or_else(|| {
                Error::malformed(Path::new(""), format!("tensor {}", tensor.name), "is not there")
            })?;
            let mapped = raw.source()?;
            if transform == crate::family::Transform::None && tensor.ty == raw.tensor.ty {
                return Ok(Box::new(mapped));
            }
            let raw = raw.tensor.clone();
            Ok(Box::new(Changed { raw, source: mapped, ty: tensor.ty, transform }))
        }
    }
}

/// All keys, in the order of llama.cpp's converter.
fn metadata(
    folder: &Path,
    config: &Config,
    description: &Description,
    tensors: &[(Tensor, Origin)],
    tokenizer: &Metadata,
    limits: &Limits,
) -> Result<Metadata> {
    let architecture = description.family.architecture();
    let mut all = Metadata::new();
    all.set("general.architecture", architecture);
    all.set("general.type", "model");
    card::write(folder, config, tensors.iter().map(|(tensor, _)| tensor), limits, &mut all)?;
    append(&mut all, &description.metadata);
    let vocabulary = format!("{architecture}.vocab_size");
    if tokenizer.str("tokenizer.ggml.model") == Some("no_vocab") && all.get(&vocabulary).is_none() {
        all.set(vocabulary, u32::try_from(description.dims.vocabulary).unwrap_or(u32::MAX));
    }
    all.set("general.file_type", file_type(tensors));
    all.set("general.quantization_version", QUANTIZATION_VERSION);
    append(&mut all, tokenizer);
    Ok(all)
}

fn append(all: &mut Metadata, more: &Metadata) {
    for (key, value) in more.iter() {
        all.set(key, value.clone());
    }
}

/// llama.cpp's number for the type that most values have: F32 0, F16 1, BF16 32.
fn file_type(tensors: &[(Tensor, Origin)]) -> u32 {
    let values = |ty: TensorType| -> usize {
        let matrices = tensors.iter().filter(|(tensor, _)| tensor.shape.len() > 1);
        matrices.filter(|(tensor, _)| tensor.ty == ty).map(|(tensor, _)| tensor.elements()).sum()
    };
    let (whole, half, brain) =
        (values(TensorType::F32), values(TensorType::F16), values(TensorType::BF16));
    if brain > whole && brain >= half { 32 } else { u32::from(half > whole) }
}

/// The files besides the weights that the metadata come from, those that are there.
fn side_files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    const NAMES: &[&str] = &[
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "README.md",
    ];
    let paths = NAMES.iter().map(|name| folder.join(name)).collect::<Vec<_>>();
    paths.into_iter().filter(|path| path.is_file())
}

#[cfg(test)]
pub(crate) mod tests;
