//! One file per command.

pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod model;
pub(crate) mod quantize;
pub(crate) mod run;
pub(crate) mod write;
