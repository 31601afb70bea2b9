//! What maintenance can be asked for, and what it answers.

use std::path::PathBuf;

use mdl_store::{Found, FsStore, Maintain as _, Name, Quota, Stats, TagInfo, Used};
use serde::{Deserialize, Serialize};

use crate::{
    access::accounts::carry,
    app::now,
    config::{Config, Retaining},
};

/// Version of the protocol.
pub(super) const VERSION: u32 = 1;

/// Work on a registry's folder that a server can do while it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Remove what nothing leads to.
    Collect {
        /// Only count it.
        dry_run: bool,
    },
    /// Check everything against its digest.
    Scrub,
    /// Count.
    Stats,
    /// Let tags go that are to be kept no longer.
    Retain {
        /// Which; without it, as the registry's own configuration says.
        rules: Option<Retaining>,
        /// Only say which.
        dry_run: bool,
    },
    /// Copy everything to a folder.
    Backup {
        /// The folder, as an absolute path.
        to: PathBuf,
    },
}

impl Work {
    /// The same, with what it leaves to the configuration of a registry that serves.
    pub(super) fn or_as_configured(self, config: &Config) -> Self {
        match self {
            Self::Retain { rules: None, dry_run } => {
                Self::Retain { rules: Some(config.retaining()), dry_run }
            }
            other => other,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of a collection, a scrub, a backup.
    Found(Found),
    /// Of counting, and how far quotas are used up.
    Stats(Stats, Vec<Used>),
    /// Of retention: the tags that went, by repository.
    Retained(Vec<(Name, Vec<TagInfo>)>),
}

/// A line to the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) version: u32,
    pub(super) work: Work,
}

/// A line from the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) said: Said,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    Found(FoundLine),
    Stats(StatsLine),
    Retained(Vec<GoneLine>),
    Failed(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FoundLine {
    blobs: u64,
    bytes: u64,
    bad_blobs: u64,
    bad_bytes: u64,
    bad_manifests: u64,
    problems: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GoneLine {
    repository: String,
    tag: String,
    digest: String,
    updated: u64,
}

impl GoneLine {
    fn of(gone: &[(Name, Vec<TagInfo>)]) -> Vec<Self> {
        let line = |repository: &Name, it: &TagInfo| Self {
            repository: repository.to_string(),
            tag: it.tag.to_string(),
            digest: it.digest.to_string(),
            updated: it.updated,
        };
        gone.iter().flat_map(|(name, tags)| tags.iter().map(move |it| line(name, it))).collect()
    }

    fn read(lines: Vec<Self>) -> mdl_store::Result<Vec<(Name, Vec<TagInfo>)>> {
        let mut gone: Vec<(Name, Vec<TagInfo>)> = Vec::new();
        for line in lines {
            let name: Name = line.repository.parse()?;
            let (tag, digest) = (line.tag.parse()?, line.digest.parse()?);
            let info = TagInfo { tag, digest, updated: line.updated };
            match gone.last_mut() {
                Some((last, tags)) if *last == name => tags.push(info),
                _ => gone.push((name, vec![info])),
            }
        }
        Ok(gone)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct QuotaLine {
    prefix: String,
    limit: u64,
    bytes: u64,
}

impl From<Used> for QuotaLine {
    fn from(used: Used) -> Self {
        let Used { quota: Quota { prefix, bytes: limit }, bytes } = used;
        Self { prefix, limit, bytes }
    }
}

impl From<QuotaLine> for Used {
    fn from(line: QuotaLine) -> Self {
        let QuotaLine { prefix, limit, bytes } = line;
        Self { quota: Quota { prefix, bytes: limit }, bytes }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StatsLine {
    quotas: Vec<QuotaLine>,
    blobs: u64,
    bytes: u64,
    manifests: u64,
    tags: u64,
    uploads: u64,
}

impl From<Outcome> for Said {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Found(found) => Self::Found(FoundLine {
                blobs: found.blobs,
                bytes: found.bytes,
                bad_blobs: found.bad_blobs,
                bad_bytes: found.bad_bytes,
                bad_manifests: found.bad_manifests,
                problems: found.problems,
            }),
            Outcome::Retained(gone) => Self::Retained(GoneLine::of(&gone)),
            Outcome::Stats(stats, used) => Self::Stats(StatsLine {
                quotas: used.into_iter().map(QuotaLine::from).collect(),
                blobs: stats.blobs,
                bytes: stats.bytes,
                manifests: stats.manifests,
                tags: stats.tags,
                uploads: stats.uploads,
            }),
        }
    }
}

impl Said {
    /// What was done, or why it was not.
    pub(super) fn outcome(self) -> Result<Outcome, String> {
        match self {
            Self::Found(line) => Ok(Outcome::Found(Found {
                blobs: line.blobs,
                bytes: line.bytes,
                bad_blobs: line.bad_blobs,
                bad_bytes: line.bad_bytes,
                bad_manifests: line.bad_manifests,
                problems: line.problems,
            })),
            Self::Stats(line) => {
                let used = line.quotas.into_iter().map(Used::from).collect();
                let stats = Stats {
                    blobs: line.blobs,
                    bytes: line.bytes,
                    manifests: line.manifests,
                    tags: line.tags,
                    uploads: line.uploads,
                };
                Ok(Outcome::Stats(stats, used))
            }
            Self::Retained(lines) => {
                GoneLine::read(lines).map(Outcome::Retained).map_err(|error| error.to_string())
            }
            Self::Failed(what) => Err(what),
        }
    }
}

/// Does the work, on a store that is open.
pub(super) fn done(store: &FsStore, work: &Work) -> mdl_store::Result<Outcome> {
    Ok(match work {
        Work::Collect { dry_run } => Outcome::Found(store.collect(*dry_run)?),
        Work::Scrub => Outcome::Found(store.scrub()?),
        Work::Stats => Outcome::Stats(store.stats()?, store.used()),
        Work::Retain { rules, dry_run } => {
            let rules = rules.clone().unwrap_or_default();
            Outcome::Retained(store.retain(&rules.choice(now()), *dry_run)?)
        }
        Work::Backup { to } => {
            let found = store.backup(to)?;
            carry(store.root(), to).map_err(|source| mdl_store::Error::Io {
                what: "take accounts along to",
                path: to.clone(),
                source,
            })?;
            mdl_artifact::trust::Seen::new(store.root()).carry(to).map_err(|error| {
                mdl_store::Error::Io {
                    what: "take what was seen of tags along to",
                    path: to.clone(),
                    source: std::io::Error::other(error.to_string()),
                }
            })?;
            Outcome::Found(found)
        }
    })
}
