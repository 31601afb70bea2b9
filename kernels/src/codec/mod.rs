//! Block codecs: values to blocks and back, one module per family of types.
//!
//! # Contract
//! * [`decode`] turns stored rows into values, equal bit for bit (NaN payloads apart) to ggml's
//!   reference `dequantize_row_*`.
//! * [`encode`] turns rows of values into blocks. What it minimises is Σ w(x − x̂)² over each block;
//!   w is the column's weight or 1.
//! * [`encodable`] says which types have an encoder.
//!
//! All of them work on whole rows, one after the other, in the calling thread: who has several
//! threads cuts a tensor into groups of rows. The bytes depend neither on the tier nor on how rows
//! are grouped into calls.
//!
//! # Adding a type
//! Write a module with a function of type [`DecodeFn`] and, where the type can be written, one of
//! type [`EncodeFn`]; add a row to [`CODECS`].

use crate::{KernelError, TensorType, Tier};

mod affine;
mod grids;
mod groups;
mod iq4_xs;
mod kquant;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
pub(crate) mod lattice;
mod linear;
mod lookup;
mod mxfp4;
mod plain;
mod q8;
mod symmetric;
mod ternary;
mod ternary_encode;
mod tiers;

/// Decodes whole blocks. The two lengths fit each other: [`decode`] has checked them.
pub(crate) type DecodeFn = fn(Tier, &[u8], &mut [f32]);

/// Encodes whole rows. Lengths, finite values and usable weights have been checked by [`encode`].
pub(crate) type EncodeFn = fn(Tier, &Rows<'_>, &mut [u8]);

/// What an encoder is given: rows of whole blocks, all values finite.
pub(crate) struct Rows<'a> {
    /// Values in a row: a multiple of the block length, not 0.
    pub(crate) cols: usize,
    /// Whole rows, one after the other.
    pub(crate) values: &'a [f32],
    /// `cols` weights, finite, none negative, at least one positive.
    pub(crate) weights: Option<&'a [f32]>,
}

/// What the crate can do with one type.
pub(crate) struct Codec {
    ty: TensorType,
    decode: DecodeFn,
    encode: Option<EncodeFn>,
    /// The stored form holds infinities and NaN as they are, so that they are no error.
    any_value: bool,
    /// Encoders are given no magnitude beyond this: it is far out of the reach of the type's scales, so
    /// that the codes do not change, and no sum overflows.
    limit: Option<f32>,
}

impl Codec {
    const fn new(ty: TensorType, decode: DecodeFn, encode: Option<EncodeFn>) -> Self {
        Self { ty, decode, encode, any_value: false, limit: Some(1e12) }
    }

    /// A type whose scales reach as far as F32 does.
    const fn wide(ty: TensorType, decode: DecodeFn, encode: Option<EncodeFn>) -> Self {
        Self { ty, decode, encode, any_value: false, limit: None }
    }

    const fn plain(ty: TensorType, decode: DecodeFn, encode: Option<EncodeFn>) -> Self {
        Self { ty, decode, encode, any_value: true, limit: None }
    }
}

use TensorType as T;

/// Every type that can be decoded, in the order of their numbers.
static CODECS: &[Codec] = &[
    Codec::plain(T::F32, plain::decode_f32, Some(plain::encode_f32)),
    Codec::plain(T::F16, plain::decode_f16, Some(plain::encode_f16)),
    Codec::new(T::Q4_0, linear::decode_q4_0, Some(symmetric::encode_q4_0)),
    Codec::new(T::Q4_1, linear::decode_q4_1, Some(affine::encode_q4_1)),
    Codec::new(T::Q5_0, linear::decode_q5_0, Some(symmetric::encode_q5_0)),
    Codec::new(T::Q5_1, linear::decode_q5_1, Some(affine::encode_q5_1)),
    Codec::new(T::Q8_0, linear::decode_q8_0, Some(q8::encode_q8_0)),
    Codec::new(T::Q2_K, kquant::decode_q2_k, Some(kquant::encode_q2_k)),
    Codec::new(T::Q3_K, kquant::decode_q3_k, Some(kquant::encode_q3_k)),
    Codec::new(T::Q4_K, kquant::decode_q4_k, Some(kquant::encode_q4_k)),
    Codec::new(T::Q5_K, kquant::decode_q5_k, Some(kquant::encode_q5_k)),
    Codec::new(T::Q6_K, kquant::decode_q6_k, Some(kquant::encode_q6_k)),
    Codec::new(T::IQ2_XXS, lattice::decode_iq2_xxs, None),
    Codec::new(T::IQ2_XS, lattice::decode_iq2_xs, None),
    Codec::new(T::IQ3_XXS, lattice::decode_iq3_xxs, None),
    Codec::new(T::IQ1_S, lattice::decode_iq1_s, None),
    Codec::new(T::IQ4_NL, lookup::decode_iq4_nl, Some(symmetric::encode_iq4_nl)),
    Codec::new(T::IQ3_S, lattice::decode_iq3_s, None),
    Codec::new(T::IQ2_S, lattice::decode_iq2_s, None),
    Codec::new(T::IQ4_XS, lookup::decode_iq4_xs, Some(iq4_xs::encode_iq4_xs)),
    Codec::plain(T::I8, plain::decode_i8, None),
    Codec::plain(T::I16, plain::decode_i16, None),
    Codec::plain(T::I32, plain::decode_i32, None),
    Codec::plain(T::I64, plain::decode_i64, None),
    Codec::plain(T::F64, plain::decode_f64, None),
    Codec::new(T::IQ1_M, lattice::decode_iq1_m, None),
    Codec::plain(T::BF16, plain::decode_bf16, Some(plain::encode_bf16)),
    Codec::new(T::TQ1_0, ternary::decode_tq1_0, Some(ternary_encode::encode_tq1_0)),
    Codec::new(T::TQ2_0, ternary::decode_tq2_0, Some(ternary_encode::encode_tq2_0)),
    Codec::wide(T::MXFP4, lookup::decode_mxfp4, Some(mxfp4::encode_mxfp4)),
    Codec::new(T::NVFP4, lookup::decode_nvfp4, None),
    Codec::new(T::Q1_0, linear::decode_q1_0, None),
    Codec::new(T::Q2_0, linear::decode_q2_0, None),
];

fn codec(ty: TensorType) -> Option<&'static Codec> {
    let index = CODECS.binary_search_by_key(&ty.id(), |codec| codec.ty.id()).ok()?;
    CODECS.get(index)
}

/// Decodes whole rows: `bytes` is the stored form, `out` takes the values.
///
/// Equal, bit for bit, to ggml's reference `dequantize_row_*` in every tier. Integers and F64 become
/// the nearest F32.
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
    let codec = codec(ty).ok_or(KernelError::Unsupported { ty, what: "decoded" })?;
    let blocks = bytes.len() / ty.block_bytes();
    if !bytes.len().is_multiple_of(ty.block_bytes()) {
        let expected = blocks * ty.block_bytes();
        return Err(KernelError::Length { what: "stored rows", found: bytes.len(), expected });
    }
    check_length("decoded rows", out.len(), blocks.checked_mul(ty.block_len()))?;
    (codec.decode)(tier, bytes, out);
    Ok(())
}

/// Whether [`encode`] can write this type.
pub fn encodable(ty: TensorType) -> bool {
    codec(ty).is_some_and(|codec| codec.encode.is_some())
}

/// Encodes whole rows of `cols` values each.
///
/// `weights`, `cols` long, says how much an error in each column counts (an imatrix row); without it,
/// or where all are zero, every column counts the same. What is minimised is Σ w(x − x̂)² over each
/// block. The bytes do not depend on the tier.
///
/// Block types hold their scale as F16 (MXFP4 as a power of two): where values are so large that the
/// scale would overflow, it is held at the largest finite one and the values beyond its reach become
/// the largest that it can express. `F32`, `F16` and `BF16` keep infinities and NaN as they are; a
/// finite value that would become infinite is an error.
///
/// # Errors
/// [`KernelError::Columns`] where a row is not whole blocks, [`KernelError::Length`] where a buffer
/// does not fit the shape, [`KernelError::Unsupported`] where [`encodable`] says no,
/// [`KernelError::NotFinite`] where a block type is given an infinity or NaN,
/// [`KernelError::TooLarge`] where a finite value does not fit F16 or BF16, and
/// [`KernelError::Weight`] where a weight is negative or not finite. On error `out` is unspecified.
pub fn encode(
    tier: Tier,
    ty: TensorType,
    cols: usize,
    values: &[f32],
    weights: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), KernelError> {
    let unsupported = KernelError::Unsupported { ty, what: "encoded" };
    let codec = codec(ty).ok_or_else(|| unsupported.clone())?;
    let encode = codec.encode.ok_or(unsupported)?;
    let block = ty.block_len();
    let row_bytes = ty.row_bytes(cols).filter(|_| cols > 0);
    let row_bytes = row_bytes.ok_or(KernelError::Columns { ty, cols, block })?;
    let rows = values.len() / cols;
    check_length("rows to encode", values.len(), rows.checked_mul(cols))?;
    check_length("encoded rows", out.len(), rows.checked_mul(row_bytes))?;
    let weights = usable_weights(cols, weights)?;
    if codec.any_value {
        encode(tier, &Rows { cols, values, weights }, out);
        return check_narrowed(ty, cols, values, out);
    }
    // A few rows at a time, so that values are still in the cache after they were checked.
    let rows = (32 * 1024 / cols).max(1);
    let pieces = values.chunks(rows * cols).zip(out.chunks_mut(rows * row_bytes));
    for (piece, (values, out)) in pieces.enumerate() {
        let mut greatest = 0;
        greatest_bits(tier, values, &mut greatest);
        if greatest >= INFINITY {
            return Err(not_finite(piece * rows, cols, values));
        }
        if codec.limit.is_some_and(|limit| f32::from_bits(greatest) > limit) {
            let limit = codec.limit.unwrap_or(f32::MAX);
            let values: Vec<f32> = values.iter().map(|x| x.clamp(-limit, limit)).collect();
            encode(tier, &Rows { cols, values: &values, weights }, out);
        } else {
            encode(tier, &Rows { cols, values, weights }, out);
        }
    }
    Ok(())
}

fn check_length(
    what: &'static str,
    found: usize,
    expected: Option<usize>,
) -> Result<(), KernelError> {
    let expected = expected.unwrap_or(usize::MAX);
    if found == expected { Ok(()) } else { Err(KernelError::Length { what, found, expected }) }
}

/// The weights, or none where they say nothing (all zero).
fn usable_weights(cols: usize, weights: Option<&[f32]>) -> Result<Option<&[f32]>, KernelError> {
    let Some(weights) = weights else { return Ok(None) };
    check_length("column weights", weights.len(), Some(cols))?;
    if let Some(col) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(KernelError::Weight { col });
    }
    Ok(weights.iter().any(|w| *w > 0.0).then_some(weights))
}

/// Bits of infinity: greater magnitudes are NaN.
const INFINITY: u32 = 0x7f80_0000;

tiers::per_tier! {
    /// The bits of the greatest magnitude: where there is an infinity or NaN, no less than
    /// [`INFINITY`].
    fn greatest_bits(values: &[f32], found: &mut u32) = greatest
}

#[inline(always)]
fn greatest(values: &[f32], found: &mut u32) {
    *found = values.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
}

/// Where the first value is that is not finite: its row counts from `first`.
fn not_finite(first: usize, cols: usize, values: &[f32]) -> KernelError {
    let at = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
    KernelError::NotFinite { row: first + at / cols, col: at % cols }
}

/// Finds finite values that became infinite in F16 or BF16.
fn check_narrowed(
    ty: TensorType,
    cols: usize,
    values: &[f32],
    out: &[u8],
) -> Result<(), KernelError> {
    let exponent: u16 = match ty {
        T::F16 => 0x7c00,
        T::BF16 => 0x7f80,
        _ => return Ok(()),
    };
    let rows = values.chunks_exact(cols).zip(out.chunks_exact(2 * cols));
    for (row, (values, out)) in rows.enumerate() {
        let stored = || out.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        // Whole rows without an early end: this is a vector instruction or two per register.
        let largest = stored().fold(0, |largest, bits| largest.max(bits & exponent));
        if largest != exponent {
            continue;
        }
        let overflowed = |(x, bits): (&f32, u16)| x.is_finite() && bits & exponent == exponent;
        if let Some(col) = values.iter().zip(stored()).position(overflowed) {
            return Err(KernelError::TooLarge { ty, row, col });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted() {
        assert!(CODECS.is_sorted_by_key(|codec| codec.ty.id()));
    }

    #[test]
    fn shapes_are_checked() {
        let tier = Tier::PORTABLE;
        let mut out = [0.0; 4];
        assert!(matches!(
            decode(tier, T::F16, &[0; 7], &mut out),
            Err(KernelError::Length { what: "stored rows", .. })
        ));
        assert!(matches!(
            decode(tier, T::F16, &[0; 6], &mut out),
            Err(KernelError::Length { what: "decoded rows", found: 4, expected: 3 })
        ));
        assert!(matches!(
            decode(tier, T::Q8_1, &[], &mut []),
            Err(KernelError::Unsupported { .. })
        ));
        let mut bytes = [0u8; 16];
        let values = [1.0f32; 8];
        let encode = |cols, weights: Option<&[f32]>, bytes: &mut [u8]| {
            super::encode(tier, T::F16, cols, &values, weights, bytes)
        };
        assert!(matches!(encode(0, None, &mut bytes), Err(KernelError::Columns { .. })));
        assert!(matches!(encode(3, None, &mut bytes), Err(KernelError::Length { .. })));
        assert!(matches!(encode(4, None, &mut bytes[1..]), Err(KernelError::Length { .. })));
        assert!(matches!(encode(4, Some(&[1.0]), &mut bytes), Err(KernelError::Length { .. })));
        let negative = [1.0, 1.0, -1.0, 1.0];
        assert_eq!(encode(4, Some(&negative), &mut bytes), Err(KernelError::Weight { col: 2 }));
        assert_eq!(encode(4, None, &mut bytes), Ok(()));
    }

    #[test]
    fn overflow_is_found_and_infinity_kept() {
        let mut bytes = [0u8; 8];
        let values = [1.0, f32::INFINITY, f32::NAN, 65520.0];
        for tier in Tier::available() {
            assert_eq!(
                encode(tier, T::F16, 2, &values, None, &mut bytes),
                Err(KernelError::TooLarge { ty: T::F16, row: 1, col: 1 })
            );
            assert_eq!(encode(tier, T::F16, 3, &values[..3], None, &mut bytes[..6]), Ok(()));
            assert_eq!(bytes[2..4], [0x00, 0x7c]);
        }
    }
}
