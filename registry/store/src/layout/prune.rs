//! Deleting what no reference leads to.

use std::{collections::BTreeSet, fs, io, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{Layout, files::io as failed, index};
use crate::{Algorithm, Digest, Error, Found, Limits, Links, Result};

/// What a manifest or index names; nothing where it is none that is to be understood.
pub(super) fn links(bytes: &[u8]) -> Option<Links> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let typed = serde_json::from_slice::<Typed>(bytes).ok()?;
    Links::read(&typed.media_type.unwrap_or_default(), bytes, &Limits::default()).ok()
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
        let links = layout.manifest(&manifest.digest).ok().and_then(|it| links(&it));
        match links.and_then(|it| it.subject) {
            Some(subject) => referring.push((subject.digest, manifest.digest)),
            None => roots.push(manifest.digest),
        }
    }
    let live = reached(layout, roots, &referring, &mut found);
    if !found.problems.is_empty() {
        // What a manifest that cannot be read leads to is not known, so nothing goes.
        return Ok(found);
    }
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
        let bytes = match layout.manifest(&digest) {
            Ok(bytes) => bytes,
            // Of an index of which only some was pulled.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                found.problems.push(format!("manifest {digest}: {error}"));
                continue;
            }
        };
        match (links(&bytes), serde_json::from_slice(&bytes)) {
            (Some(links), Ok(document)) => {
                keep_named(&document, &mut live);
                open.extend(links.manifests.into_iter().map(|it| it.digest));
            }
            _ => found.problems.push(format!("manifest {digest}: it cannot be understood")),
        }
    }
    live
}

/// Keeps every digest that stands in a manifest, wherever: also of a layer that was to be elsewhere (`urls`), and in
/// kinds of manifests that nobody here knows. Its depth was checked when its links were read.
fn keep_named(document: &Value, live: &mut BTreeSet<Digest>) {
    match document {
        Value::String(text) => live.extend(text.parse::<Digest>()),
        Value::Array(items) => items.iter().for_each(|it| keep_named(it, live)),
        Value::Object(fields) => fields.values().for_each(|it| keep_named(it, live)),
        _ => {}
    }
}

/// Deletes the files of a folder that are to go.
fn sweep(
    folder: &Path,
    dry_run: bool,
    found: &mut Found,
    goes: impl Fn(&str) -> bool,
) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let (path, facts) =
            (entry.path(), entry.metadata().map_err(failed("look at", &entry.path()))?);
        if !facts.is_file() {
            continue;
        }
        found.blobs += 1;
        found.bytes = found.bytes.saturating_add(facts.len());
        if goes(&entry.file_name().to_string_lossy()) {
            found.bad_blobs += 1;
            found.bad_bytes = found.bad_bytes.saturating_add(facts.len());
            if !dry_run {
                fs::remove_file(&path).map_err(failed("delete", &path))?;
            }
        }
    }
    Ok(())
}
