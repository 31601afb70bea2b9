//! Arguments of the verbs that work on packages: pack, push, pull, copy, list, tag, remove, prune, login, logout.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Trust;

/// How to reach registries.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Reach {
    /// Speak plain HTTP with every registry, not with those on loopback alone
    #[arg(long, help_heading = "Connection")]
    pub(crate) plain_http: bool,

    /// Trust this certificate authority as well (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "MDL_CA", hide_env_values = true, help_heading = "Connection")]
    pub(crate) ca: Option<PathBuf>,

    /// Transfers at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Connection")]
    pub(crate) parallel: u8,
}

/// Package a model into the local store: every file a layer, stored raw under its digest
///
/// PATH is a GGUF file (or the first part of a split one), a Hugging Face folder, or any other folder. The quantization
/// recipe that the model holds travels with it as a referrer.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The file or folder to package
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    /// Name to give it: `[host[:port]/]name[/name][:tag]`
    pub(crate) reference: String,

    /// Attach an evaluation report, as `mdl eval --json` prints it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,

    /// Put the files into the store as hard links and make them read-only, instead of copying
    #[arg(long)]
    pub(crate) link: bool,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Send a package to a registry
///
/// `mdl push REF [DEST]` sends what the local store holds, with its referrers. `mdl push PATH REF` packages a file or
/// folder and sends it, without a copy in the local store.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// A reference in the local store, or a file or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,

    /// Where to [default: where the reference says]
    pub(crate) destination: Option<String>,

    /// Attach an evaluation report, as `mdl eval --json` prints it (with a PATH)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Fetch a model from a registry, from a Hugging Face hub (hf://) or from Ollama's (ollama://)
///
/// Into the local store, or with --to as plain files into a folder. What was interrupted goes on where it stopped.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// `[host[:port]/]name[:tag|@digest]`, `hf://ORG/NAME[@REVISION]` or `ollama://[host/]NAME[:TAG]`
    pub(crate) reference: String,

    /// Leave the files in this folder instead of the local store
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,

    /// Only files whose name matches (`*` within a part, `**` across); may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,

    /// Take files out of the local store as hard links, read-only, instead of copying
    #[arg(long, requires = "to")]
    pub(crate) link: bool,

    /// Replace files in the folder that differ
    #[arg(long, requires = "to")]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Copy a package from one registry to another, with its referrers
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// From where
    pub(crate) source: String,

    /// To where
    pub(crate) destination: String,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the packages of the local store
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those whose reference holds this text
    pub(crate) filter: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Give a package of the local store another reference
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The package
    pub(crate) source: String,

    /// Its further reference
    pub(crate) target: String,
}

/// Remove references from the local store; `mdl prune` frees the space
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// What to remove
    #[arg(required = true)]
    pub(crate) references: Vec<String>,
}

/// Delete from the local store what no reference leads to, and unfinished transfers
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Say what would go, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Keep the credentials for a registry, after trying them
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// `host[:port]`
    pub(crate) registry: String,

    /// User name [default: asked for]
    #[arg(long, short)]
    pub(crate) username: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Forget the credentials for a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// `host[:port]`
    pub(crate) registry: String,
}
