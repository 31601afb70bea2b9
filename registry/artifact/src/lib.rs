//! What a packaged model is: references, manifests, facts, and views over one set of blobs. No network.
//!
//! [`pack::Plan`] describes files as a ModelPack manifest; [`Package`] reads what any of the known tools wrote;
//! [`Facts`] say what a model is; [`views`] show one package to clients of other protocols.
#![forbid(unsafe_code)]

pub mod attest;
pub mod bundle;
mod error;
pub mod facts;
pub mod keys;
mod license;
mod limits;
pub mod media;
mod name;
mod origins;
pub mod pack;
mod package;
mod pattern;
mod reference;
pub mod signing;
pub mod trust;
pub mod views;

pub use error::{Error, Result};
pub use facts::{Evaluation, Facts, Spread, TypeShare};
pub use limits::Limits;
pub use name::{check_names, safe_name};
pub use origins::Origins;
pub use package::{
    CONFIG_BYTES, Layer, LayerKind, Package, PackageFile, PackageKind, stored_document,
};
pub use pattern::Pattern;
pub use reference::ModelRef;
