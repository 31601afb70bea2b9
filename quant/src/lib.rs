//! Schemes, recipes, importance matrices, the quantizing pipeline and evaluation.
#![forbid(unsafe_code)]

pub mod scheme;

pub use scheme::{Scheme, SchemeError};
