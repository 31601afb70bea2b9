//! The command line: every verb and flag, with the help that the user reads.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};

mod attest;
mod bundle;
mod models;
mod packages;
mod registry;
mod trust;

pub(crate) use attest::*;
pub(crate) use bundle::*;
pub(crate) use models::*;
pub(crate) use packages::*;
pub(crate) use registry::*;
pub(crate) use trust::*;

/// Convert, quantize, evaluate and run open-weight models.
#[derive(Debug, Parser)]
#[command(name = "mdl", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Threads to work with [default: all cores]
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "MDL_THREADS",
        hide_env_values = true,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Instruction set to use [default: the best that this machine has]
    #[arg(long, global = true, help_heading = "Global options", env = "MDL_TIER", hide_env_values = true, value_name = "TIER", value_parser = ["portable", "avx2", "avx512"])]
    pub(crate) tier: Option<String>,

    /// Folder for caches and settings [default: ~/.local/share/mdl]
    #[arg(long, global = true, help_heading = "Global options", env = "MDL_HOME", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,

    /// Print nothing but results and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,

    /// Say more of what is being done
    #[arg(long, short, global = true, help_heading = "Global options", action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Convert(Convert),
    Quantize(Quantize),
    Eval(Eval),
    Run(Run),
    Pack(Pack),
    Push(Push),
    Pull(Pull),
    Copy(Copy),
    List(List),
    Tag(Tag),
    Remove(Remove),
    Prune(Prune),
    Login(Login),
    Logout(Logout),
    Key(Key),
    Sign(Sign),
    Verify(Verify),
    Attest(Attest),
    Sbom(Sbom),
    Openness(Openness),
    Rebuild(Rebuild),
    Trust(TrustPolicy),
    Bundle(Bundle),
    Registry(Registry),
    Completions(Completions),
}
