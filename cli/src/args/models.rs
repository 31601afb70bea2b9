//! Arguments of the verbs that work on models: inspect, convert, quantize, eval, run.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum, ValueHint};

use super::packages::Reach;
use crate::units::Size;

/// Show what a model is, from its headers or its manifest alone
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Inspect {
    /// GGUF file, first part of a split one, safetensors file or Hugging Face folder; or a package: `name[:tag|@digest]`
    /// of the local store or of the registry in config.toml, `host/name[:tag|@digest]` of any registry
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// Look in the local store, whatever registry the reference names
    #[arg(long)]
    pub(crate) local: bool,

    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,

    /// List every metadata key
    #[arg(long)]
    pub(crate) metadata: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Convert between Hugging Face folders and GGUF, without loss by default
///
/// A Hugging Face folder becomes a GGUF file, a GGUF file becomes a Hugging Face folder.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// What to convert: a Hugging Face folder or a GGUF file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,

    /// Where to write: `NAME.gguf`, or a folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) destination: PathBuf,

    /// Type of the matrices [default: the source's own]
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    pub(crate) ty: Option<ConvertType>,

    /// Begin a new file when one would grow beyond this (`4GiB`, `2GB`, `500M`)
    #[arg(long, value_name = "SIZE")]
    pub(crate) split_max_size: Option<Size>,

    /// Quantize a source that is itself quantized; expanding one to floats needs no leave
    #[arg(long)]
    pub(crate) allow_requantize: bool,

    /// Replace the destination if it exists
    #[arg(long)]
    pub(crate) force: bool,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Types that `convert` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertType {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0", alias = "q8-0")]
    Q8_0,
}

/// Quantize a Hugging Face folder or a GGUF file to a finished GGUF file
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Quantize {
    /// What to quantize: a Hugging Face folder or a GGUF file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,

    /// The GGUF file to write; not needed with --dry-run
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "dry_run")]
    pub(crate) destination: Option<PathBuf>,

    /// Named mix of types: Q4_K_M, Q5_K_S, Q6_K, IQ4_XS, Q8_0 …
    #[arg(
        long,
        short,
        value_name = "NAME",
        required_unless_present = "recipe",
        conflicts_with = "recipe"
    )]
    pub(crate) scheme: Option<String>,

    /// Take every decision from a recipe instead
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: Option<PathBuf>,

    /// Type for the tensors whose GGUF name matches a regular expression; the first match wins
    #[arg(long, value_name = "PATTERN=TYPE", conflicts_with = "recipe")]
    pub(crate) tensor_type: Vec<String>,

    /// Importance matrix: llama.cpp's GGUF form or the older .dat
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) imatrix: Option<PathBuf>,

    /// Show tensors, types and sizes, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Refuse where a tensor's shape cannot take the scheme's type, instead of using another
    #[arg(long)]
    pub(crate) strict: bool,

    /// Quantize a source that is itself quantized
    #[arg(long)]
    pub(crate) allow_requantize: bool,

    /// Replace the destination if it exists
    #[arg(long)]
    pub(crate) force: bool,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure how good a model is: perplexity, and divergence from the model it was made from
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// The model to measure
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// The model it was made from: both run side by side and their predictions are compared
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<String>,

    /// Text to measure on
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data: PathBuf,

    /// Use the first N chunks only
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) chunks: Option<NonZeroUsize>,

    /// Tokens in a chunk
    #[arg(long, value_name = "N", default_value = "512", allow_negative_numbers = true)]
    pub(crate) context: NonZeroUsize,

    /// Precision of activations: `f32` measures the weights alone, `q8` is what llama.cpp computes with
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) activations: Activations,

    /// Fail (status 3) if the mean divergence is above this
    #[arg(long, value_name = "X", requires = "against", value_parser = not_negative::<f64>, allow_negative_numbers = true)]
    pub(crate) max_kld: Option<f64>,

    /// Fail (status 3) if perplexity grows by more than this factor
    #[arg(long, value_name = "X", requires = "against", value_parser = not_negative::<f64>, allow_negative_numbers = true)]
    pub(crate) max_ppl_ratio: Option<f64>,

    /// Fail (status 3) if the share of same top tokens is below this (0 to 1)
    #[arg(long, value_name = "X", requires = "against", value_parser = fraction::<f64>, allow_negative_numbers = true)]
    pub(crate) min_top1: Option<f64>,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// In what precision activations enter the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Activations {
    F32,
    Q8,
}

/// Run a model on a prompt, or talk to it
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The model to run
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// The prompt; without it standard input is read, or on a terminal a conversation begins
    #[arg(long, short)]
    pub(crate) prompt: Option<String>,

    /// Give the prompt to the model as it is, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,

    /// System message of the conversation
    #[arg(long, conflicts_with = "raw")]
    pub(crate) system: Option<String>,

    /// Stop after this many tokens
    #[arg(long, value_name = "N", default_value_t = 512, allow_negative_numbers = true)]
    pub(crate) max_tokens: usize,

    /// Randomness; 0 always takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = not_negative::<f32>, allow_negative_numbers = true)]
    pub(crate) temperature: f32,

    /// Sample among the K most likely tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) top_k: usize,

    /// Sample among the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share, allow_negative_numbers = true)]
    pub(crate) top_p: f32,

    /// Sample among tokens at least this likely, relative to the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = fraction::<f32>, allow_negative_numbers = true)]
    pub(crate) min_p: f32,

    /// Seed of the sampling; the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) seed: u64,

    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,

    /// Tokens of context to make room for [default: the model's own, at most 4096]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) context: Option<NonZeroUsize>,

    /// Precision of activations
    #[arg(long, value_enum, default_value = "q8")]
    pub(crate) activations: Activations,

    /// Print the result as JSON, once it is complete
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// A finite number that `fits`, or what it must be.
fn number<T: FromStr + Into<f64> + Copy>(
    text: &str,
    fits: impl Fn(f64) -> bool,
    expected: &str,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number: &T| fits((*number).into()));
    number.ok_or_else(|| format!("it must be {expected}"))
}

fn not_negative<T: FromStr + Into<f64> + Copy>(text: &str) -> Result<T, String> {
    number(text, |x| x >= 0.0 && x.is_finite(), "a number from 0")
}

fn fraction<T: FromStr + Into<f64> + Copy>(text: &str) -> Result<T, String> {
    number(text, |x| (0.0..=1.0).contains(&x), "a number from 0 to 1")
}

fn share(text: &str) -> Result<f32, String> {
    number(text, |x| x > 0.0 && x <= 1.0, "a number above 0, at most 1")
}
