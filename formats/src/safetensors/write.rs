//! Writing safetensors: our own, because the crate's writer orders metadata at random, and the same model must give the
//! same bytes.

use std::{collections::BTreeSet, path::Path};

use mdl_kernels::TensorType;
use serde_json::{Map, Value, json};

use crate::{Error, Result, Tensor};

/// One file to be written: its header, and where each tensor goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The file's name in its folder.
    pub name: String,
    /// Length word and JSON header, padded to 8 bytes.
    pub header: Vec<u8>,
    /// Indices of the tensors given, in the order in which they follow one another.
    pub tensors: Vec<usize>,
}

impl Layout {
    /// Files for these tensors, shards of at most `max_bytes` of tensors each (at least one tensor), named as
    /// transformers names them. Tensors are `F32`, `F16` or `BF16`, their shapes in GGUF order; they are written under
    /// their names, the widest types of a file first, so that each begins at a multiple of its value's size (torch
    /// refuses others), and otherwise in the order given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other types, [`Error::Malformed`] for shapes that overflow; `path` is for the message.
    pub fn files(path: &Path, tensors: &[Tensor], max_bytes: u64) -> Result<Vec<Self>> {
        refuse_twins(path, tensors)?;
        let mut shards: Vec<Vec<usize>> = vec![Vec::new()];
        let mut filled = 0_u64;
        for (index, tensor) in tensors.iter().enumerate() {
            let bad =
                |problem| Error::malformed(path, format!("tensor `{}`", tensor.name), problem);
            let bytes = tensor.checked_bytes().map_err(bad)? as u64;
            let full = filled.saturating_add(bytes) > max_bytes;
            match shards.last_mut() {
                Some(shard) if !full || shard.is_empty() => shard.push(index),
                _ => {
                    shards.push(vec![index]);
                    filled = 0;
                }
            }
            filled = filled.saturating_add(bytes);
        }
        let count = shards.len();
        let name = |number: usize| match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        let numbered = shards.into_iter().enumerate();
        numbered
            .map(|(index, shard)| Self::of_shard(path, name(index + 1), tensors, shard))
            .collect()
    }

    fn of_shard(
        path: &Path,
        name: String,
        tensors: &[Tensor],
        mut shard: Vec<usize>,
    ) -> Result<Self> {
        let width = |index: &usize| tensors.get(*index).map_or(0, |tensor| tensor.ty.block_bytes());
        shard.sort_by_key(|index| std::cmp::Reverse(width(index)));
        let mut entries = Map::new();
        entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut offset = 0_usize;
        for tensor in shard.iter().filter_map(|index| tensors.get(*index)) {
            let dtype = match tensor.ty {
                TensorType::F32 => "F32",
                TensorType::F16 => "F16",
                TensorType::BF16 => "BF16",
                ty => {
                    return Err(Error::unsupported(
                        path,
                        format!("`{}` is {ty}, which safetensors does not hold", tensor.name),
                        "",
                    ));
                }
            };
            let shape: Vec<usize> = tensor.shape.iter().rev().copied().collect();
            let end = offset.checked_add(tensor.bytes());
            let end = end.ok_or_else(|| Error::malformed(path, "data", "its length overflows"))?;
            let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
            entries.insert(tensor.name.clone(), entry);
            offset = end;
        }
        let mut text = Value::Object(entries).to_string();
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let mut header = (text.len() as u64).to_le_bytes().to_vec();
        header.extend(text.as_bytes());
        Ok(Self { name, header, tensors: shard })
    }
}

/// Refuses two tensors of one name, and the name that the format keeps for itself.
fn refuse_twins(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let mut names = BTreeSet::from(["__metadata__"]);
    match tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        None => Ok(()),
        Some(twin) => {
            let place = format!("tensor `{}`", twin.name);
            Err(Error::malformed(path, place, "this name stands there twice or is reserved"))
        }
    }
}

/// The text of `model.safetensors.index.json` for several files.
pub fn index(files: &[Layout], tensors: &[Tensor]) -> String {
    let mut map = std::collections::BTreeMap::new();
    let mut total = 0_usize;
    for file in files {
        for tensor in file.tensors.iter().filter_map(|index| tensors.get(*index)) {
            map.insert(&tensor.name, &file.name);
            total += tensor.bytes();
        }
    }
    format!("{:#}\n", json!({"metadata": {"total_size": total}, "weight_map": map}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, safetensors};

    fn tensor(name: &str, ty: TensorType, shape: &[usize]) -> Tensor {
        Tensor { name: name.into(), ty, shape: shape.to_vec() }
    }

    fn write(folder: &Path, tensors: &[Tensor], max_bytes: u64) -> Vec<Layout> {
        let files = Layout::files(folder, tensors, max_bytes).unwrap();
        for file in &files {
            let mut bytes = file.header.clone();
            for index in &file.tensors {
                bytes.extend((0..tensors[*index].bytes()).map(|i| (i % 251) as u8));
            }
            // The crate is the oracle for single files.
            let read = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(read.len(), file.tensors.len());
            std::fs::write(folder.join(&file.name), bytes).unwrap();
        }
        if files.len() > 1 {
            std::fs::write(folder.join("model.safetensors.index.json"), index(&files, tensors))
                .unwrap();
        }
        files
    }

    #[test]
    fn what_is_written_is_read_back_whole_or_in_shards() {
        let tensors = [
            tensor("b", TensorType::F32, &[3, 2]),
            tensor("a", TensorType::BF16, &[5]),
            tensor("c", TensorType::F16, &[4, 4, 2]),
        ];
        for (max_bytes, count) in [(u64::MAX, 1), (40, 2), (1, 3)] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(write(dir.path(), &tensors, max_bytes).len(), count);
            let read = safetensors::open_folder(dir.path(), &Limits::default()).unwrap();
            assert_eq!(read.files.len(), count);
            let names: Vec<&str> =
                read.tensors.iter().map(|raw| raw.tensor.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c"]);
            for raw in &read.tensors {
                let original =
                    tensors.iter().find(|tensor| tensor.name == raw.tensor.name).unwrap();
                assert_eq!(&raw.tensor, original);
                let expected: Vec<u8> = (0..original.bytes()).map(|i| (i % 251) as u8).collect();
                assert_eq!(&raw.mapping[raw.range.clone()], expected);
            }
        }
    }

    #[test]
    fn every_tensor_begins_at_a_multiple_of_its_width() {
        let tensors = [
            tensor("half", TensorType::BF16, &[3]),
            tensor("whole", TensorType::F32, &[1]),
            tensor("other", TensorType::F16, &[1]),
        ];
        let files = Layout::files(Path::new("m"), &tensors, 1000).unwrap();
        assert_eq!(files[0].tensors, [1, 0, 2]);
    }

    #[test]
    fn refuses_twins_and_the_reserved_name() {
        let twin = tensor("x", TensorType::F32, &[2]);
        let reserved = tensor("__metadata__", TensorType::F32, &[2]);
        for bad in [&[twin.clone(), twin][..], &[reserved]] {
            assert!(Layout::files(Path::new("m"), bad, 1000).is_err());
        }
    }

    #[test]
    fn the_bytes_are_the_same_every_time() {
        let tensors = [tensor("x", TensorType::F32, &[2]), tensor("y", TensorType::F32, &[2])];
        let make = || Layout::files(Path::new("m"), &tensors, 1000).unwrap();
        assert_eq!(make(), make());
        assert!(
            Layout::files(Path::new("m"), &[tensor("q", TensorType::Q8_0, &[32])], 1000).is_err()
        );
    }
}
