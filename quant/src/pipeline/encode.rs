//! One slab: some rows of one tensor, decoded, encoded and hashed.

use std::ops::Range;

use mdl_formats::{Checkpoint, Tensor, gguf::Layout};
use mdl_kernels::{KernelError, Tier, codec};
use sha2::{Digest, Sha256};

use super::finite::first_not_finite;
use crate::{Error, Imatrix, Method, Plan, PlannedTensor, Result};

/// Values of a slab, about: 4 MiB in F32 leave the caches to the kernels and make the journal short.
const SLAB_VALUES: usize = 1 << 20;

/// Some rows of one tensor, and where their bytes go.
#[derive(Debug, Clone)]
pub(super) struct Slab {
    pub(super) name: String,
    source: Tensor,
    planned: PlannedTensor,
    rows: Range<usize>,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: usize,
}

/// A slab's bytes, ready to be written.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: [u8; 32],
}

/// What a worker keeps from slab to slab.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    values: Vec<f32>,
}

/// Every slab of the file, in the order of their offsets.
pub(super) fn slabs(checkpoint: &Checkpoint, plan: &Plan, layout: &Layout) -> Result<Vec<Slab>> {
    let mut all = Vec::new();
    for (index, start) in &layout.tensors {
        let Some(planned) = plan.tensors.get(*index) else { continue };
        let name = &planned.tensor.name;
        let source = checkpoint.tensor(name);
        let source =
            source.ok_or_else(|| Error::refused(format!("`{name}` is not in the source"), ""))?;
        let (cols, rows) = (source.cols(), source.rows());
        let row_bytes = planned.tensor.ty.row_bytes(cols).unwrap_or(0);
        let step = (SLAB_VALUES / cols.max(1)).max(1);
        for first in (0..rows).step_by(step) {
            let rows = first..rows.min(first + step);
            all.push(Slab {
                name: name.clone(),
                source: source.clone(),
                planned: planned.clone(),
                offset: start + (first * row_bytes) as u64,
                len: rows.len() * row_bytes,
                rows,
            });
        }
    }
    Ok(all)
}

/// What all slabs share.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) imatrix: Option<&'a Imatrix>,
    pub(super) tier: Tier,
}

impl Job<'_> {
    pub(super) fn encode(&self, slab: &Slab, buffers: &mut Buffers) -> Result<Encoded> {
        let bytes = match slab.planned.method {
            Method::Copy => self.checkpoint.bytes_rows(&slab.source, slab.rows.clone())?.to_vec(),
            Method::Round | Method::Search | Method::Weighted => {
                self.encode_rows(slab, &mut buffers.values)?
            }
        };
        // Encoders of blocks have refused what is not finite.
        if matches!(slab.planned.method, Method::Copy | Method::Round) {
            self.check_finite(slab, &bytes, &mut buffers.values)?;
        }
        self.checkpoint.release_rows(&slab.source, slab.rows.clone());
        let sha256 = Sha256::digest(&bytes).into();
        Ok(Encoded { bytes, sha256 })
    }

    fn encode_rows(&self, slab: &Slab, values: &mut Vec<f32>) -> Result<Vec<u8>> {
        let cols = slab.source.cols();
        values.resize(slab.rows.len() * cols, 0.0);
        self.checkpoint.decode_rows(&slab.source, slab.rows.clone(), self.tier, values)?;
        let mut bytes = vec![0; slab.len];
        let row_bytes = slab.len / slab.rows.len().max(1);
        let mut first = slab.rows.start;
        // With stacked experts the weights change between one expert's rows and the next's.
        while first < slab.rows.end {
            let (weights, last) = self.weights(slab, first)?;
            let part = first - slab.rows.start..last - slab.rows.start;
            let input = values.get(part.start * cols..part.end * cols).unwrap_or_default();
            let output =
                bytes.get_mut(part.start * row_bytes..part.end * row_bytes).unwrap_or_default();
            codec::encode(self.tier, slab.planned.tensor.ty, cols, input, weights, output)
                .map_err(|error| self.explain(slab, first, &error))?;
            first = last;
        }
        Ok(bytes)
    }

    /// The column weights of row `first`, and the first row after it that has others.
    fn weights(&self, slab: &Slab, first: usize) -> Result<(Option<&[f32]>, usize)> {
        let end = slab.rows.end;
        let (Method::Weighted, Some(imatrix)) = (slab.planned.method, self.imatrix) else {
            return Ok((None, end));
        };
        let Some(weights) = imatrix.weights(&slab.source)? else { return Ok((None, end)) };
        let per_expert = slab.source.shape.get(1).copied().unwrap_or(1).max(1);
        let expert = first / per_expert;
        let cols = slab.source.cols();
        Ok((weights.get(expert * cols..(expert + 1) * cols), end.min((expert + 1) * per_expert)))
    }

    fn check_finite(&self, slab: &Slab, bytes: &[u8], values: &mut Vec<f32>) -> Result<()> {
        let first = first_not_finite(self.tier, slab.planned.tensor.ty, bytes, values)
            .map_err(|error| self.explain(slab, 0, &error))?;
        let Some(index) = first else { return Ok(()) };
        let cols = slab.source.cols().max(1);
        let error = KernelError::NotFinite { row: index / cols, col: index % cols };
        Err(self.explain(slab, slab.rows.start, &error))
    }

    fn explain(&self, slab: &Slab, first: usize, error: &KernelError) -> Error {
        let value = |row, col| format!("tensor `{}`, row {}, column {col}", slab.name, first + row);
        let (place, problem) = match error {
            KernelError::NotFinite { row, col } => (value(row, col), "NaN or infinite".to_owned()),
            KernelError::TooLarge { ty, row, col } => {
                (value(row, col), format!("too large for {ty}"))
            }
            _ => (format!("tensor `{}`, rows {:?}", slab.name, slab.rows), error.to_string()),
        };
        mdl_formats::Error::malformed(self.checkpoint.path_of(&slab.source), place, problem).into()
    }
}
