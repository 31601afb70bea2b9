//! Arguments of the verbs about trust: key, sign, verify, trust.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Reach;

/// What is trusted.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Trust {
    /// The trust policy [default: trust.toml in MDL_HOME]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "MDL_TRUST", hide_env_values = true, help_heading = "Trust")]
    pub(crate) trust: Option<PathBuf>,

    /// Take a model whose signature is older than one that was seen for its tag
    #[arg(long, help_heading = "Trust")]
    pub(crate) allow_older: bool,
}

/// A key to sign with.
#[derive(Debug, Clone, Args)]
pub(crate) struct SigningKey {
    /// Key to sign with: of `mdl key generate`, of cosign, or PKCS #8 in PEM. Its passphrase is asked for, or in
    /// MDL_KEY_PASSPHRASE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: PathBuf,
}

/// Make and look at keys that sign models
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// The verbs of `mdl key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Generate(KeyGenerate),
    Public(KeyPublic),
    List(KeyList),
}

/// Make a key: NAME.key, encrypted with a passphrase, and NAME.pub for those who verify
///
/// The passphrase is asked for, or in MDL_KEY_PASSPHRASE. cosign reads both files, and its key files work here.
#[derive(Debug, Args)]
pub(crate) struct KeyGenerate {
    /// Name of the two files, without `.key` and `.pub`
    #[arg(long, value_name = "NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,

    /// Kind of key; an Ed25519 key signs manifests, not files
    #[arg(long = "type", value_name = "TYPE", default_value = "ecdsa-p256", value_parser = ["ecdsa-p256", "ed25519"])]
    pub(crate) kind: String,
}

/// Print the public part of a key (PEM)
#[derive(Debug, Args)]
pub(crate) struct KeyPublic {
    /// A private or public key
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// List keys with their fingerprints: SHA-256 of the public key in DER
#[derive(Debug, Args)]
pub(crate) struct KeyList {
    /// Key files, or folders with files *.pub and *.key [default: this folder]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sign a package, where it is: on the registry that REF names and in the local store; or a file or folder
///
/// A package gets a signature over its manifest, which `cosign verify` accepts, and one over its files, which
/// `model_signing verify` accepts, both as referrers. No weights are read. A folder gets `model.sig`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// A reference, or a file or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    #[command(flatten)]
    pub(crate) key: SigningKey,

    /// Where to write the signature of a file or folder [default: model.sig in the folder, FILE.sig]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) signature: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check who vouches for a package, by the trust policy or by keys; or a file or folder against its signature
///
/// Says what was asked and what was found. Exit status 3: it is not trusted.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A reference, or a file or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// Accept a signature by this key (PEM), whatever the policy says; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Vec<PathBuf>,

    /// Ask the local store, not the registry
    #[arg(long)]
    pub(crate) local: bool,

    /// The signature of a file or folder [default: model.sig in the folder, FILE.sig]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) signature: Option<PathBuf>,

    /// Let signed files be missing: some of a model's files were fetched
    #[arg(long)]
    pub(crate) partial: bool,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look at the trust policy
#[derive(Debug, Args)]
pub(crate) struct TrustPolicy {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

/// The verbs of `mdl trust`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    Check(TrustCheck),
}

/// Read a trust policy and say what it means
#[derive(Debug, Args)]
pub(crate) struct TrustCheck {
    /// The file [default: trust.toml in MDL_HOME]
    #[arg(value_hint = ValueHint::FilePath, env = "MDL_TRUST", hide_env_values = true)]
    pub(crate) file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
