//! Schemes, recipes, importance matrices, the quantizing pipeline and evaluation.
#![forbid(unsafe_code)]

mod error;
pub mod eval;
mod imatrix;
pub mod pipeline;
mod plan;
mod recipe;
pub mod scheme;

pub use error::{Error, Result};
pub use imatrix::Imatrix;
pub use plan::{Override, Plan, PlannedTensor, Request};
pub use recipe::{Method, Origin, Recipe, Step};
pub use scheme::{Scheme, SchemeError};
