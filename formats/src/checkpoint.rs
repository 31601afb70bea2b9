//! The one shape that every reader gives and every writer takes.
//!
//! A checkpoint looks like a GGUF file that may not exist: its metadata are GGUF keys
//! (`general.architecture`, `llama.block_count`, `tokenizer.ggml.tokens` …), its tensors carry GGUF
//! names (`blk.0.attn_q.weight`) and stand in GGUF layout (query and key rows permuted where the
//! family has them so, `norm + 1` applied). A Hugging Face folder becomes one through its family,
//! which computes rows on demand; nothing is expanded up front.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use mdl_kernels::{TensorType, Tier, codec};

use crate::{Error, Limits, Mapping, Result, gguf, gguf::Metadata};

/// A model, wherever it comes from.
#[derive(Debug)]
pub struct Checkpoint {
    /// GGUF keys, in the order in which they are written.
    pub metadata: Metadata,
    /// The tensors, in the order in which they are written.
    pub tensors: Vec<Tensor>,
    /// What the model asks for that GGUF readers are known to ignore, in sentences for the user.
    pub notes: Vec<String>,
    /// The files it was read from, those with weights first.
    pub sources: Vec<PathBuf>,
    /// What was opened, for messages.
    path: PathBuf,
    /// Where each tensor's values come from, by GGUF name.
    stored: BTreeMap<String, Box<dyn TensorSource>>,
}

/// A tensor's description; its values are read through the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// GGUF name.
    pub name: String,
    /// How the values are stored, after the family's transformation.
    pub ty: TensorType,
    /// Dimensions as GGUF lists them: the row length first.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Values in a row: the first dimension.
    pub fn cols(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Rows: the product of all further dimensions.
    pub fn rows(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Values in all.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in all, as stored. The reader has checked that this does not overflow.
    pub fn bytes(&self) -> usize {
        self.ty.row_bytes(self.cols()).unwrap_or(0) * self.rows()
    }

    /// Bytes in all; the problem in words where the shape is empty, too large, or not whole blocks.
    pub fn checked_bytes(&self) -> Result<usize, String> {
        let elements =
            self.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let Some(elements) = elements.filter(|elements| *elements > 0) else {
            return Err(format!("its dimensions {:?} are empty or overflow", self.shape));
        };
        let Some(row) = self.ty.row_bytes(self.cols()) else {
            let (cols, block) = (self.cols(), self.ty.block_len());
            return Err(format!(
                "rows of {cols} values do not divide into {} blocks of {block}",
                self.ty
            ));
        };
        let bytes = row.checked_mul(elements / self.cols());
        bytes.ok_or_else(|| format!("its dimensions {:?} overflow", self.shape))
    }
}

/// Where a tensor's values come from. Row ranges are within the tensor: the checkpoint has checked them.
pub trait TensorSource: fmt::Debug + Send + Sync {
    /// Decodes rows to `out`, which holds exactly as many values.
    fn decode_rows(&self, rows: Range<usize>, tier: Tier, out: &mut [f32]) -> Result<()>;

    /// The rows' stored bytes in the tensor's type.
    fn bytes_rows(&self, rows: Range<usize>) -> Result<TensorBytes>;

    /// Tells the system that the pages behind these rows are not needed again.
    fn release_rows(&self, rows: Range<usize>);

    /// The file that holds the values; none where they are made.
    fn path(&self) -> Option<&Path> {
        None
    }
}

/// A tensor's stored bytes: a piece of a mapped file, or made for the purpose.
#[derive(Debug, Clone)]
pub struct TensorBytes(Bytes);

#[derive(Debug, Clone)]
enum Bytes {
    Mapped { mapping: Mapping, range: Range<usize> },
    Owned(Arc<[u8]>),
}

impl TensorBytes {
    /// A piece of a mapped file. An empty slice where the range is not inside it.
    pub fn mapped(mapping: Mapping, range: Range<usize>) -> Self {
        Self(Bytes::Mapped { mapping, range })
    }

    /// Bytes made for the purpose.
    pub fn owned(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(Bytes::Owned(bytes.into()))
    }
}

impl Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped { mapping, range } => mapping.get(range.clone()).unwrap_or_default(),
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// A tensor that stands in a mapped file as it is.
#[derive(Debug, Clone)]
pub struct MappedTensor {
    tensor: Tensor,
    mapping: Mapping,
    range: Range<usize>,
}

impl MappedTensor {
    /// The tensor whose bytes are `range` of `mapping`.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the range is not inside the file or has not the tensor's length.
    pub fn new(tensor: Tensor, mapping: Mapping, range: Range<usize>) -> Result<Self> {
        let bad = |problem| {
            Error::malformed(mapping.path(), format!("tensor `{}`", tensor.name), problem)
        };
        let bytes = tensor.checked_bytes().map_err(bad)?;
        if mapping.get(range.clone()).is_none_or(|found| found.len() != bytes) {
            return Err(bad(format!("bytes {range:?} are not the {bytes} bytes of its shape")));
        }
        Ok(Self { tensor, mapping, range })
    }

    fn range_of(&self, rows: &Range<usize>) -> Range<usize> {
        let row = self.tensor.ty.row_bytes(self.tensor.cols()).unwrap_or(0);
        self.range.start + rows.start * row..self.range.start + rows.end * row
    }
}

impl TensorSource for MappedTensor {
    fn decode_rows(&self, rows: Range<usize>, tier: Tier, out: &mut [f32]) -> Result<()> {
        let bytes = self.mapping.get(self.range_of(&rows)).unwrap_or_default();
        codec::decode(tier, self.tensor.ty, bytes, out).map_err(|error| {
            Error::malformed(
                self.mapping.path(),
                format!("tensor `{}`", self.tensor.name),
                error.to_string(),
            )
        })
    }

    fn bytes_rows(&self, rows: Range<usize>) -> Result<TensorBytes> {
        Ok(TensorBytes::mapped(self.mapping.clone(), self.range_of(&rows)))
    }

    fn release_rows(&self, rows: Range<usize>) {
        self.mapping.release(self.range_of(&rows));
    }

    fn path(&self) -> Option<&Path> {
        Some(self.mapping.path())
    }
}

impl Checkpoint {
    /// Opens a Hugging Face folder, a bare safetensors file, a GGUF file or any part of a
    /// split one. Reads headers only; weights are mapped.
    ///
    /// # Errors
    /// [`Error`] naming the file, the place and what to do.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        crate::open::open(path, limits)
    }

    /// A checkpoint of tensors with their sources, in writing order.
    ///
    /// # Errors
    /// [`Error::Malformed`] where two tensors share a name.
    pub fn new(
        path: &Path,
        metadata: Metadata,
        tensors: Vec<(Tensor, Box<dyn TensorSource>)>,
        sources: Vec<PathBuf>,
    ) -> Result<Self> {
        let mut list = Vec::with_capacity(tensors.len());
        let mut stored = BTreeMap::new();
        for (tensor, source) in tensors {
            if stored.insert(tensor.name.clone(), source).is_some() {
                let place = format!("tensor `{}`", tensor.name);
                return Err(Error::malformed(
                    path,
                    place,
                    "a tensor of this name stands there twice",
                ));
            }
            list.push(tensor);
        }
        let path = path.to_owned();
        Ok(Self { metadata, tensors: list, notes: Vec::new(), sources, path, stored })
    }

    /// A checkpoint over opened GGUF files, the parts of one model.
    pub(crate) fn from_gguf(path: &Path, parts: Vec<gguf::Gguf>) -> Result<Self> {
        let mut metadata = parts.first().map(|part| part.metadata.clone()).unwrap_or_default();
        for key in gguf::SPLIT_KEYS {
            metadata.remove(key);
        }
        let mut tensors: Vec<(Tensor, Box<dyn TensorSource>)> = Vec::new();
        let mut sources = BTreeSet::new();
        for part in parts {
            sources.insert(part.mapping.path().to_owned());
            for (tensor, range) in part.tensors {
                let source = MappedTensor::new(tensor.clone(), part.mapping.clone(), range)?;
                tensors.push((tensor, Box::new(source)));
            }
        }
        Self::new(path, metadata, tensors, sources.into_iter().collect())
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds a tensor's values, for messages; what was opened, where they are made.
    pub fn path_of(&self, tensor: &Tensor) -> &Path {
        let source = self.stored.get(&tensor.name);
        source.and_then(|source| source.path()).unwrap_or(&self.path)
    }

    /// Decodes rows `rows` of the tensor to `out` (`rows.len() * tensor.cols()` values).
    ///
    /// # Errors
    /// [`Error::Malformed`] where the rows are not the tensor's or `out` has another length.
    pub fn decode_rows(
        &self,
        tensor: &Tensor,
        rows: Range<usize>,
        tier: Tier,
        out: &mut [f32],
    ) -> Result<()> {
        let source = self.source(tensor, &rows)?;
        if rows.len().checked_mul(tensor.cols()) != Some(out.len()) {
            return Err(
                self.bad(tensor, format!("{} values are no {} rows", out.len(), rows.len()))
            );
        }
        source.decode_rows(rows, tier, out)
    }

    /// The tensor's stored bytes in `tensor.ty`, all rows: borrowed from the mapping where the layout
    /// is the file's own, else built (permuted rows, `norm + 1`, stacked parts).
    ///
    /// # Errors
    /// As [`Self::bytes_rows`].
    pub fn bytes(&self, tensor: &Tensor) -> Result<TensorBytes> {
        self.bytes_rows(tensor, 0..tensor.rows())
    }

    /// As [`Self::bytes`], for a range of rows, without holding more than those.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the rows are not the tensor's.
    pub fn bytes_rows(&self, tensor: &Tensor, rows: Range<usize>) -> Result<TensorBytes> {
        self.source(tensor, &rows)?.bytes_rows(rows)
    }

    /// Tells the system that the pages behind these rows are not needed again (drops them from this
    /// process's resident set). A hint: never fails.
    pub fn release_rows(&self, tensor: &Tensor, rows: Range<usize>) {
        if let Ok(source) = self.source(tensor, &rows) {
            source.release_rows(rows);
        }
    }

    /// The tensor of that GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> Option<&str> {
        self.metadata.str("general.architecture")
    }

    fn source(&self, tensor: &Tensor, rows: &Range<usize>) -> Result<&dyn TensorSource> {
        if rows.start > rows.end || rows.end > tensor.rows() {
            return Err(self.bad(tensor, format!("has {} rows, not {rows:?}", tensor.rows())));
        }
        let source = self
            .stored
            .get(&tensor.name)
            .ok_or_else(|| self.bad(tensor, "is not in this model"))?;
        Ok(source.as_ref())
    }

    fn bad(&self, tensor: &Tensor, problem: impl Into<String>) -> Error {
        Error::malformed(&self.path, format!("tensor `{}`", tensor.name), problem)
    }
}
