//! Model files: safetensors, GGUF and Hugging Face folders; tokenizers, chat templates and
//! architecture families.
//!
//! Everything meets in [`Checkpoint`]: metadata as GGUF keys, tensors under GGUF names and in GGUF
//! layout, whatever file they come from. A reader makes one, a writer takes one.
#![deny(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
mod config;
pub mod convert;
pub mod digest;
mod error;
pub mod family;
pub mod gguf;
mod hf;
mod json;
mod limits;
mod mapping;
mod open;
pub mod safetensors;
pub mod template;
pub mod tokenizer;

pub use checkpoint::{Checkpoint, MappedTensor, Tensor, TensorBytes, TensorSource};
pub use config::Config;
pub use error::{Error, Result};
pub use hf::card_fields;
pub use limits::Limits;
pub use mapping::Mapping;
