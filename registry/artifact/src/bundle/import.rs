//! Taking a bundle in: blobs come into a local store one medium after the other, and get their names when all is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use mdl_formats::{Error as FormatError, atomic, digest::Watch};
use mdl_store::{
    Algorithm, Descriptor, Digest, Hasher, Limits, Links, Name, Tag,
    layout::{Ingest, Layout},
};
use serde::{Deserialize, Serialize};

use super::{
    Blob, Media, Part,
    create::file_name,
    index::Named,
    media::check_size,
    pour::{End, pour},
};
use crate::{
    CONFIG_BYTES, Error, Package, Result,
    trust::{Evidence, is_bundle},
};

/// Bytes of a manifest, and of a bundle that signs one.
const DOCUMENT_BYTES: u64 = 16 << 20;
/// Manifests within manifests that are followed.
const DEPTH: usize = 4;

/// An import: the media at hand, and the store that blobs gather in.
pub struct Import<'a> {
    media: &'a Media,
    layout: &'a Layout,
    /// A further store that may have what the bundle leaves out.
    also: Option<&'a Layout>,
    models: Vec<Planned>,
}

/// A model with all that it is made of, as its manifests say.
struct Planned {
    named: Named,
    /// Manifests in the order in which they are put down: what is named comes first.
    manifests: Vec<(Descriptor, Vec<u8>)>,
    referrers: Vec<Descriptor>,
    blobs: BTreeMap<Digest, u64>,
}

/// How far an import is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Volumes that blobs are still to come from.
    pub awaited: BTreeSet<u32>,
    /// Blobs that the bundle leaves out: the store that they are to come from has them, or somebody else must.
    pub absent: BTreeMap<Digest, u64>,
    /// Bytes that were copied now.
    pub copied: u64,
}

/// Which pieces of a blob stand in its file.
#[derive(Default, Serialize, Deserialize)]
struct Journal {
    written: BTreeSet<usize>,
}

impl<'a> Import<'a> {
    /// Reads what the models of the media need. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Volume`] for a manifest that was altered, [`Error::Bundle`] for one that lacks.
    pub fn open(media: &'a Media, layout: &'a Layout, also: Option<&'a Layout>) -> Result<Self> {
        let models = media.index.models.iter().map(|model| {
            let named = model.named()?;
            let mut planned = Planned {
                named,
                manifests: Vec::new(),
                referrers: Vec::new(),
                blobs: BTreeMap::new(),
            };
            planned.add(media, &planned.named.manifest.clone(), DEPTH)?;
            for (digest, media_type) in &model.referrers {
                let digest: Digest = digest.parse()?;
                let size = media.index.blobs.get(&digest.to_string()).map_or(0, |blob| blob.size);
                let descriptor = Descriptor { media_type: media_type.clone(), digest, size };
                planned.add(media, &descriptor, 0)?;
                planned.check_subject(&descriptor)?;
                planned.referrers.push(descriptor);
            }
            Ok(planned)
        });
        let models = models.collect::<Result<_>>()?;
        Ok(Self { media, layout, also, models })
    }

    /// The models, as the bundle calls them.
    pub fn models(&self) -> impl Iterator<Item = &Named> {
        self.models.iter().map(|model| &model.named)
    }

    /// All that is signed about a model, by its place in the index, under the name that it is to have.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Volume`].
    pub fn evidence(&self, at: usize, repository: Name, tag: Option<Tag>) -> Result<Evidence> {
        let model = self.models.get(at).ok_or_else(|| Error::Bundle("no such model".to_owned()))?;
        let manifest = &model.named.manifest;
        let bytes = self.media.small(&manifest.digest, DOCUMENT_BYTES)?;
        let small = |config: &Descriptor| self.media.small(&config.digest, CONFIG_BYTES).ok();
        let package = Package::with_config(&manifest.media_type, &bytes, small);
        let mut found = Evidence::new(repository, tag, manifest.clone(), package);
        for referrer in &model.referrers {
            let bytes = self.media.small(&referrer.digest, DOCUMENT_BYTES)?;
            let package = Package::read(&referrer.media_type, &bytes, None);
            let refers = package.subject.as_ref().is_some_and(|it| it.digest == manifest.digest);
            let layer = package.layers.first().map(|layer| &layer.descriptor);
            if refers
                && is_bundle(package.artifact_type.as_deref())
                && found.has_room()
                && let Some(layer) = layer
            {
                found.add(&referrer.digest, &self.media.small(&layer.digest, DOCUMENT_BYTES)?);
            }
        }
        Ok(found)
    }

    /// Copies what the store lacks from the volumes at hand. What was copied before, by whichever run, is not copied
    /// again; what is altered stops it, with the file's name.
    ///
    /// # Errors
    /// [`Error::Volume`], [`Error::NoSpace`] before anything is copied, [`Error::Store`], [`Error::Formats`].
    pub fn copy(&self, watch: &dyn Watch) -> Result<Progress> {
        let mut progress = Progress::default();
        let mut lacking = Vec::new();
        let needed: BTreeMap<&Digest, &u64> = self.models.iter().flat_map(|it| &it.blobs).collect();
        for (digest, size) in needed {
            if self.layout.has_blob(digest)? == Some(*size) {
                continue;
            }
            match self.media.index.blobs.get(&digest.to_string()) {
                Some(blob) if blob.size == *size => lacking.push((digest, blob)),
                Some(_) => {
                    return Err(Error::Bundle(format!("its index has another size of {digest}")));
                }
                None => self.take_over(digest, *size, &mut progress)?,
            }
        }
        self.check_space(&lacking)?;
        watch.begin(lacking.iter().map(|(_, blob)| blob.size).sum());
        for (digest, blob) in lacking {
            self.blob(digest, blob, watch, &mut progress)?;
        }
        Ok(progress)
    }

    /// A blob that the bundle leaves out, as the site has it.
    fn take_over(&self, digest: &Digest, size: u64, progress: &mut Progress) -> Result<()> {
        let there = match self.also {
            Some(also) if also.has_blob(digest)? == Some(size) => Some(also.blob_path(digest)),
            _ => None,
        };
        match there {
            Some(path) => {
                self.layout.put_file(&path, Some(digest.clone()), Ingest::Copy)?;
            }
            None => {
                progress.absent.insert(digest.clone(), size);
            }
        }
        Ok(())
    }

    fn check_space(&self, lacking: &[(&Digest, &Blob)]) -> Result<()> {
        let Some((first, _)) = lacking.first() else { return Ok(()) };
        let folder = self.layout.begin_blob(first);
        let folder = folder.parent().unwrap_or(Path::new(".")).to_owned();
        let there = |digest: &Digest| {
            // Space that is promised to a file is not taken before it is written.
            fs::metadata(self.layout.begin_blob(digest)).map_or(0, |facts| facts.blocks() * 512)
        };
        let needed: u64 =
            lacking.iter().map(|(it, blob)| blob.size.saturating_sub(there(it))).sum();
        let Ok(facts) = rustix::fs::statvfs(&folder) else { return Ok(()) };
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        if free < needed {
            return Err(Error::NoSpace { path: folder, needed, free });
        }
        Ok(())
    }

    /// Copies what is at hand of a blob; names it once it is whole and right.
    fn blob(
        &self,
        digest: &Digest,
        blob: &Blob,
        watch: &dyn Watch,
        progress: &mut Progress,
    ) -> Result<()> {
        let everywhere =
            [Part { volume: self.first(), size: blob.size, sha256: digest.hex().to_owned() }];
        let parts = if blob.parts.is_empty() { &everywhere[..] } else { &blob.parts };
        let partial = self.layout.begin_blob(digest);
        let notes = journal_path(&partial);
        let mut journal = read_journal(&notes, &partial);
        let present = |part: &Part| self.media.present().any(|(number, _)| number == part.volume);
        // In one go the blob's own digest says all; piece by piece each is checked while its medium is at hand.
        let in_one_go = journal.written.is_empty() && parts.iter().all(present);
        let awaited = |(at, part): &(usize, &Part)| !journal.written.contains(at) && !present(part);
        progress.awaited.extend(parts.iter().enumerate().filter(awaited).map(|(_, it)| it.volume));
        let to_come = |(at, part): (usize, &Part)| !journal.written.contains(&at) && present(part);
        let complete = journal.written.len() == parts.len();
        if !complete && !parts.iter().enumerate().any(to_come) {
            return Ok(());
        }
        let mut whole = in_one_go.then(|| Hasher::new(digest.algorithm()));
        let opened =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&partial);
        let mut out = opened.map_err(FormatError::io(&partial, "open"))?;
        out.set_len(blob.size).map_err(FormatError::io(&partial, "write"))?;
        let mut offset = 0;
        for (at, part) in parts.iter().enumerate() {
            let (begin, end) = (offset, offset + part.size);
            offset = end;
            if journal.written.contains(&at) {
                continue;
            }
            let name = file_name(digest, (parts.len() > 1).then_some(at));
            let Some((path, mut file)) = self.media.file(part.volume, &name)? else { continue };
            check_size(&path, &file, part.size)?;
            out.seek(SeekFrom::Start(begin)).map_err(FormatError::io(&partial, "write"))?;
            let ends =
                (End { file: &mut file, path: &path }, End { file: &mut out, path: &partial });
            let mut own = Hasher::new(Algorithm::Sha256);
            let hash = whole.as_mut().unwrap_or(&mut own);
            pour(ends.0, Some(ends.1), part.size, &mut [hash], watch)?;
            if !in_one_go && own.finish().hex() != part.sha256 {
                return Err(Error::volume(&path, "it was altered: its digest is another"));
            }
            progress.copied += part.size;
            if parts.len() > 1 {
                out.sync_all().map_err(FormatError::io(&partial, "flush"))?;
                journal.written.insert(at);
                write_journal(&notes, &journal)?;
            }
        }
        if parts.len() > 1 && journal.written.len() < parts.len() {
            return Ok(());
        }
        self.name(digest, blob, whole, &partial, watch)
    }

    /// Gives a blob its name, if it is what it should be.
    fn name(
        &self,
        digest: &Digest,
        blob: &Blob,
        whole: Option<Hasher>,
        partial: &Path,
        watch: &dyn Watch,
    ) -> Result<()> {
        let found = match whole {
            Some(whole) => whole.finish(),
            None => {
                let opened = OpenOptions::new().read(true).open(partial);
                let mut file = opened.map_err(FormatError::io(partial, "open"))?;
                let mut whole = Hasher::new(digest.algorithm());
                let end = End { file: &mut file, path: partial };
                pour(end, None, blob.size, &mut [&mut whole], watch)?;
                whole.finish()
            }
        };
        let notes = journal_path(partial);
        if found != *digest {
            // The next run begins with nothing of it.
            discard(&notes)?;
            discard(partial)?;
            let named = self.media.find_fault(digest, watch);
            return Err(named.unwrap_or_else(|| {
                Error::Bundle(format!(
                    "pieces of {digest} that earlier runs copied were altered; what was gathered of it is \
                     gone: begin again with its first volume"
                ))
            }));
        }
        self.layout.commit_blob(digest, partial)?;
        discard(&notes)
    }

    fn first(&self) -> u32 {
        self.media.present().next().map_or(1, |(number, _)| number)
    }

    /// Puts down manifests and what refers to them, and last the references: `keys` says what the store is to call each
    /// model, in order. All blobs must be there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn publish(&self, keys: &[String]) -> Result<()> {
        for model in &self.models {
            for (manifest, bytes) in &model.manifests {
                self.layout.put_manifest(&manifest.digest, bytes)?;
            }
            for referrer in &model.referrers {
                self.layout.add_referrer(referrer.clone())?;
            }
        }
        for (model, key) in self.models.iter().zip(keys) {
            self.layout.set_reference(key, model.named.manifest.clone())?;
        }
        Ok(())
    }
}

impl Planned {
    /// Takes up a manifest with its blobs and, of an index, its manifests.
    fn add(&mut self, media: &Media, manifest: &Descriptor, depth: usize) -> Result<()> {
        let bytes = media.small(&manifest.digest, DOCUMENT_BYTES)?;
        let links = Links::read(&manifest.media_type, &bytes, &Limits::default())?;
        for blob in &links.blobs {
            self.blobs.insert(blob.digest.clone(), blob.size);
        }
        for child in &links.manifests {
            if depth == 0 {
                return Err(Error::Bundle("indexes lie within indexes, too deep".to_owned()));
            }
            self.add(media, child, depth - 1)?;
        }
        self.manifests.push((manifest.clone(), bytes));
        Ok(())
    }

    /// Refuses a manifest that is said to refer to the model and does not: it would stand in the store for ever.
    fn check_subject(&self, referrer: &Descriptor) -> Result<()> {
        let bytes = self.manifests.last().map(|(_, bytes)| &bytes[..]).unwrap_or_default();
        let subject = Package::read(&referrer.media_type, bytes, None).subject;
        let known = |it: &Descriptor| {
            it.digest == self.named.manifest.digest
                || self.referrers.iter().any(|other| other.digest == it.digest)
        };
        if subject.as_ref().is_some_and(known) {
            return Ok(());
        }
        let what = format!("its index: {} refers to none of its models", referrer.digest);
        Err(Error::Bundle(what))
    }
}

fn journal_path(partial: &Path) -> PathBuf {
    partial.with_added_extension("pieces")
}

/// What is known of a file that was begun; nothing where it is gone.
fn read_journal(path: &Path, partial: &Path) -> Journal {
    let text = if partial.exists() { fs::read(path).unwrap_or_default() } else { Vec::new() };
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write_journal(path: &Path, journal: &Journal) -> Result<()> {
    let text = serde_json::to_vec(journal).map_err(|error| Error::Bundle(error.to_string()))?;
    Ok(atomic::write(path, &text)?)
}

fn discard(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FormatError::io(path, "delete")(error).into())
        }
        _ => Ok(()),
    }
}
