//! The Hugging Face Hub's addresses for downloading.

pub(crate) mod address;
pub(crate) mod revision;
