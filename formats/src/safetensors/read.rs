//! Reading safetensors files: one, or all that a folder's index names.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use mdl_kernels::TensorType;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::{Error, Limits, Mapping, Result, Tensor, checkpoint::MappedTensor, json};

/// A tensor as a file has it: its own name, and the row length first as GGUF lists dimensions.
#[derive(Debug, Clone)]
pub struct RawTensor {
    /// Name, type and shape.
    pub tensor: Tensor,
    /// The file.
    pub mapping: Mapping,
    /// Where in it.
    pub range: Range<usize>,
}

impl RawTensor {
    /// Its bytes as they stand.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the range is not the tensor's.
    pub fn source(&self) -> Result<MappedTensor> {
        MappedTensor::new(self.tensor.clone(), self.mapping.clone(), self.range.clone())
    }
}

/// All tensors of a model folder or file, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct RawTensors {
    /// The tensors.
    pub tensors: Vec<RawTensor>,
    /// The files that hold them.
    pub files: Vec<PathBuf>,
}

/// Opens one file.
///
/// # Errors
/// [`Error`] naming the place.
pub fn open(path: &Path, limits: &Limits) -> Result<RawTensors> {
    let mapping = Mapping::open(path)?;
    let data = header(path, &mapping, limits)?;
    let (_, parsed) = SafeTensors::read_metadata(&mapping)
        .map_err(|error| Error::malformed(path, "header", error.to_string()))?;
    let infos = parsed.tensors();
    if infos.len() as u64 > limits.tensors {
        return Err(Error::malformed(
            path,
            "header",
            format!("{} tensors are more than the limit", infos.len()),
        ));
    }
    let sorted: BTreeMap<_, _> = infos.into_iter().collect();
    let mut tensors = Vec::with_capacity(sorted.len());
    for (name, info) in sorted {
        let bad = |problem: String| Error::malformed(path, format!("tensor `{name}`"), problem);
        let Some(ty) = tensor_type(info.dtype) else {
            return Err(Error::unsupported(
                path,
                format!("tensor `{name}` is {:?}, which is not read", info.dtype),
                "",
            ));
        };
        if name.len() as u64 > limits.name_bytes
            || info.shape.len() as u64 > u64::from(limits.dimensions)
        {
            return Err(bad(format!(
                "{} dimensions, a name of {} bytes",
                info.shape.len(),
                name.len()
            )));
        }
        let mut shape: Vec<usize> = info.shape.iter().rev().copied().collect();
        if shape.is_empty() {
            shape.push(1);
        }
        let (begin, end) = info.data_offsets;
        let range =
            data.checked_add(begin).zip(data.checked_add(end)).map(|(begin, end)| begin..end);
        let range = range.ok_or_else(|| bad("its place overflows".to_owned()))?;
        tensors.push(RawTensor {
            tensor: Tensor { name, ty, shape },
            mapping: mapping.clone(),
            range,
        });
    }
    Ok(RawTensors { tensors, files: vec![path.to_owned()] })
}

/// Opens a folder's tensors: all files that `model.safetensors.index.json` names, else `model.safetensors`.
///
/// # Errors
/// [`Error::Unsupported`] where there is neither, or a shard is missing.
pub fn open_folder(folder: &Path, limits: &Limits) -> Result<RawTensors> {
    let index = folder.join("model.safetensors.index.json");
    let single = folder.join("model.safetensors");
    if single.exists() && !index.exists() {
        return open(&single, limits);
    }
    if !index.exists() {
        return Err(no_weights(folder));
    }
    let names = shard_names(&index, limits)?;
    let mut all = RawTensors::default();
    for name in &names {
        let path = folder.join(name);
        if !path.exists() {
            return Err(Error::unsupported(
                &path,
                "this shard is missing",
                "fetch all files that the index names",
            ));
        }
        let mut shard = open(&path, limits)?;
        all.tensors.append(&mut shard.tensors);
        all.files.append(&mut shard.files);
    }
    all.tensors.sort_by(|a, b| a.tensor.name.cmp(&b.tensor.name));
    for pair in all.tensors.windows(2) {
        if let [a, b] = pair
            && a.tensor.name == b.tensor.name
        {
            return Err(Error::malformed(
                b.mapping.path(),
                format!("tensor `{}`", b.tensor.name),
                "two shards hold it",
            ));
        }
    }
    Ok(all)
}

/// The shards that an index names: plain file names, each once.
fn shard_names(index: &Path, limits: &Limits) -> Result<BTreeSet<String>> {
    let object = json::read_object(index, limits)?;
    let Some(Value::Object(map)) = object.get("weight_map") else {
        return Err(Error::malformed(index, "weight_map", "is missing"));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        match file.as_str() {
            Some(file) if !file.is_empty() && !file.contains(['/', '\\']) && file != ".." => {
                names.insert(file.to_owned());
            }
            _ => {
                return Err(Error::malformed(
                    index,
                    format!("weight_map, `{tensor}`"),
                    "is not a file name",
                ));
            }
        }
    }
    if names.is_empty() || names.len() as u64 > u64::from(limits.splits) {
        return Err(Error::malformed(index, "weight_map", format!("names {} files", names.len())));
    }
    Ok(names)
}

fn no_weights(folder: &Path) -> Error {
    if folder.join("pytorch_model.bin").exists()
        || folder.join("pytorch_model.bin.index.json").exists()
    {
        let hint = "take the safetensors form of this model";
        return Error::unsupported(folder, "holds PyTorch pickles only, which are not read", hint);
    }
    Error::unsupported(
        folder,
        "holds neither model.safetensors nor model.safetensors.index.json",
        "",
    )
}

/// Checks the header's length, depth and keys before anybody parses it; gives the offset of the data.
fn header(path: &Path, bytes: &[u8], limits: &Limits) -> Result<usize> {
    crate::open::refuse_placeholder(path, bytes)?;
    let bad = |problem: String| Error::malformed(path, "header length", problem);
    let Some((first, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(bad(format!("a file of {} bytes is no safetensors file", bytes.len())));
    };
    let len = u64::from_le_bytes(*first);
    if len > limits.safetensors_header_bytes || len > rest.len() as u64 {
        return Err(bad(format!(
            "{len} bytes, where {} remain: not a safetensors file, or cut short",
            rest.len()
        )));
    }
    let len = len as usize;
    let text = rest.get(..len).and_then(|header| std::str::from_utf8(header).ok());
    let text = text.ok_or_else(|| Error::malformed(path, "header", "is not UTF-8"))?;
    json::check_unique_keys(path, text, limits)?;
    Ok(len + 8)
}

fn tensor_type(dtype: Dtype) -> Option<TensorType> {
    Some(match dtype {
        Dtype::F32 => TensorType::F32,
        Dtype::F16 => TensorType::F16,
        Dtype::BF16 => TensorType::BF16,
        Dtype::F64 => TensorType::F64,
        Dtype::I8 => TensorType::I8,
        Dtype::I16 => TensorType::I16,
        Dtype::I32 => TensorType::I32,
        Dtype::I64 => TensorType::I64,
        _ => return None,
    })
}
