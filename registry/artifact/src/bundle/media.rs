//! The volumes that are at hand: read only, and believed nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mdl_formats::{Error as FormatError, digest::Watch};
use mdl_store::{Digest, Hasher};
use rustix::fs::OFlags;

use super::{
    INDEX_FILE, INDEX_STATEMENT, Index, SIGNATURE_FILE, VOLUME_FILE,
    create::file_name,
    index::INDEX_BYTES,
    pour::{End, pour},
};
use crate::{Error, Result, keys::PublicKey, signing::Bundle};

/// Folders in one folder that are looked at for volumes.
const FOLDERS: usize = 10_000;

/// The volumes of one set that are at hand.
#[derive(Debug, Clone)]
pub struct Media {
    /// The index.
    pub index: Index,
    /// Of the index's bytes: what names a set.
    pub digest: Digest,
    signature: Option<Vec<u8>>,
    volumes: BTreeMap<u32, PathBuf>,
}

/// A file of a volume that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
}

impl Media {
    /// Opens a folder that is a volume, or that holds folders which are.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Volume`]: none is there, or they are of different sets.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut found: Option<Self> = None;
        for volume in folders(folder)? {
            let bytes = read(&volume.join(INDEX_FILE), INDEX_BYTES)?;
            let digest = Digest::of(&bytes);
            let media = match &mut found {
                Some(media) if media.digest != digest => {
                    let what = "it is of another bundle than the volumes beside it";
                    return Err(Error::volume(&volume.join(INDEX_FILE), what));
                }
                Some(media) => media,
                none => {
                    let signature = volume.join(SIGNATURE_FILE);
                    let signature = match signature.symlink_metadata() {
                        Ok(_) => Some(read(&signature, 1 << 20)?),
                        Err(_) => None,
                    };
                    let volumes = BTreeMap::new();
                    none.insert(Self { index: Index::read(&bytes)?, digest, signature, volumes })
                }
            };
            let number = number(&volume, media.index.volumes)?;
            if let Some(other) = media.volumes.insert(number, volume.clone()) {
                let what = format!("{} says that it is volume {number} too", other.display());
                return Err(Error::volume(&volume, what));
            }
        }
        found.ok_or_else(|| {
            Error::Bundle(format!("{} holds no {INDEX_FILE}, nor do its folders", folder.display()))
        })
    }

    /// Numbers of the volumes that are not at hand.
    pub fn missing(&self) -> BTreeSet<u32> {
        (1..=self.index.volumes).filter(|number| !self.volumes.contains_key(number)).collect()
    }

    /// The volumes at hand.
    pub fn present(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.volumes.iter().map(|(number, path)| (*number, path.as_path()))
    }

    /// Whether the index carries a signature, by whomever.
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// Which of some keys signed the index.
    pub fn signed_by<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Option<&'a PublicKey> {
        let bundle = Bundle::read(self.signature.as_deref()?).ok()?;
        keys.into_iter().find(|key| {
            bundle.verify(key).is_some_and(|it| {
                it.predicate_type == INDEX_STATEMENT && it.subject_of(&self.digest).is_some()
            })
        })
    }

    /// A file of a volume; `None` where that volume is not at hand.
    pub(super) fn file(&self, volume: u32, name: &str) -> Result<Option<(PathBuf, File)>> {
        let Some(folder) = self.volumes.get(&volume) else { return Ok(None) };
        let path = folder.join(name);
        // A folder on the way that is a link would lead out of the medium.
        let mut above = folder.clone();
        for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
            above.push(part);
            let facts = above.symlink_metadata().map_err(FormatError::io(&above, "open"))?;
            if !facts.is_dir() {
                return Err(Error::volume(&above, "it is no folder"));
            }
        }
        Ok(Some((path.clone(), open(&path)?)))
    }

    /// A small blob that is in every volume, checked.
    pub(super) fn small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let lacks = || Error::Bundle(format!("it lacks {digest}, which a model of it needs"));
        let blob = self.index.blobs.get(&digest.to_string()).ok_or_else(lacks)?;
        if !blob.parts.is_empty() || blob.size > limit {
            return Err(Error::Bundle(format!("{digest} is larger than such a thing may be")));
        }
        let (number, _) = self.volumes.first_key_value().ok_or_else(lacks)?;
        let (path, file) = self.file(*number, &file_name(digest, None))?.ok_or_else(lacks)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(FormatError::io(&path, "read"))?;
        let found = Digest::with(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(Error::volume(&path, format!("its digest is {found}: it was altered")));
        }
        Ok(bytes)
    }

    /// Reads every file of the volumes at hand; gives those that are not what they should be.
    ///
    /// # Errors
    /// [`Error::Formats`] where somebody asked to stop.
    pub fn check(&self, watch: &dyn Watch) -> Result<Vec<Fault>> {
        watch.begin(self.index.bytes());
        let mut faults = Vec::new();
        let mut note = |checked: Result<()>| match checked {
            Ok(()) => Ok::<(), Error>(()),
            Err(Error::Volume { path, problem }) => {
                faults.push(Fault { path, problem });
                Ok(())
            }
            Err(Error::Formats(error @ FormatError::Interrupted)) => Err(error.into()),
            Err(error) => {
                faults.push(Fault { path: PathBuf::new(), problem: error.to_string() });
                Ok(())
            }
        };
        for (digest, blob) in &self.index.blobs {
            let digest: Digest = digest.parse()?;
            if blob.parts.is_empty() {
                for number in self.volumes.keys() {
                    note(self.check_file(
                        *number,
                        &file_name(&digest, None),
                        blob.size,
                        &digest,
                        watch,
                    ))?;
                }
            }
            let many = blob.parts.len() > 1;
            for (at, part) in blob.parts.iter().enumerate() {
                let name = file_name(&digest, many.then_some(at));
                let expected = if many { Digest::sha256(&part.sha256)? } else { digest.clone() };
                note(self.check_file(part.volume, &name, part.size, &expected, watch))?;
            }
        }
        Ok(faults)
    }

    fn check_file(
        &self,
        volume: u32,
        name: &str,
        size: u64,
        expected: &Digest,
        watch: &dyn Watch,
    ) -> Result<()> {
        let Some(folder) = self.volumes.get(&volume) else { return Ok(()) };
        let opened = self.file(volume, name).map_err(|error| match error {
            error @ Error::Volume { .. } => error,
            error => Error::volume(&folder.join(name), error.to_string()),
        })?;
        let Some((path, mut file)) = opened else { return Ok(()) };
        check_size(&path, &file, size)?;
        let mut hasher = Hasher::new(expected.algorithm());
        pour(End { file: &mut file, path: &path }, None, size, &mut [&mut hasher], watch)?;
        if hasher.finish() == *expected {
            return Ok(());
        }
        Err(Error::volume(&path, "it was altered: its digest is another"))
    }

    /// The piece of a blob that is not what it should be, among those at hand.
    pub(super) fn find_fault(&self, digest: &Digest, watch: &dyn Watch) -> Option<Error> {
        let blob = self.index.blobs.get(&digest.to_string())?;
        if blob.parts.is_empty() {
            let (first, _) = self.volumes.first_key_value()?;
            return self
                .check_file(*first, &file_name(digest, None), blob.size, digest, watch)
                .err();
        }
        let many = blob.parts.len() > 1;
        blob.parts.iter().enumerate().find_map(|(at, part)| {
            let name = file_name(digest, many.then_some(at));
            let expected = Digest::sha256(&part.sha256).ok()?;
            self.check_file(part.volume, &name, part.size, &expected, watch).err()
        })
    }
}

/// Checks a file's length before it is read.
pub(super) fn check_size(path: &Path, file: &File, size: u64) -> Result<()> {
    let found = file.metadata().map_err(FormatError::io(path, "open"))?.len();
    if found == size {
        return Ok(());
    }
    Err(Error::volume(path, format!("it has {found} bytes, and should have {size}")))
}

/// The folder itself where it is a volume, else the folders in it that are.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.join(INDEX_FILE).symlink_metadata().is_ok() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(FormatError::io(folder, "open"))?.take(FOLDERS) {
        let path = entry.map_err(FormatError::io(folder, "list"))?.path();
        if path.join(INDEX_FILE).symlink_metadata().is_ok() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Which volume a folder says that it is.
fn number(folder: &Path, volumes: u32) -> Result<u32> {
    let path = folder.join(VOLUME_FILE);
    let text = read(&path, 64)?;
    let text = String::from_utf8_lossy(&text);
    let number = text.split('/').next().and_then(|number| number.trim().parse().ok());
    number
        .filter(|number| (1..=volumes).contains(number))
        .ok_or_else(|| Error::volume(&path, "it names no volume of this bundle"))
}

/// Opens a regular file, and nothing that stands in for one: no link is followed, no pipe waited for.
fn open(path: &Path) -> Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let link = path.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
        if link {
            Error::volume(path, "it is a symbolic link, which no volume has")
        } else {
            FormatError::io(path, "open")(error).into()
        }
    })?;
    let facts = file.metadata().map_err(FormatError::io(path, "open"))?;
    if facts.is_file() { Ok(file) } else { Err(Error::volume(path, "it is no regular file")) }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(FormatError::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::volume(path, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}
