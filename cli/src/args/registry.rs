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
    Retain(Retain),
    Scrub(Scrub),
    Stats(Stats),
    Backup(Backup),
    Restore(Restore),
    CheckConfig(CheckConfig),
    User(User),
    Key(RegistryKey),
    Audit(Audit),
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

/// Let tags go that the configuration's `[[retention]]` does not keep
///
/// A manifest that so loses its last tag goes too. One that serves does this by itself whenever it collects garbage.
#[derive(Debug, Args)]
pub(crate) struct Retain {
    #[command(flatten)]
    pub(crate) root: Root,

    /// Say which would go, and let none go
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Take the rules of this configuration [default: those of the registry that serves]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
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

/// Accounts: from the first one on, a registry asks whoever comes who they are
///
/// These work on the registry's folder, on its own machine; one that serves takes notice at once.
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// The verbs of `mdl registry user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    Add(UserAdd),
    Remove(UserRemove),
    List(UserList),
}

/// Make an account, or give it another password; an administrator stays one
#[derive(Debug, Args)]
pub(crate) struct UserAdd {
    /// Its name
    pub(crate) name: String,

    /// Let it do everything
    #[arg(long)]
    pub(crate) admin: bool,

    /// Read the password from standard input, instead of asking for it
    #[arg(long)]
    pub(crate) password_stdin: bool,

    /// Give it no password: it has API keys alone
    #[arg(long, conflicts_with = "password_stdin")]
    pub(crate) no_password: bool,

    #[command(flatten)]
    pub(crate) root: Root,
}

/// Take an account away, with its keys
#[derive(Debug, Args)]
pub(crate) struct UserRemove {
    /// Its name
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) root: Root,
}

/// List accounts
#[derive(Debug, Args)]
pub(crate) struct UserList {
    #[command(flatten)]
    pub(crate) root: Root,
}

/// The audit log: who did what, when, from where, and what was refused
///
/// Its lines are chained: each holds the SHA-256 of the one before.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// The verbs of `mdl registry audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Verify(AuditVerify),
    Head(AuditHead),
}

/// Check that no line was changed, removed, added or moved
///
/// A log whose end was cut off, or that was written anew as a whole, is told by a head that was kept elsewhere (`--head`).
#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Files, the oldest first [default: the registry's log]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// A head that must stand in the chain, as `mdl registry audit head --out` wrote it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) head: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) root: Root,
}

/// Show the end of the chain: the number of its last line and its SHA-256
#[derive(Debug, Args)]
pub(crate) struct AuditHead {
    #[command(flatten)]
    pub(crate) root: Root,

    /// Write it to a file, for `verify --head`; keep it where the registry's machine cannot change it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// API keys: for programs, and for Hugging Face clients (HF_TOKEN)
#[derive(Debug, Args)]
pub(crate) struct RegistryKey {
    #[command(subcommand)]
    pub(crate) command: RegistryKeyCommand,
}

/// The verbs of `mdl registry key`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryKeyCommand {
    Add(KeyAdd),
    Revoke(KeyRevoke),
    List(KeyOfRegistryList),
}

/// Make a key; it is shown once, and kept as a hash
#[derive(Debug, Args)]
pub(crate) struct KeyAdd {
    /// Whose
    pub(crate) user: String,

    /// For how long it holds: 12h, 90d [default: for ever]
    #[arg(long, value_name = "SPAN")]
    pub(crate) expires: Option<mdl_server::config::Span>,

    /// Only for repositories whose name fits (`*` within a part, `**` across); may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) repository: Vec<String>,

    /// Register this public key of the user's Ollama (id_ed25519.pub) instead: it logs in by itself
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ollama: Option<PathBuf>,

    /// Only for this; may be given several times
    #[arg(long, value_name = "ACTION", value_parser = ["pull", "push", "delete"])]
    pub(crate) action: Vec<String>,

    #[command(flatten)]
    pub(crate) root: Root,
}

/// Take a key away
#[derive(Debug, Args)]
pub(crate) struct KeyRevoke {
    /// Its identifier, as the list has it
    pub(crate) identifier: String,

    #[command(flatten)]
    pub(crate) root: Root,
}

/// List keys
#[derive(Debug, Args)]
pub(crate) struct KeyOfRegistryList {
    #[command(flatten)]
    pub(crate) root: Root,
}
