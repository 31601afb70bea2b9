//! Values of a folder's tensor in GGUF's layout: rows in another order, one added, vectors as F32.

use std::{ops::Range, path::Path};

use mdl_kernels::{TensorType, Tier};

use crate::{MappedTensor, Result, Tensor, TensorBytes, TensorSource, family::Transform};

/// A tensor whose stored bytes are not the folder's.
#[derive(Debug)]
pub(crate) struct Changed {
    /// As the folder has it.
    pub(crate) raw: Tensor,
    pub(crate) source: MappedTensor,
    /// The type it gets: the folder's, or F32, which every transformed vector has.
    pub(crate) ty: TensorType,
    pub(crate) transform: Transform,
}

impl Changed {
    /// Decodes rows in the order asked for; a vector's own values are put in order too.
    fn decode(&self, rows: Range<usize>, tier: Tier, out: &mut [f32]) -> Result<()> {
        let cols = self.raw.cols();
        if !matches!(self.transform, Transform::Heads { .. }) {
            self.source.decode_rows(rows, tier, out)?;
        } else if self.raw.shape.len() <= 1 {
            let mut values = vec![0.0; cols];
            self.source.decode_rows(rows, tier, &mut values)?;
            for (index, value) in out.iter_mut().enumerate() {
                let from = self.transform.source_row(index, cols);
                *value = values.get(from).copied().unwrap_or_default();
            }
        } else {
            for (row, values) in rows.zip(out.chunks_exact_mut(cols)) {
                let from = self.transform.source_row(row, self.raw.rows());
                self.source.decode_rows(from..from + 1, tier, values)?;
            }
        }
        if self.transform == Transform::PlusOne {
            for value in out {
                *value += 1.0;
            }
        }
        Ok(())
    }

    /// Whether rows can be handed over as they are stored, if in another order.
    fn keeps_bytes(&self) -> bool {
        self.ty == self.raw.ty && self.raw.shape.len() > 1 && self.transform != Transform::PlusOne
    }
}

impl TensorSource for Changed {
    fn decode_rows(&self, rows: Range<usize>, tier: Tier, out: &mut [f32]) -> Result<()> {
        self.decode(rows, tier, out)
    }

    fn bytes_rows(&self, rows: Range<usize>) -> Result<TensorBytes> {
        if !self.keeps_bytes() {
            let mut values = vec![0.0; rows.len() * self.raw.cols()];
            self.decode(rows, Tier::detect(), &mut values)?;
            return Ok(bytes_of(&values));
        }
        let row_bytes = self.ty.row_bytes(self.raw.cols()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(rows.len() * row_bytes);
        for row in rows {
            let from = self.transform.source_row(row, self.raw.rows());
            bytes.extend_from_slice(&self.source.bytes_rows(from..from + 1)?);
        }
        Ok(TensorBytes::owned(bytes))
    }

    fn release_rows(&self, rows: Range<usize>) {
        let whole = match self.transform {
            Transform::Heads { count } => {
                // A head whose rows are not all done stays: the next slab releases it.
                let head = (self.raw.rows() / count.max(1)).max(1);
                rows.start / head * head..rows.end / head * head
            }
            Transform::None | Transform::PlusOne => rows,
        };
        if !whole.is_empty() {
            self.source.release_rows(whole);
        }
    }

    fn path(&self) -> Option<&Path> {
        self.source.path()
    }
}

/// A vector computed from the configuration.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) values: Vec<f32>,
}

impl TensorSource for Made {
    fn decode_rows(&self, _rows: Range<usize>, _tier: Tier, out: &mut [f32]) -> Result<()> {
        for (slot, value) in out.iter_mut().zip(&self.values) {
            *slot = *value;
        }
        Ok(())
    }

    fn bytes_rows(&self, rows: Range<usize>) -> Result<TensorBytes> {
        let values = if rows.is_empty() { &[][..] } else { &self.values[..] };
        Ok(bytes_of(values))
    }

    fn release_rows(&self, _rows: Range<usize>) {}
}

/// The bytes of F32 values.
fn bytes_of(values: &[f32]) -> TensorBytes {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorBytes::owned(bytes)
}
