//! Reading one GGUF file: header, metadata, tensor list. Weights stay where they are.
//!
//! What llama.cpp's reader refuses we refuse: other versions and byte orders, duplicate keys and names, nested
//! arrays, alignments that are no power of two, rows that are not whole blocks, offsets that do not follow one
//! another. Text must be UTF-8.

use std::{collections::BTreeSet, ops::Range, path::Path};

use mdl_kernels::TensorType;

use super::{Array, Metadata, Value, cursor::Cursor};
use crate::{Error, Limits, Mapping, Result, Tensor};

/// Tensor data begin at a multiple of this where a file does not say otherwise.
pub(crate) const DEFAULT_ALIGNMENT: usize = 32;

/// The key of another alignment.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";

/// One opened file.
#[derive(Debug)]
pub struct Gguf {
    /// The keys, in file order.
    pub metadata: Metadata,
    /// The tensors with the range of the file that holds each.
    pub tensors: Vec<(Tensor, Range<usize>)>,
    /// The file.
    pub mapping: Mapping,
}

/// Opens a file and checks everything before the weights, and that the weights are all there.
///
/// # Errors
/// [`Error::Malformed`] with the place, [`Error::Unsupported`] for versions and byte orders not read.
pub fn open(path: &Path, limits: &Limits) -> Result<Gguf> {
    let mapping = Mapping::open(path)?;
    let mut cursor = Cursor::new(path, &mapping, limits);
    let (tensor_count, key_count) = header(&mut cursor, limits)?;
    let metadata = metadata(&mut cursor, key_count)?;
    let alignment = alignment(path, &metadata)?;
    let infos = tensor_infos(&mut cursor, tensor_count, limits)?;
    let start = cursor.offset().checked_next_multiple_of(alignment);
    let start = start.ok_or_else(|| Error::malformed(path, "header", "its length overflows"))?;
    let tensors = place(path, infos, start, alignment, mapping.len())?;
    Ok(Gguf { metadata, tensors, mapping })
}

fn header(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(u64, u64)> {
    let magic = cursor.bytes(4, "magic")?;
    if magic != b"GGUF" {
        return Err(cursor.bad("magic", "not a GGUF file (it does not begin with `GGUF`)"));
    }
    let version = cursor.u32("version")?;
    match version {
        2 | 3 => {}
        1 => {
            return Err(cursor.unsupported(
                "GGUF version 1 is not read",
                "convert the model again with a tool of 2024 or later",
            ));
        }
        v if (1..=3).contains(&v.swap_bytes()) => {
            return Err(cursor
                .unsupported("a big-endian GGUF file is not read", "make a little-endian one"));
        }
        v => return Err(cursor.bad("version", format!("unknown version {v}"))),
    }
    let tensors = cursor.u64("tensor count")?;
    let keys = cursor.u64("key count")?;
    // A tensor's entry takes at least 24 bytes, a key's 13.
    cursor.check_count(tensors, 24, limits.tensors, "tensor count")?;
    cursor.check_count(keys, 13, limits.keys, "key count")?;
    Ok((tensors, keys))
}

fn metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    let mut seen = BTreeSet::new();
    for index in 0..count {
        let key = cursor.string("metadata key")?;
        if key.is_empty() || !seen.insert(key.clone()) {
            return Err(cursor
                .bad(&format!("key {index}"), format!("`{key}` is empty or stands there twice")));
        }
        let kind = cursor.u32(&key)?;
        let value = value(cursor, kind, &key)?;
        metadata.push_unique(key, value);
    }
    Ok(metadata)
}

fn value(cursor: &mut Cursor<'_>, kind: u32, key: &str) -> Result<Value> {
    Ok(match kind {
        0 => Value::U8(cursor.u8(key)?),
        1 => Value::I8(cursor.u8(key)? as i8),
        2 => Value::U16(u16::from_le_bytes(cursor.array(key)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(key)?)),
        4 => Value::U32(cursor.u32(key)?),
        5 => Value::I32(i32::from_le_bytes(cursor.array(key)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(key)?)),
        7 => Value::Bool(bool(cursor, key)?),
        8 => Value::String(cursor.string(key)?),
        9 => Value::Array(array(cursor, key)?),
        10 => Value::U64(cursor.u64(key)?),
        11 => Value::I64(i64::from_le_bytes(cursor.array(key)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(key)?)),
        kind => return Err(cursor.bad(key, format!("unknown value type {kind}"))),
    })
}

fn bool(cursor: &mut Cursor<'_>, key: &str) -> Result<bool> {
    match cursor.u8(key)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(cursor.bad(key, format!("{other} is no truth value"))),
    }
}

fn array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array> {
    let kind = cursor.u32(key)?;
    let count = cursor.u64(key)?;
    macro_rules! numbers {
        ($variant:ident, $number:ty) => {{
            const SIZE: usize = size_of::<$number>();
            let bytes = cursor.items(count, SIZE, key)?;
            let (items, _) = bytes.as_chunks::<SIZE>();
            Array::$variant(items.iter().map(|item| <$number>::from_le_bytes(*item)).collect())
        }};
    }
    Ok(match kind {
        0 => numbers!(U8, u8),
        1 => numbers!(I8, i8),
        2 => numbers!(U16, u16),
        3 => numbers!(I16, i16),
        4 => numbers!(U32, u32),
        5 => numbers!(I32, i32),
        6 => numbers!(F32, f32),
        7 => {
            let bytes = cursor.items(count, 1, key)?;
            if bytes.iter().any(|byte| *byte > 1) {
                return Err(cursor.bad(key, "holds a byte that is no truth value"));
            }
            Array::Bool(bytes.iter().map(|byte| *byte == 1).collect())
        }
        8 => Array::String(cursor.strings(count, key)?),
        9 => return Err(cursor.bad(key, "arrays of arrays are not read")),
        10 => numbers!(U64, u64),
        11 => numbers!(I64, i64),
        12 => numbers!(F64, f64),
        kind => return Err(cursor.bad(key, format!("unknown array type {kind}"))),
    })
}

/// Where tensors begin: at multiples of this, in reading as in writing.
pub(super) fn alignment(path: &Path, metadata: &Metadata) -> Result<usize> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(DEFAULT_ALIGNMENT) };
    match *value {
        Value::U32(bytes) if bytes.is_power_of_two() => Ok(bytes as usize),
        _ => Err(Error::malformed(path, ALIGNMENT_KEY, "must be a power of two, as u32")),
    }
}

/// Name, type, dimensions, offset in the data section.
type Info = (Tensor, u64);

fn tensor_infos(cursor: &mut Cursor<'_>, count: u64, limits: &Limits) -> Result<Vec<Info>> {
    let mut infos = Vec::new();
    let mut names = BTreeSet::new();
    for index in 0..count {
        let info = tensor_info(cursor, index, limits)?;
        if !names.insert(info.0.name.clone()) {
            return Err(cursor.bad(&info.0.name, "a tensor of this name stands there twice"));
        }
        infos.push(info);
    }
    Ok(infos)
}

fn tensor_info(cursor: &mut Cursor<'_>, index: u64, limits: &Limits) -> Result<Info> {
    let place = format!("tensor {index}");
    let name = cursor.string(&place)?;
    if name.is_empty() || name.len() as u64 > limits.name_bytes {
        return Err(cursor.bad(&place, format!("a name of {} bytes", name.len())));
    }
    let dimensions = cursor.u32(&name)?;
    if dimensions == 0 || dimensions > limits.dimensions {
        return Err(cursor.bad(&name, format!("{dimensions} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = cursor.u64(&name)?;
        shape.push(
            usize::try_from(size)
                .map_err(|_| cursor.bad(&name, format!("a dimension of {size}")))?,
        );
    }
    let id = cursor.u32(&name)?;
    let Some(ty) = TensorType::from_id(id) else {
        let problem = format!("`{name}` has the tensor type {id}, which is unknown");
        return Err(cursor.unsupported(
            problem,
            "the file may come from another program than llama.cpp, or a newer one",
        ));
    };
    let offset = cursor.u64(&name)?;
    Ok((Tensor { name, ty, shape }, offset))
}

/// Checks sizes and offsets, and turns them into ranges of the file.
fn place(
    path: &Path,
    infos: Vec<Info>,
    start: usize,
    alignment: usize,
    len: usize,
) -> Result<Vec<(Tensor, Range<usize>)>> {
    let mut placed = Vec::with_capacity(infos.len());
    let mut expected = 0_usize;
    for (tensor, offset) in infos {
        let bad =
            |problem: String| Error::malformed(path, format!("tensor `{}`", tensor.name), problem);
        let bytes = tensor.checked_bytes().map_err(bad)?;
        if offset != expected as u64 {
            return Err(bad(format!(
                "begins at {offset} of the data, where {expected} follows from the tensors before it"
            )));
        }
        let begin = start.checked_add(expected);
        let end = begin.and_then(|begin| begin.checked_add(bytes));
        let (Some(begin), Some(end)) = (begin, end) else {
            return Err(bad("its place overflows".to_owned()));
        };
        if end > len {
            return Err(bad(format!(
                "ends at byte {end} of a file of {len}: the file is cut short, fetch it again"
            )));
        }
        let next =
            expected.checked_add(bytes).and_then(|next| next.checked_next_multiple_of(alignment));
        expected = next.ok_or_else(|| Error::malformed(path, "data", "its length overflows"))?;
        placed.push((tensor, begin..end));
    }
    Ok(placed)
}
