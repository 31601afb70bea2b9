//! Derives what is known of a model from its manifest, and keeps it beside the manifest.

use std::path::{Path, PathBuf};

use mdl_artifact::{Facts, LayerKind, Limits, Package, PackageKind, views::hf};
use mdl_store::{Algorithm, Digest, Error, Name, Result, Store, StoredManifest};

use super::known::{FileKind, Known, KnownFile, KnownType, VERSION};

/// The kind of view under which it is kept.
const KIND: &str = "facts";

/// Bytes of a config that are read.
const CONFIG_BYTES: usize = 4 << 20;

/// Files up to here are read for Git's name of them, where it is the only one that clients accept.
const HASHED: u64 = 64 << 20;

/// Bytes of small files that are read in all.
const HASHED_IN_ALL: u64 = 512 << 20;

/// What is known of a model: kept from an earlier time, or derived now.
pub(crate) fn known(store: &dyn Store, repo: &Name, manifest: &StoredManifest) -> Result<Known> {
    if let Some(kept) = store.view(repo, &manifest.digest, KIND)?
        && let Ok(known) = serde_json::from_slice::<Known>(&kept)
        && known.version == VERSION
    {
        return Ok(known);
    }
    let (known, is_final) = derived(store, repo, manifest)?;
    if is_final && let Ok(body) = serde_json::to_vec(&known) {
        // It serves without being kept, if need be.
        if let Err(error) = store.put_view(repo, &manifest.digest, KIND, &body, &[]) {
            tracing::warn!("facts of {repo}@{} are not kept: {error}", manifest.digest);
        }
    }
    Ok(known)
}

/// What a manifest as it was pushed says.
pub(crate) fn package(
    store: &dyn Store,
    repo: &Name,
    manifest: &StoredManifest,
) -> Result<Package> {
    let package = Package::read(&manifest.media_type, &manifest.bytes, None);
    let Some(config) = &package.config else { return Ok(package) };
    let config = beginning(store, repo, &config.digest, CONFIG_BYTES)?;
    Ok(Package::read(&manifest.media_type, &manifest.bytes, config.as_deref()))
}

/// The beginning of a blob, at most `limit` bytes; `None` where the repository lacks it.
pub(crate) fn beginning(
    store: &dyn Store,
    repo: &Name,
    digest: &Digest,
    limit: usize,
) -> Result<Option<Vec<u8>>> {
    let reader = match store.open_blob(repo, digest) {
        Ok(reader) => reader,
        Err(Error::BlobUnknown { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = reader.size().min(limit as u64) as usize;
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read_at(filled as u64, rest)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// The first layer of a manifest.
pub(crate) fn first_layer(manifest: &StoredManifest) -> Option<Digest> {
    let package = Package::read(&manifest.media_type, &manifest.bytes, None);
    package.layers.into_iter().next().map(|layer| layer.descriptor.digest)
}

/// Where the file of a package that is one GGUF lies; `None` where it is none, or lies in no file.
pub(crate) fn gguf_path(
    store: &dyn Store,
    repo: &Name,
    package: &Package,
) -> Result<Option<PathBuf>> {
    match &package.ggufs()[..] {
        [model] => path_of(store, repo, &model.descriptor.digest),
        _ => Ok(None),
    }
}

/// Where a blob lies as a file; `None` where the repository lacks it.
fn path_of(store: &dyn Store, repo: &Name, digest: &Digest) -> Result<Option<PathBuf>> {
    match store.open_blob(repo, digest) {
        Ok(reader) => Ok(reader.path()),
        Err(Error::BlobUnknown { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Derives what is known from manifest, config and headers; and whether it will always be the same, which it is not
/// while blobs are lacking.
fn derived(store: &dyn Store, repo: &Name, manifest: &StoredManifest) -> Result<(Known, bool)> {
    let package = package(store, repo, manifest)?;
    let (mut paths, mut lacking) = (Vec::new(), 0_usize);
    for file in package.files.iter().filter(|file| !file.archive) {
        match path_of(store, repo, &file.descriptor.digest)? {
            Some(path) => paths.push((file.name.as_str(), path)),
            None => lacking += 1,
        }
    }
    let files: Vec<(&str, &Path)> =
        paths.iter().map(|(name, path)| (*name, path.as_path())).collect();
    let mut facts = package.facts.clone();
    // What the files themselves say counts more than what was written beside them.
    let mut own = Facts::of_files(&files, &Limits::default());
    own.evaluation = own.evaluation.or_else(|| facts.evaluation.take());
    own.fill(facts);
    let mut known = of_facts(own, &package);
    known.notes.extend(package.problems.iter().cloned());
    if lacking > 0 {
        known.notes.push(format!("{lacking} of its files are not here"));
    }
    known.files = files_of(store, repo, &package);
    Ok((known, lacking == 0))
}

fn of_facts(facts: Facts, package: &Package) -> Known {
    let evaluation = facts.evaluation.as_ref();
    let types = facts.types.iter().map(|share| KnownType {
        name: share.ty.clone(),
        tensors: share.tensors,
        parameters: share.parameters,
        bytes: share.bytes,
    });
    Known {
        version: VERSION,
        kind: kind(&facts, package),
        parameters: facts.parameters,
        bits_per_weight: facts.bits_per_weight,
        context: facts.context_length,
        layers: facts.layers,
        tokenizer: tokenizer(&facts),
        template: facts.chat_template,
        base: (!facts.base_models.is_empty()).then(|| facts.base_models.join(", ")),
        perplexity: evaluation.map(|it| it.perplexity),
        divergence: evaluation.and_then(|it| it.divergence).map(|spread| spread.mean),
        same_top: evaluation.and_then(|it| it.same_top),
        types: types.collect(),
        files: Vec::new(),
        title: facts.name,
        family: facts.architecture,
        quantization: facts.quantization,
        licence: facts.license,
        notes: facts.notes,
    }
}

/// What a package is, for people.
fn kind(facts: &Facts, package: &Package) -> String {
    let has = |name: &str| package.files.iter().any(|file| file.name == name);
    match facts.format.as_deref() {
        Some("gguf") => "GGUF".to_owned(),
        Some("safetensors" | "pytorch") if has("config.json") => "Hugging Face folder".to_owned(),
        Some(format) => format.to_owned(),
        None => match (package.kind, &package.artifact_type) {
            (PackageKind::Other, Some(artifact_type)) => artifact_type.clone(),
            (kind, _) => kind.name().to_owned(),
        },
    }
}

fn tokenizer(facts: &Facts) -> Option<String> {
    let kind = facts.tokenizer.clone()?;
    Some(match facts.vocabulary {
        Some(tokens) => format!("{kind}, {tokens} tokens"),
        None => kind,
    })
}

/// The files of a package, with the names that Git and the Hub's clients give them.
fn files_of(store: &dyn Store, repo: &Name, package: &Package) -> Vec<KnownFile> {
    let left = std::cell::Cell::new(HASHED_IN_ALL);
    let read = |digest: &Digest| {
        let bytes = beginning(store, repo, digest, HASHED as usize + 1).ok().flatten()?;
        let rest = left.get().checked_sub(bytes.len() as u64)?;
        left.set(rest);
        (bytes.len() as u64 <= HASHED).then_some(bytes)
    };
    let kinds =
        |name: &str| package.files.iter().find(|file| file.name == name).map(|file| file.kind);
    let known = |entry: hf::HfEntry| {
        let (mut oid, mut lfs) = (entry.oid, entry.lfs.is_some());
        if lfs && entry.digest.algorithm() != Algorithm::Sha256 {
            // The Hub names large files by their SHA-256, which is not known here.
            lfs = false;
            oid = read(&entry.digest).map_or(oid, |bytes| hf::git_oid(&bytes));
        }
        KnownFile {
            kind: kinds(&entry.path).map_or(FileKind::Other, file_kind),
            name: entry.path,
            size: entry.size,
            digest: entry.digest.to_string(),
            oid,
            lfs,
        }
    };
    hf::tree(package, &read).into_iter().map(known).collect()
}

fn file_kind(kind: LayerKind) -> FileKind {
    match kind {
        LayerKind::Weights => FileKind::Weights,
        LayerKind::Config => FileKind::Config,
        LayerKind::Doc => FileKind::Doc,
        LayerKind::Code => FileKind::Code,
        LayerKind::Dataset => FileKind::Dataset,
        LayerKind::Other => FileKind::Other,
    }
}
