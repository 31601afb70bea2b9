//! Making a bundle from packages of the local store.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use mdl_formats::{
    Error as FormatError,
    atomic::{self, sync_folder},
    digest::Watch,
};
use mdl_store::{Algorithm, Digest, Hasher, layout::Layout};
use serde_json::json;

use super::{
    Blob, INDEX_FILE, INDEX_STATEMENT, Index, Inventory, Part, SIGNATURE_FILE, SMALL, SUMS_FILE,
    VOLUME_FILE,
    gather::{Gathered, gather},
    index::{MODELS, Named, PIECES, VOLUMES},
    pour::{End, pour},
};
use crate::{
    Error, Result,
    keys::PrivateKey,
    signing::{Bundle, SIGNED, Statement, Subject},
};

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where the packages are.
    pub layout: &'a Layout,
    /// The packages, as they are to be called.
    pub models: &'a [Named],
    /// What the site has.
    pub inventory: Option<&'a Inventory>,
    /// Bytes of a volume; without it there is one.
    pub volume_size: Option<u64>,
    /// Bytes of a file.
    pub file_size: u64,
    /// Who signs the index, and the time that the signature is to name.
    pub key: Option<(&'a PrivateKey, &'a str)>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Of the index.
    pub digest: Digest,
    /// The volumes' folders.
    pub volumes: Vec<PathBuf>,
    /// Blobs that travel, and their bytes.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the site has.
    pub absent: u64,
    /// Models that nobody signed.
    pub unsigned: Vec<String>,
}

/// Makes a bundle in a folder, which may be there but holds none. Blobs are copied first and the index appears last, so
/// that what was interrupted is no bundle; made again, whole blobs that are there already stay.
///
/// # Errors
/// [`Error::Bundle`] where a blob lacks, or a volume is too small; [`Error::Formats`], [`Error::Store`].
pub fn create(request: Request<'_>, to: &Path, watch: &dyn Watch) -> Result<Created> {
    let gathered = gather(request.layout, request.models, request.inventory)?;
    let mut index = plan(&request, &gathered)?;
    let volumes: Vec<PathBuf> = match (index.volumes, request.volume_size) {
        (1, None) => vec![to.to_owned()],
        (many, _) => (1..=many).map(|at| to.join(format!("volume-{at:03}"))).collect(),
    };
    for folder in [to].into_iter().chain(volumes.iter().map(PathBuf::as_path)) {
        if folder.join(INDEX_FILE).exists() {
            let what = format!("{} holds a bundle already", folder.display());
            return Err(Error::Bundle(what));
        }
    }
    watch.begin(index.bytes());
    let mut writer = Writer { layout: request.layout, volumes, watch, sums: BTreeMap::new() };
    for (digest, blob) in &mut index.blobs {
        let digest: Digest = digest.parse()?;
        writer.blob(&digest, blob)?;
    }
    let bytes = index.to_bytes()?;
    let digest = Digest::of(&bytes);
    let signature = match request.key {
        Some((key, signed)) => Some(sign_index(&digest, key, signed)?),
        None => None,
    };
    writer.finish(&index, &bytes, signature.as_deref())?;
    Ok(Created {
        digest,
        volumes: writer.volumes,
        blobs: index.blobs.len() as u64,
        bytes: index.bytes(),
        absent: index.absent.len() as u64,
        unsigned: gathered.unsigned,
    })
}

fn sign_index(index: &Digest, key: &PrivateKey, signed: &str) -> Result<Vec<u8>> {
    let statement =
        Statement::new(Subject::of(index), INDEX_STATEMENT, json!({ (SIGNED): signed }));
    Bundle::sign(&statement, key)
}

/// Which piece of which blob goes into which volume.
fn plan(request: &Request<'_>, gathered: &Gathered) -> Result<Index> {
    let total: u64 = gathered.blobs.iter().map(|(_, size)| size).sum();
    let everywhere: u64 = gathered.everywhere.values().sum();
    let mut blobs = BTreeMap::new();
    for (digest, size) in &gathered.everywhere {
        blobs.insert(digest.to_string(), Blob { size: *size, parts: Vec::new() });
    }
    let capacity = match request.volume_size {
        None => u64::MAX,
        Some(size) => {
            // What an index and a list of digests take for each piece, generously.
            let pieces = (gathered.blobs.len() + gathered.everywhere.len()) as u64
                + total / request.file_size.max(1)
                + total / size.max(1)
                + 8;
            let overhead = everywhere + 512 * pieces + (64 << 10);
            let room = size.checked_sub(overhead).filter(|room| *room >= SMALL);
            room.ok_or_else(|| {
                let least = overhead + SMALL;
                Error::Bundle(format!("a volume of {size} bytes is too small: {least} are needed"))
            })?
        }
    };
    let (mut volume, mut used) = (1u32, 0u64);
    for (digest, size) in &gathered.blobs {
        let (mut left, mut parts) = (*size, Vec::new());
        while left > 0 {
            if capacity - used < left.min(SMALL).min(request.file_size) {
                (volume, used) = (volume + 1, 0);
            }
            let take = left.min(capacity - used).min(request.file_size);
            parts.push(Part { volume, size: take, sha256: String::new() });
            (left, used) = (left - take, used + take);
        }
        if volume > VOLUMES || parts.len() > PIECES {
            let what = "it would have more volumes, or a blob more pieces, than the limit of 9,999";
            return Err(Error::Bundle(format!("{what}: make volumes or files larger")));
        }
        blobs.insert(digest.to_string(), Blob { size: *size, parts });
    }
    if gathered.models.len() > MODELS {
        return Err(Error::Bundle(format!("it would have more than {MODELS} models")));
    }
    Ok(Index {
        version: 1,
        volumes: volume,
        volume_size: request.volume_size,
        models: gathered.models.clone(),
        blobs,
        absent: gathered.absent.clone(),
    })
}

struct Writer<'a> {
    layout: &'a Layout,
    volumes: Vec<PathBuf>,
    watch: &'a dyn Watch,
    /// SHA-256 of each volume's files, by number and name.
    sums: BTreeMap<u32, BTreeMap<String, String>>,
}

impl Writer<'_> {
    fn folder(&self, volume: u32) -> &Path {
        self.volumes.get(volume as usize - 1).map_or(Path::new("."), PathBuf::as_path)
    }

    /// Copies a blob to where it belongs, and notes the digests of its pieces.
    fn blob(&mut self, digest: &Digest, blob: &mut Blob) -> Result<()> {
        if blob.parts.is_empty() {
            let mut sum = String::new();
            for volume in 1..=self.volumes.len() as u32 {
                sum = self.piece(digest, volume, &file_name(digest, None), (0, blob.size), None)?;
                self.note(volume, file_name(digest, None), &sum);
            }
            return matches(digest, &sum);
        }
        let mut whole = Hasher::new(digest.algorithm());
        let (mut offset, many) = (0, blob.parts.len() > 1);
        for (at, part) in blob.parts.iter_mut().enumerate() {
            let name = file_name(digest, many.then_some(at));
            let hash = many.then_some(&mut whole);
            part.sha256 = self.piece(digest, part.volume, &name, (offset, part.size), hash)?;
            self.note(part.volume, name, &part.sha256);
            offset += part.size;
        }
        match &blob.parts[..] {
            [one] => matches(digest, &one.sha256),
            _ if whole.finish() == *digest => Ok(()),
            _ => Err(broken(digest)),
        }
    }

    fn note(&mut self, volume: u32, name: String, sha256: &str) {
        self.sums.entry(volume).or_default().insert(name, sha256.to_owned());
    }

    /// Copies a range of a blob to a file; gives its SHA-256.
    fn piece(
        &self,
        digest: &Digest,
        volume: u32,
        name: &str,
        (offset, size): (u64, u64),
        whole: Option<&mut Hasher>,
    ) -> Result<String> {
        let to = self.folder(volume).join(name);
        let source = self.layout.blob_path(digest);
        let folder = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(FormatError::io(folder, "create"))?;
        let alone = whole.is_none() && digest.algorithm() == Algorithm::Sha256;
        if alone && fs::metadata(&to).is_ok_and(|facts| facts.len() == size) {
            // Of an earlier run that was interrupted.
            let mut file = File::open(&to).map_err(FormatError::io(&to, "open"))?;
            let mut check = Hasher::new(Algorithm::Sha256);
            pour(End { file: &mut file, path: &to }, None, size, &mut [&mut check], self.watch)?;
            if check.finish() == *digest {
                return Ok(digest.hex().to_owned());
            }
        }
        let mut own = Hasher::new(Algorithm::Sha256);
        let mut from = File::open(&source).map_err(FormatError::io(&source, "open"))?;
        from.seek(SeekFrom::Start(offset)).map_err(FormatError::io(&source, "read"))?;
        let partial = folder.join(".mdl-partial");
        let mut out = File::create(&partial).map_err(FormatError::io(&partial, "create"))?;
        let ends = (End { file: &mut from, path: &source }, End { file: &mut out, path: &partial });
        let mut hashers = vec![&mut own];
        hashers.extend(whole);
        pour(ends.0, Some(ends.1), size, &mut hashers, self.watch)?;
        out.sync_all().map_err(FormatError::io(&partial, "flush"))?;
        fs::rename(&partial, &to).map_err(FormatError::io(&to, "rename to"))?;
        Ok(own.finish().hex().to_owned())
    }

    /// Writes what makes a bundle of the blobs; the index last.
    fn finish(&mut self, index: &Index, bytes: &[u8], signature: Option<&[u8]>) -> Result<()> {
        let layout = layout_index(index);
        for volume in 1..=index.volumes {
            let mark = format!("{volume}/{}\n", index.volumes);
            let mut files: Vec<(&str, &[u8])> = vec![
                ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
                ("index.json", layout.as_bytes()),
                (VOLUME_FILE, mark.as_bytes()),
            ];
            files.extend(signature.map(|signature| (SIGNATURE_FILE, signature)));
            for (name, bytes) in files.iter().chain([&(INDEX_FILE, bytes)]) {
                self.note(volume, (*name).to_owned(), Digest::of(bytes).hex());
            }
            let mut sums = String::new();
            for (name, sha256) in self.sums.get(&volume).into_iter().flatten() {
                let _ = writeln!(sums, "{sha256}  {name}");
            }
            files.push((SUMS_FILE, sums.as_bytes()));
            files.push((INDEX_FILE, bytes));
            let folder = self.folder(volume).to_owned();
            for (name, bytes) in files {
                atomic::write(&folder.join(name), bytes)?;
            }
            for algorithm in ["sha256", "sha512"] {
                let blobs = folder.join("blobs").join(algorithm);
                if blobs.exists() {
                    sync_folder(&blobs)?;
                }
            }
        }
        Ok(())
    }
}

/// What the file of a blob, or of a piece of one, is called in its volume.
pub(super) fn file_name(digest: &Digest, piece: Option<usize>) -> String {
    let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
    match piece {
        Some(at) => format!("{name}.{:04}", at + 1),
        None => name,
    }
}

fn matches(digest: &Digest, sha256: &str) -> Result<()> {
    // Of another algorithm it was not checked here; the store checked it when it came.
    if digest.algorithm() != Algorithm::Sha256 || digest.hex() == sha256 {
        return Ok(());
    }
    Err(broken(digest))
}

fn broken(digest: &Digest) -> Error {
    Error::Bundle(format!("the blob {digest} of the local store is broken; pull it again"))
}

/// The volume as other tools read it.
fn layout_index(index: &Index) -> String {
    let mut entries = Vec::new();
    for model in &index.models {
        entries.push(json!({
            "mediaType": model.media_type,
            "digest": model.digest,
            "size": model.size,
            "annotations": { "org.opencontainers.image.ref.name": model.name() },
        }));
        for (digest, media_type) in &model.referrers {
            let size = index.blobs.get(digest).map_or(0, |blob| blob.size);
            entries.push(json!({ "mediaType": media_type, "digest": digest, "size": size }));
        }
    }
    let media_type = crate::media::OCI_INDEX;
    json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries }).to_string()
}
