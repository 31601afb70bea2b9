//! Deleting what no reference leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

use super::{Layout, files::io, index};
use crate::{Algorithm, Digest, Found, Result};

/// What a manifest or index names, as far as collection needs it.
#[derive(Debug, Default)]
pub(super) struct Links {
    blobs: Vec<Digest>,
    manifests: Vec<Digest>,
    pub(super) subject: Option<Digest>,
    pub(super) artifact_type: Option<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    config: Option<Named>,
    layers: Option<Vec<Named>>,
    manifests: Option<Vec<Named>>,
    subject: Option<Named>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    digest: String,
    media_type: Option<String>,
}

impl Links {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let raw: Raw = serde_json::from_slice(bytes).ok()?;
        let digests = |items: Option<&Vec<Named>>| -> Vec<Digest> {
            items.into_iter().flatten().filter_map(|it| it.digest.parse().ok()).collect()
        };
        let mut blobs = digests(raw.layers.as_ref());
        blobs.extend(raw.config.iter().filter_map(|it| it.digest.parse().ok()));
        let config = raw.config.and_then(|it| it.media_type);
        Some(Self {
            blobs,
            manifests: digests(raw.manifests.as_ref()),
            subject: raw.subject.and_then(|it| it.digest.parse().ok()),
            artifact_type: raw.artifact_type.or(config),
            annotations: raw.annotations.unwrap_or_default(),
        })
    }
}

/// Deletes, or only counts, what nothing leads to. The caller holds the layout alone.
pub(super) fn prune(layout: &Layout, dry_run: bool) -> Result<Found> {
    let index = layout.index()?;
    let mut found = Found::default();
    // A manifest that another tool put in without a name is kept, unless it refers to something that goes.
    let mut referring = Vec::new();
    let mut roots: Vec<Digest> =
        index.references().into_iter().map(|(_, manifest)| manifest.digest).collect();
    for manifest in index.manifests() {
        let links = layout.manifest(&manifest.digest).ok().and_then(|it| Links::read(&it));
        match links.and_then(|it| it.subject) {
            Some(subject) => referring.push((subject, manifest.digest)),
            None => roots.push(manifest.digest),
        }
    }
    let live = reached(layout, roots, &referring, &mut found);
    if !dry_run {
        layout.change(|index| {
            index.retain(|it| index::descriptor(it).is_none_or(|it| live.contains(&it.digest)));
        })?;
    }
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let folder = layout.root.join("blobs").join(algorithm.name());
        sweep(&folder, dry_run, &mut found, |name| {
            let digest = format!("{}:{name}", algorithm.name()).parse::<Digest>();
            digest.is_ok_and(|digest| !live.contains(&digest))
        })?;
    }
    sweep(&layout.root.join("partial"), dry_run, &mut found, |_| true)?;
    Ok(found)
}

/// All that is reached from some manifests, the manifests themselves and what refers to them included.
fn reached(
    layout: &Layout,
    roots: Vec<Digest>,
    referring: &[(Digest, Digest)],
    found: &mut Found,
) -> BTreeSet<Digest> {
    let (mut live, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open = roots;
    while let Some(digest) = open.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        live.insert(digest.clone());
        let referrers = referring.iter().filter(|(subject, _)| *subject == digest);
        open.extend(referrers.map(|(_, referrer)| referrer.clone()));
        match layout.manifest(&digest) {
            Ok(bytes) => {
                let links = Links::read(&bytes).unwrap_or_default();
                live.extend(links.blobs);
                open.extend(links.manifests);
            }
            Err(error) => found.problems.push(format!("manifest {digest}: {error}")),
        }
    }
    live
}

/// Deletes the files of a folder that are to go.
fn sweep(
    folder: &Path,
    dry_run: bool,
    found: &mut Found,
    goes: impl Fn(&str) -> bool,
) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(io("list", folder))? {
        let entry = entry.map_err(io("list", folder))?;
        let (path, facts) = (entry.path(), entry.metadata().map_err(io("look at", &entry.path()))?);
        if !facts.is_file() {
            continue;
        }
        found.blobs += 1;
        found.bytes = found.bytes.saturating_add(facts.len());
        if goes(&entry.file_name().to_string_lossy()) {
            found.bad_blobs += 1;
            found.bad_bytes = found.bad_bytes.saturating_add(facts.len());
            if !dry_run {
                fs::remove_file(&path).map_err(io("delete", &path))?;
            }
        }
    }
    Ok(())
}
