//! Importance matrices as llama-imatrix writes them: for each matrix the mean square of every input column.
//!
//! GGUF form: `NAME.in_sum2` (sums of squares, one row per expert) and `NAME.counts` (tokens, one per expert). The older
//! `.dat` form: i32 count, then per entry i32 length, name, i32 calls, i32 values, f32 values (means times calls), and
//! at the end the last chunk and the data set's name. Source: llama.cpp's `tools/imatrix` and `tools/quantize`.

use std::{collections::BTreeMap, fs, path::Path};

use mdl_formats::{Checkpoint, Limits, Tensor, gguf};
use mdl_kernels::Tier;

use crate::{Error, Result};

/// Column weights by GGUF tensor name.
#[derive(Debug, Clone)]
pub struct Imatrix {
    /// The file's own name, without folders.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Names of the texts it was made from, without folders.
    pub datasets: Vec<String>,
    /// Chunks of text.
    pub chunks: Option<u64>,
    entries: BTreeMap<String, Vec<f32>>,
}

impl Imatrix {
    /// Reads either form.
    ///
    /// # Errors
    /// [`Error::Input`] or [`Error::Format`] naming the place.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let sha256 = mdl_formats::digest::sha256_file(path)?;
        let mut file = fs::File::open(path).map_err(mdl_formats::Error::io(path, "open"))?;
        let mut magic = [0; 4];
        let is_gguf = std::io::Read::read_exact(&mut file, &mut magic).is_ok() && &magic == b"GGUF";
        let (entries, datasets, chunks) =
            if is_gguf { from_gguf(path, limits)? } else { from_dat(path, limits)? };
        for (name, values) in &entries {
            if let Some(index) = values.iter().position(|value| !value.is_finite() || *value < 0.0)
            {
                return Err(Error::input(
                    path,
                    format!("`{name}`, column {index}: {} is no mean square", values[index]),
                ));
            }
        }
        if entries.is_empty() {
            return Err(Error::input(path, "holds no entries: not an importance matrix"));
        }
        let base = |text: &str| text.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256,
            datasets: datasets.iter().map(|text| base(text)).collect(),
            chunks,
            entries,
        })
    }

    /// Entries in all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none, which [`Imatrix::open`] refuses.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The weights of a tensor's columns, for each of its experts one row; `None` where it has no entry.
    ///
    /// # Errors
    /// [`Error::Refused`] where the entry has another length: it was made from another model.
    pub fn weights(&self, tensor: &Tensor) -> Result<Option<&[f32]>> {
        let Some(values) = self.entries.get(&tensor.name) else { return Ok(None) };
        let experts = tensor.shape.get(2).copied().unwrap_or(1);
        if values.len() == tensor.cols() * experts {
            return Ok(Some(values));
        }
        let (found, cols) = (values.len(), tensor.cols() * experts);
        Err(Error::refused(
            format!(
                "{}: `{}` has {found} weights where the tensor has {cols} columns",
                self.name, tensor.name
            ),
            "the importance matrix was made from another model",
        ))
    }
}

type Contents = (BTreeMap<String, Vec<f32>>, Vec<String>, Option<u64>);

fn from_gguf(path: &Path, limits: &Limits) -> Result<Contents> {
    let checkpoint = Checkpoint::open(path, limits)?;
    if checkpoint.metadata.str("general.type") != Some("imatrix") {
        return Err(Error::input(
            path,
            "a GGUF file, but no importance matrix (general.type is not `imatrix`)",
        ));
    }
    let mut entries = BTreeMap::new();
    for sums in &checkpoint.tensors {
        let Some(name) = sums.name.strip_suffix(".in_sum2") else { continue };
        let counts = checkpoint.tensor(&format!("{name}.counts"));
        let counts =
            counts.ok_or_else(|| Error::input(path, format!("`{name}` has sums but no counts")))?;
        if counts.elements() != sums.rows() {
            let (found, needed) = (counts.elements(), sums.rows());
            return Err(Error::input(
                path,
                format!("`{name}` has {found} counts where {needed} are needed"),
            ));
        }
        let counts = floats(&checkpoint, counts)?;
        let mut values = floats(&checkpoint, sums)?;
        for (row, count) in values.chunks_mut(sums.cols().max(1)).zip(counts) {
            // An expert that saw no token says nothing about its columns: all weigh the same.
            for sum in row {
                *sum = if count > 0.0 { *sum / count } else { 1.0 };
            }
        }
        entries.insert(name.to_owned(), values);
    }
    let datasets = checkpoint.metadata.strings("imatrix.datasets").unwrap_or_default().to_vec();
    Ok((entries, datasets, checkpoint.metadata.u64("imatrix.chunk_count")))
}

fn floats(checkpoint: &Checkpoint, tensor: &Tensor) -> Result<Vec<f32>> {
    let mut values = vec![0.0; tensor.elements()];
    checkpoint.decode_rows(tensor, 0..tensor.rows(), Tier::detect(), &mut values)?;
    Ok(values)
}

fn from_dat(path: &Path, limits: &Limits) -> Result<Contents> {
    let bytes = fs::read(path).map_err(mdl_formats::Error::io(path, "read"))?;
    let mut rest = Dat { path, bytes: &bytes };
    let count = rest.count("entries", limits.tensors)?;
    let mut entries = BTreeMap::new();
    for index in 0..count {
        let place = format!("entry {index}");
        let len = rest.count(&place, limits.name_bytes)?;
        let name = String::from_utf8(rest.take(len, &place)?.to_vec());
        let name =
            name.map_err(|_| Error::input(path, format!("{place}: its name is not UTF-8")))?;
        let calls = rest.count(&name, u64::MAX)?;
        let len = rest.count(&name, limits.array_len)?;
        let raw = rest.take(len.saturating_mul(4), &name)?;
        let (words, _) = raw.as_chunks::<4>();
        let calls = calls.max(1) as f32;
        entries.insert(name, words.iter().map(|word| f32::from_le_bytes(*word) / calls).collect());
    }
    let chunks = rest.count("last chunk", u64::MAX).ok().map(|chunks| chunks as u64);
    let dataset =
        rest.count("data set", limits.string_bytes).and_then(|len| rest.take(len, "data set"));
    let dataset = dataset.ok().and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned);
    Ok((entries, dataset.into_iter().collect(), chunks))
}

/// What remains of a `.dat` file.
struct Dat<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl<'a> Dat<'a> {
    fn take(&mut self, count: usize, place: &str) -> Result<&'a [u8]> {
        let cut = self.bytes.split_at_checked(count);
        let (taken, rest) = cut.ok_or_else(|| {
            Error::input(
                self.path,
                format!("{place}: {count} bytes are needed, {} remain", self.bytes.len()),
            )
        })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn count(&mut self, place: &str, limit: u64) -> Result<usize> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4, place)?);
        let number = i32::from_le_bytes(word);
        match usize::try_from(number) {
            Ok(number) if number as u64 <= limit => Ok(number),
            _ => Err(Error::input(
                self.path,
                format!("{place}: a count of {number}; not an importance matrix?"),
            )),
        }
    }
}

/// Keys that a file quantized with a matrix carries, as llama-quantize writes them.
pub(crate) fn record(metadata: &mut gguf::Metadata, imatrix: &Imatrix) {
    metadata.set("quantize.imatrix.file", imatrix.name.as_str());
    if let Some(dataset) = imatrix.datasets.first() {
        metadata.set("quantize.imatrix.dataset", dataset.as_str());
    }
    metadata
        .set("quantize.imatrix.entries_count", u32::try_from(imatrix.len()).unwrap_or(u32::MAX));
    if let Some(chunks) = imatrix.chunks {
        metadata.set("quantize.imatrix.chunks_count", u32::try_from(chunks).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mdl_kernels::TensorType;

    fn dat(entries: &[(&str, i32, &[f32])]) -> Vec<u8> {
        let mut bytes = (entries.len() as i32).to_le_bytes().to_vec();
        for (name, calls, values) in entries {
            bytes.extend((name.len() as i32).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(calls.to_le_bytes());
            bytes.extend((values.len() as i32).to_le_bytes());
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        bytes.extend(7_i32.to_le_bytes());
        bytes.extend(9_i32.to_le_bytes());
        bytes.extend(b"/a/wiki.x");
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Imatrix> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.dat");
        fs::write(&path, bytes).unwrap();
        Imatrix::open(&path, &Limits::default())
    }

    #[test]
    fn the_old_form_gives_means_and_no_paths() {
        let imatrix = open(&dat(&[("blk.0.ffn_up.weight", 2, &[4.0, 6.0])])).unwrap();
        let tensor = |cols| Tensor {
            name: "blk.0.ffn_up.weight".into(),
            ty: TensorType::F32,
            shape: vec![cols, 3],
        };
        assert_eq!(imatrix.weights(&tensor(2)).unwrap(), Some(&[2.0, 3.0][..]));
        assert!(imatrix.weights(&tensor(3)).is_err());
        assert_eq!((imatrix.datasets[0].as_str(), imatrix.chunks), ("wiki.x", Some(7)));
    }

    #[test]
    fn every_cut_and_every_bad_value_is_refused() {
        let whole = dat(&[("a", 1, &[1.0, 2.0]), ("b", 1, &[3.0])]);
        // The last 17 bytes (chunk and data set) may be missing, as in files of 2023.
        for len in 0..whole.len() - 17 {
            assert!(open(&whole[..len]).is_err(), "{len}");
        }
        open(&whole[..whole.len() - 17]).unwrap();
        assert!(open(&dat(&[("a", 1, &[f32::NAN])])).is_err());
        assert!(open(&dat(&[("a", 1, &[-1.0])])).is_err());
        assert!(open(&[0xff; 64]).is_err());
    }
}
