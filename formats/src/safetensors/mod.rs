//! safetensors: a JSON header with names, types, shapes and offsets, then the tensors' bytes.
//!
//! Source: the format description of the `safetensors` crate, whose validation follows our own checks of
//! length, depth and duplicate keys.

mod read;
mod write;

pub use read::{RawTensor, RawTensors, open, open_folder};
pub use write::{Layout, index};
