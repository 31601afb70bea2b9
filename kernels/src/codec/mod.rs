//! Block codecs: values to blocks and back, one module per family of types.

use crate::{KernelError, TensorType, Tier};

/// Decodes whole rows: `bytes` is the stored form, `out` takes the values.
///
/// Equal, bit for bit, to ggml's reference `dequantize_row_*` in every tier.
///
/// # Errors
/// [`KernelError::Length`] where `out` is not exactly as long as `bytes` says, and
/// [`KernelError::Unsupported`] for types that are never stored in files (`Q8_1`, `Q8_K`).
pub fn decode(
    tier: Tier,
    ty: TensorType,
    bytes: &[u8],
    out: &mut [f32],
) -> Result<(), KernelError> {
    let _ = (tier, bytes, out);
    Err(KernelError::Unsupported { ty, what: "decoded" })
}

/// Whether [`encode`] can write this type.
pub fn encodable(ty: TensorType) -> bool {
    let _ = ty;
    false
}

/// Encodes whole rows of `cols` values each.
///
/// `weights`, `cols` long, says how much an error in each column counts (an imatrix row); without it
/// every column counts the same. What is minimised is Σ w(x − x̂)² over each block. The bytes do not
/// depend on the tier.
///
/// # Errors
/// [`KernelError::Columns`] where a row is not whole blocks, [`KernelError::Length`] where a buffer
/// does not fit the shape, [`KernelError::Unsupported`] where [`encodable`] says no.
pub fn encode(
    tier: Tier,
    ty: TensorType,
    cols: usize,
    values: &[f32],
    weights: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), KernelError> {
    let _ = (tier, cols, values, weights, out);
    Err(KernelError::Unsupported { ty, what: "encoded" })
}
