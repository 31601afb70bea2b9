//! The one shape that every reader gives and every writer takes.
//!
//! A checkpoint looks like a GGUF file that may not exist: its metadata are GGUF keys
//! (`general.architecture`, `llama.block_count`, `tokenizer.ggml.tokens` …), its tensors carry GGUF
//! names (`blk.0.attn_q.weight`) and stand in GGUF layout (query and key rows permuted where the
//! family has them so, `norm + 1` applied). A Hugging Face folder becomes one through its family,
//! which computes rows on demand; nothing is expanded up front.

use std::{
    ops::{Deref, Range},
    path::{Path, PathBuf},
};

use mdl_kernels::{TensorType, Tier};

use crate::{Limits, Result, gguf::Metadata};

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
}

/// A tensor's stored bytes: a piece of a mapped file, or made for the purpose.
#[derive(Debug, Clone)]
pub struct TensorBytes(std::sync::Arc<[u8]>);

impl Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Checkpoint {
    /// Opens a Hugging Face folder, a bare safetensors file, a GGUF file or the first file of a
    /// split one. Reads headers only; weights are mapped.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let _ = limits;
        Err(crate::Error::unsupported(path, "unknown format", ""))
    }

    /// Decodes rows `rows` of the tensor to `out` (`rows.len() * tensor.cols()` values).
    pub fn decode_rows(
        &self,
        tensor: &Tensor,
        rows: Range<usize>,
        tier: Tier,
        out: &mut [f32],
    ) -> Result<()> {
        let _ = (tensor, rows, tier, out);
        Err(crate::Error::unsupported(Path::new(""), "nothing opened", ""))
    }

    /// The tensor's stored bytes in `tensor.ty`, all rows: borrowed from the mapping where the layout
    /// is the file's own, else built (permuted rows, `norm + 1`, stacked parts).
    pub fn bytes(&self, tensor: &Tensor) -> Result<TensorBytes> {
        let _ = tensor;
        Err(crate::Error::unsupported(Path::new(""), "nothing opened", ""))
    }

    /// As [`Self::bytes`], for a range of rows, without holding more than those.
    pub fn bytes_rows(&self, tensor: &Tensor, rows: Range<usize>) -> Result<TensorBytes> {
        let _ = (tensor, rows);
        Err(crate::Error::unsupported(Path::new(""), "nothing opened", ""))
    }

    /// Tells the system that the pages behind these rows are not needed again (drops them from this
    /// process's resident set). A hint: never fails.
    pub fn release_rows(&self, tensor: &Tensor, rows: Range<usize>) {
        let _ = (tensor, rows);
    }

    /// The tensor of that GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> Option<&str> {
        self.metadata.str("general.architecture")
    }
}
