//! One package as other protocols see it: small documents over the same blobs.

pub mod hf;
pub mod ollama;
