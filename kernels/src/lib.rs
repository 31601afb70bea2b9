//! SIMD kernels: block codecs, dot products, matrix products and the element-wise operations of a
//! transformer, each in a portable form and in the forms of the instruction sets we detect.
//!
//! Everything here works on slices that the caller owns. There is no file, no model and no name
//! of a tensor in this crate.
//!
//! # Reproducible arithmetic
//! Every tier gives the same bytes. Each reduction therefore has one order, written down where it
//! is defined as a number of virtual lanes and a fold order, which every tier follows. Encoding and
//! decoding use no fused multiply-add; float dot products use it in every tier.

pub mod codec;
mod compute;
pub mod matrix;
pub mod ops;
mod parts;
mod team;
mod tensor_type;
mod tier;

pub use compute::Compute;
pub use tensor_type::TensorType;
pub use tier::Tier;

/// What a kernel refuses before it touches any data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A row does not consist of whole blocks.
    #[error("rows of {cols} values do not divide into {ty} blocks of {block}")]
    Columns {
        /// The type asked for.
        ty: TensorType,
        /// Values in a row.
        cols: usize,
        /// Values in a block of that type.
        block: usize,
    },
    /// A buffer has another length than the shape says.
    #[error("{what} holds {found} where {expected} are needed")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that the shape asks for.
        expected: usize,
    },
    /// No encoder (or decoder) exists for the type.
    #[error("{ty} cannot be {what}")]
    Unsupported {
        /// The type asked for.
        ty: TensorType,
        /// What was asked for: `encoded`, `decoded`.
        what: &'static str,
    },
    /// A block type was given an infinity or NaN.
    #[error("the value in row {row}, column {col} is not finite")]
    NotFinite {
        /// Its row, from 0, in the rows of this call.
        row: usize,
        /// Its column, from 0.
        col: usize,
    },
    /// A finite value would become infinite.
    #[error("the value in row {row}, column {col} is too large for {ty}")]
    TooLarge {
        /// The type asked for.
        ty: TensorType,
        /// Its row, from 0, in the rows of this call.
        row: usize,
        /// Its column, from 0.
        col: usize,
    },
    /// A column weight is negative or not finite.
    #[error("the weight of column {col} is negative or not finite")]
    Weight {
        /// Its column, from 0.
        col: usize,
    },
}
