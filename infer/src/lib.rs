//! The built-in inference path: a [`Model`] out of a checkpoint, a [`Session`] that holds what it has
//! seen, logits for scoring, and text by [`generate`](generate()).
//!
//! A model is described by GGUF keys and tensor names whatever file it comes from, so that one forward
//! pass serves all; what distinguishes the families are the facts in `arch`.
#![forbid(unsafe_code)]

mod arch;
mod config;
mod error;
mod forward;
mod generate;
mod keys;
mod model;
mod rope;
mod sampling;
mod session;
mod stop;
mod weights;

pub use arch::architectures;
pub use error::{Error, Result};
pub use generate::{Decoder, Ended, Outcome, StopRules, end_tokens, generate};
pub use mdl_kernels::matrix::Precision;
pub use model::{Model, Options};
pub use sampling::{Sampler, Sampling, greedy};
pub use session::{Session, Tile, Wanted};
