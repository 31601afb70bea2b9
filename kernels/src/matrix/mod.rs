//! Products of a stored weight matrix with activations.

mod float;
mod q8;

use crate::{Compute, KernelError, TensorType};

/// A weight matrix as it is stored: `rows` rows of `cols` values in `ty`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    ty: TensorType,
    rows: usize,
    cols: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// A matrix over stored bytes.
    ///
    /// # Errors
    /// [`KernelError::Columns`] or [`KernelError::Length`] where shape and bytes disagree.
    pub fn new(
        ty: TensorType,
        rows: usize,
        cols: usize,
        bytes: &'a [u8],
    ) -> Result<Self, KernelError> {
        let row =
            ty.row_bytes(cols).ok_or(KernelError::Columns { ty, cols, block: ty.block_len() })?;
        if row.checked_mul(rows) != Some(bytes.len()) {
            return Err(KernelError::Length {
                what: "matrix",
                found: bytes.len(),
                expected: row.saturating_mul(rows),
            });
        }
        Ok(Self { ty, rows, cols, bytes })
    }

    /// How the values are stored.
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// In what precision activations enter a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As they are: the product then shows the weights' error alone.
    F32,
    /// As llama.cpp's CPU path takes them: quantized to `Q8_0`, `Q8_1` or `Q8_K` blocks, or rounded to
    /// F16 or BF16, whichever goes with the weights' type.
    Q8,
}

/// Activations of one or more tokens, kept in every form that the products ask for. Made once and
/// refilled, so that nothing is allocated per token.
#[derive(Debug)]
pub struct Activations {
    precision: Precision,
    cols: usize,
    values: Vec<f32>,
    quantized: q8::Quantized,
    floats: float::Floats,
}

impl Activations {
    /// An empty buffer.
    pub fn new(precision: Precision) -> Self {
        Self {
            precision,
            cols: 0,
            values: Vec::new(),
            quantized: q8::Quantized::default(),
            floats: float::Floats::default(),
        }
    }

    /// Takes `x`, `tokens` rows of `cols` values, and forgets what was there.
    pub fn load(&mut self, x: &[f32], cols: usize) {
        self.cols = cols;
        self.values.clear();
        self.quantized.clear();
        self.floats.clear();
        self.values.extend_from_slice(x);
    }

    /// Rows held.
    pub fn tokens(&self) -> usize {
        self.values.len().checked_div(self.cols).unwrap_or(0)
    }
}

/// `out[t][r] = Σ_c w[r][c] · x[t][c]`: `out` holds `tokens` rows of `w.rows()` values.
///
/// The result for a token depends neither on how many others are with it, nor on threads or tier.
///
/// # Errors
/// [`KernelError::Length`] where the shapes do not meet, [`KernelError::Unsupported`] for types
/// that cannot be decoded.
pub fn matmul(
    compute: &Compute,
    w: &Matrix<'_>,
    x: &mut Activations,
    out: &mut [f32],
) -> Result<(), KernelError> {
    if x.precision == Precision::Q8 && q8::takes(w.ty()) {
        return q8::matmul(compute, w, &x.values, &mut x.quantized, out);
    }
    float::matmul(compute, w, x, out)
}
