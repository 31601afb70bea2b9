//! Arguments of `mdl registry`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Run a registry, or look after one
#[derive(Debug, Args)]
pub(crate) struct Registry {
    #[command(subcommand)]
    pub(crate) command: RegistryCommand,
}

/// The verbs of `mdl registry`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    Serve(Serve),
    Gc(Gc),
    Scrub(Scrub),
    Stats(Stats),
    Backup(Backup),
    Restore(Restore),
    CheckConfig(CheckConfig),
}

/// Where a registry's data are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Root {
    /// Folder with the registry's data [default: the folder `registry` in MDL_HOME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serve models to OCI, Ollama and Hugging Face clients
///
/// Without a configuration all is allowed, on loopback only.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on [default: 127.0.0.1:5050]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,

    /// Folder with the registry's data [default: the folder `registry` in MDL_HOME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,

    /// Settings (`mdl registry check-config` explains them)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// Collect garbage: blobs and manifests that nothing leads to any more
#[derive(Debug, Args)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) root: Root,

    /// Say what would go, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Read everything that is stored and check it against its digest
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    #[command(flatten)]
    pub(crate) root: Root,
}

/// Show how much is stored
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) root: Root,
}

/// Copy everything to a folder, while the registry serves
#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) root: Root,

    /// The folder; what an earlier backup put there is not copied again
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) to: PathBuf,
}

/// Make a registry's data from a backup
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) root: Root,

    /// The backup
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) from: PathBuf,
}

/// Read a configuration and say what it means
#[derive(Debug, Args)]
pub(crate) struct CheckConfig {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}
