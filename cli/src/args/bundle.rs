//! Arguments of `mdl bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{Reach, Trust};
use crate::units::Size;

/// Carry packages to sites that no network reaches
#[derive(Debug, Args)]
pub(crate) struct Bundle {
    #[command(subcommand)]
    pub(crate) command: BundleCommand,
}

/// The verbs of `mdl bundle`.
#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    Create(BundleCreate),
    Verify(BundleVerify),
    Import(BundleImport),
    Inventory(BundleInventory),
}

/// Make a bundle: a folder, or with --volume-size one for each medium
///
/// Models come from the registry that a reference names, by way of the local store, with all that refers to them. Files
/// are at most 4 GiB less a byte, so that every file system takes them; `sha256sum -c SHA256SUMS` checks a volume.
#[derive(Debug, Args)]
pub(crate) struct BundleCreate {
    /// The models
    #[arg(required = true)]
    pub(crate) references: Vec<String>,

    /// Folder to make it in; the medium itself, or where media are made from
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    /// Sign the bundle's index with this key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// Bytes that fit a medium (32G, 700M); makes folders volume-001, volume-002 …
    #[arg(long, value_name = "SIZE")]
    pub(crate) volume_size: Option<Size>,

    /// Largest file
    #[arg(long, value_name = "SIZE", default_value = "4294967295")]
    pub(crate) file_size: Size,

    /// Leave out what the site has, as `mdl bundle inventory` says there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) inventory: Option<PathBuf>,

    /// Take the models from the local store, and ask no registry
    #[arg(long)]
    pub(crate) local: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Read the volumes that are at hand, and say what is altered, what is missing and who vouches for the models
#[derive(Debug, Args)]
pub(crate) struct BundleVerify {
    /// A volume, or a folder of volumes
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,

    /// The public key that the index must be signed by
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: Trust,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take a bundle in: one volume after the other, in any order; its models appear when all is there and trusted
#[derive(Debug, Args)]
pub(crate) struct BundleImport {
    /// A volume, or a folder of volumes; it is only read
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,

    /// `HOST[:PORT][/PREFIX]`, or a folder (with `./` or `/`) [default: the local store]
    #[arg(long, value_name = "WHERE")]
    pub(crate) to: Option<String>,

    /// Sign the receipt with this key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// Where to write the receipt [default: receipt-DIGEST.json in the folder `receipts` of MDL_HOME]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) receipt: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// List what this site has, for `mdl bundle create --inventory`: of the local store, or of a registry
#[derive(Debug, Args)]
pub(crate) struct BundleInventory {
    /// The registry, `HOST[:PORT]` [default: the local store]
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,

    /// File to write [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
