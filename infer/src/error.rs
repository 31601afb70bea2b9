//! What can go wrong while a model is loaded or run.

use mdl_kernels::KernelError;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a model is loaded or run.
///
/// What is wrong with a file (a missing key, a tensor of another shape) is an [`Error::Format`] that
/// names the file and the place; the other variants are about a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's file is not what the architecture asks for.
    #[error(transparent)]
    Format(#[from] mdl_formats::Error),
    /// A product that the kernels refuse.
    #[error("tensor {tensor}: {source}")]
    Kernel {
        /// GGUF name of the weights.
        tensor: String,
        /// The kernel's reason.
        #[source]
        source: KernelError,
    },
    /// A token id beyond the vocabulary.
    #[error("token {token} is not in the model's vocabulary of {vocab}")]
    Token {
        /// The id.
        token: u32,
        /// Tokens in the vocabulary.
        vocab: usize,
    },
    /// More positions than the context holds.
    #[error("{needed} positions are needed, but the context holds {limit}")]
    Context {
        /// Positions asked for, those in the cache counted.
        needed: usize,
        /// Positions that the session may hold.
        limit: usize,
    },
    /// No logit is a number, so that no token can be chosen.
    #[error("the model's output at position {position} holds no finite number")]
    NotFinite {
        /// The position.
        position: usize,
    },
    /// A sampling setting outside its range.
    #[error("{setting} is {value}, but must be {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// Text could not be made from tokens.
    #[error("decoding token {token}: {problem}")]
    Decode {
        /// The id.
        token: u32,
        /// The tokenizer's reason.
        problem: String,
    },
}
