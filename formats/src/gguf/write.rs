//! Writing GGUF version 3: the header from a list of tensors, so that every offset is known before the first byte.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    Array, Metadata, Value,
    read::{self, ALIGNMENT_KEY},
    split::{SPLIT_KEYS, part_path},
};
use crate::{Error, Result, Tensor};

/// ggml's `GGML_MAX_NAME`: a name takes fewer bytes than this.
const NAME_BYTES: usize = 64;

/// One file to be written: its header, and where each tensor goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Everything before the first tensor, padding included.
    pub header: Vec<u8>,
    /// Index of each tensor in the list given, with the offset of its first byte in the file. In file order; between
    /// tensors stand zeros up to the alignment.
    pub tensors: Vec<(usize, u64)>,
    /// Bytes in all.
    pub len: u64,
}

impl Layout {
    /// The layout of one file with all of `metadata`.
    ///
    /// # Errors
    /// [`Error::Malformed`] where a name or a shape cannot be written; `path` is for the message.
    pub fn new(path: &Path, metadata: &Metadata, tensors: &[Tensor]) -> Result<Self> {
        refuse_twins(path, tensors)?;
        let all: Vec<usize> = (0..tensors.len()).collect();
        Self::of_part(path, metadata, tensors, &all)
    }

    /// Layouts of the files of a split model, with their names: parts are filled with whole tensors up to `max_bytes` of
    /// tensor data, padding included (at least one each; headers come on top, as llama-gguf-split counts). The first
    /// carries all keys. A model that fits in one is one plain file.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn split(
        path: &Path,
        metadata: &Metadata,
        tensors: &[Tensor],
        max_bytes: u64,
    ) -> Result<Vec<(PathBuf, Self)>> {
        let alignment = read::alignment(path, metadata)? as u64;
        let parts = parts(tensors, max_bytes, alignment);
        if parts.len() == 1 {
            return Ok(vec![(path.to_owned(), Self::new(path, metadata, tensors)?)]);
        }
        let too_many = |_| {
            Error::unsupported(
                path,
                format!("{} parts are too many", parts.len()),
                "allow larger parts",
            )
        };
        let count = u16::try_from(parts.len()).map_err(too_many)?;
        let total = i32::try_from(tensors.len()).map_err(too_many)?;
        refuse_twins(path, tensors)?;
        // Only the format's own ending goes: a name such as `model-1.5b` keeps its dot.
        let ours = path.extension().is_some_and(|extension| extension == "gguf");
        let prefix = if ours { path.with_extension("") } else { path.to_owned() };
        let mut files = Vec::new();
        for (number, part) in (0..count).zip(&parts) {
            let mut keys = if number == 0 { metadata.clone() } else { Metadata::new() };
            for key in SPLIT_KEYS {
                keys.remove(key);
            }
            if let Some(alignment) = metadata.get(ALIGNMENT_KEY) {
                // Readers take each file's alignment from its own keys.
                keys.set(ALIGNMENT_KEY, alignment.clone());
            }
            let [no, of, all] = SPLIT_KEYS;
            // In llama-gguf-split's order, so that the files are equal byte for byte.
            keys.set(no, number);
            keys.set(all, total);
            keys.set(of, count);
            let name = part_path(&prefix, usize::from(number) + 1, parts.len());
            files.push((name, Self::of_part(path, &keys, tensors, part)?));
        }
        Ok(files)
    }

    fn of_part(
        path: &Path,
        metadata: &Metadata,
        tensors: &[Tensor],
        part: &[usize],
    ) -> Result<Self> {
        let alignment = read::alignment(path, metadata)? as u64;
        let mut header = b"GGUF".to_vec();
        put_u32(&mut header, 3);
        put_u64(&mut header, part.len() as u64);
        put_u64(&mut header, metadata.len() as u64);
        for (key, value) in metadata.iter() {
            put_string(&mut header, key);
            put_value(&mut header, value);
        }
        let overflow = || Error::malformed(path, "data", "its length overflows");
        let mut offsets = Vec::new();
        let mut offset = 0_u64;
        for &index in part {
            let Some(tensor) = tensors.get(index) else { continue };
            let bytes = checked(path, tensor)?;
            put_info(&mut header, tensor, offset);
            offsets.push((index, offset));
            let end = offset.checked_add(bytes as u64).ok_or_else(overflow)?;
            offset = end.checked_next_multiple_of(alignment).ok_or_else(overflow)?;
        }
        let start = header.len().next_multiple_of(alignment as usize);
        header.resize(start, 0);
        let start = start as u64;
        let len = start.checked_add(offset).ok_or_else(overflow)?;
        let tensors = offsets.into_iter().map(|(index, offset)| (index, start + offset)).collect();
        Ok(Self { header, tensors, len })
    }
}

/// Which tensors go to which part.
fn parts(tensors: &[Tensor], max_bytes: u64, alignment: u64) -> Vec<Vec<usize>> {
    let mut parts = vec![Vec::new()];
    let mut filled = 0_u64;
    for (index, tensor) in tensors.iter().enumerate() {
        let bytes = (tensor.bytes() as u64).checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        let full = filled.saturating_add(bytes) > max_bytes;
        match parts.last_mut() {
            Some(part) if !full || part.is_empty() => part.push(index),
            _ => {
                parts.push(vec![index]);
                filled = 0;
            }
        }
        filled = filled.saturating_add(bytes);
    }
    parts
}

fn refuse_twins(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let mut names = BTreeSet::new();
    match tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        None => Ok(()),
        Some(twin) => {
            let place = format!("tensor `{}`", twin.name);
            Err(Error::malformed(path, place, "a tensor of this name stands there twice"))
        }
    }
}

fn checked(path: &Path, tensor: &Tensor) -> Result<usize> {
    let bad =
        |problem: String| Error::malformed(path, format!("tensor `{}`", tensor.name), problem);
    if tensor.name.is_empty()
        || tensor.name.len() >= NAME_BYTES
        || !(1..=4).contains(&tensor.shape.len())
    {
        return Err(bad(format!(
            "a name of {} bytes or {} dimensions cannot be written",
            tensor.name.len(),
            tensor.shape.len()
        )));
    }
    tensor.checked_bytes().map_err(bad)
}

fn put_info(out: &mut Vec<u8>, tensor: &Tensor, offset: u64) {
    put_string(out, &tensor.name);
    put_u32(out, tensor.shape.len() as u32);
    for size in &tensor.shape {
        put_u64(out, *size as u64);
    }
    put_u32(out, tensor.ty.id());
    put_u64(out, offset);
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    macro_rules! number {
        ($kind:expr, $value:expr) => {{
            put_u32(out, $kind);
            out.extend($value.to_le_bytes());
        }};
    }
    match value {
        Value::U8(v) => number!(0, v),
        Value::I8(v) => number!(1, v),
        Value::U16(v) => number!(2, v),
        Value::I16(v) => number!(3, v),
        Value::U32(v) => number!(4, v),
        Value::I32(v) => number!(5, v),
        Value::F32(v) => number!(6, v),
        Value::Bool(v) => number!(7, u8::from(*v)),
        Value::String(text) => {
            put_u32(out, 8);
            put_string(out, text);
        }
        Value::Array(array) => {
            put_u32(out, 9);
            put_array(out, array);
        }
        Value::U64(v) => number!(10, v),
        Value::I64(v) => number!(11, v),
        Value::F64(v) => number!(12, v),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    macro_rules! numbers {
        ($kind:expr, $items:expr) => {{
            put_u32(out, $kind);
            put_u64(out, $items.len() as u64);
            for item in $items {
                out.extend(item.to_le_bytes());
            }
        }};
    }
    match array {
        Array::U8(v) => numbers!(0, v),
        Array::I8(v) => numbers!(1, v),
        Array::U16(v) => numbers!(2, v),
        Array::I16(v) => numbers!(3, v),
        Array::U32(v) => numbers!(4, v),
        Array::I32(v) => numbers!(5, v),
        Array::F32(v) => numbers!(6, v),
        Array::Bool(v) => {
            put_u32(out, 7);
            put_u64(out, v.len() as u64);
            out.extend(v.iter().map(|item| u8::from(*item)));
        }
        Array::String(v) => {
            put_u32(out, 8);
            put_u64(out, v.len() as u64);
            for item in v {
                put_string(out, item);
            }
        }
        Array::U64(v) => numbers!(10, v),
        Array::I64(v) => numbers!(11, v),
        Array::F64(v) => numbers!(12, v),
    }
}

#[cfg(test)]
mod tests {
    use mdl_kernels::TensorType;

    use super::*;

    fn tensor(name: &str, ty: TensorType, shape: &[usize]) -> Tensor {
        Tensor { name: name.to_owned(), ty, shape: shape.to_vec() }
    }

    #[test]
    fn a_small_header_byte_for_byte() {
        let mut metadata = Metadata::new();
        metadata.set("a", 7_u16);
        let tensors = [tensor("t", TensorType::F32, &[3])];
        let made = Layout::new(Path::new("out.gguf"), &metadata, &tensors).unwrap();
        let mut expected = b"GGUF\x03\0\0\0".to_vec();
        expected.extend(1_u64.to_le_bytes());
        expected.extend(1_u64.to_le_bytes());
        expected.extend(b"\x01\0\0\0\0\0\0\0a\x02\0\0\0\x07\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0t\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0");
        expected.extend(0_u64.to_le_bytes());
        expected.resize(96, 0);
        assert_eq!(made, Layout { header: expected, tensors: vec![(0, 96)], len: 128 });
    }

    #[test]
    fn splits_by_padded_tensor_bytes_and_keeps_the_alignment() {
        let tensors: Vec<_> =
            (0..5).map(|i| tensor(&format!("t{i}"), TensorType::F32, &[9])).collect();
        let mut metadata = Metadata::new();
        let files = |metadata: &Metadata, path: &str, max| {
            let files = Layout::split(Path::new(path), metadata, &tensors, max).unwrap();
            let names = files.iter().map(|(name, _)| name.to_string_lossy().into_owned());
            let counts = files.iter().map(|(_, layout)| layout.tensors.len());
            (names.collect::<Vec<_>>(), counts.collect::<Vec<_>>())
        };
        // 36 bytes take 64.
        let (names, counts) = files(&metadata, "a/m-1.5b", 130);
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(names[2], "a/m-1.5b-00003-of-00003.gguf");
        assert_eq!(files(&metadata, "m.gguf", 1).1, [1; 5], "no tensor is cut, no file is empty");
        assert_eq!(files(&metadata, "m.gguf", 320), (vec!["m.gguf".to_owned()], vec![5]));
        metadata.set(ALIGNMENT_KEY, 128_u32);
        for (_, layout) in Layout::split(Path::new("m"), &metadata, &tensors, 256).unwrap() {
            assert!(layout.tensors.iter().all(|(_, offset)| offset % 128 == 0));
            assert!(layout.header.windows(17).any(|bytes| bytes == ALIGNMENT_KEY.as_bytes()));
        }
    }

    #[test]
    fn refuses_what_readers_refuse() {
        let good = tensor("t", TensorType::Q8_0, &[32, 2]);
        let new = |metadata: &Metadata, tensors: &[Tensor]| {
            Layout::new(Path::new("out.gguf"), metadata, tensors).unwrap_err().to_string()
        };
        for (bad, words) in [
            (vec![good.clone(), good.clone()], "twice"),
            (vec![tensor("t", TensorType::Q8_0, &[33])], "do not divide"),
            (vec![tensor("", TensorType::F32, &[1])], "a name of 0 bytes"),
            (vec![tensor(&"n".repeat(64), TensorType::F32, &[1])], "a name of 64 bytes"),
            (vec![tensor("t", TensorType::F32, &[1; 5])], "5 dimensions"),
            (vec![tensor("t", TensorType::F32, &[])], "0 dimensions"),
            (vec![tensor("t", TensorType::F32, &[0, 3])], "empty"),
            (vec![tensor("t", TensorType::F32, &[1 << 40, 1 << 40])], "overflow"),
        ] {
            let error = new(&Metadata::new(), &bad);
            assert!(error.contains(words), "{error}");
        }
        for value in [Value::U32(0), Value::U32(24), Value::U64(32)] {
            let mut metadata = Metadata::new();
            metadata.set(ALIGNMENT_KEY, value);
            let error = new(&metadata, std::slice::from_ref(&good));
            assert!(error.contains("power of two"), "{error}");
        }
    }
}
