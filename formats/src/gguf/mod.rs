//! GGUF: reading (v2 and v3, single and split) and writing (v3, single and split).
//!
//! Source: `docs/gguf.md` of ggml and llama.cpp's reader, whose refusals we share.

mod cursor;
mod read;
mod split;
mod value;
mod write;

pub use read::{Gguf, open};
pub(crate) use split::{SPLIT_KEYS, open_all};
pub use value::{Array, Metadata, Value};
pub use write::Layout;
