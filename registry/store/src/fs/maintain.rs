//! Maintenance while the store serves: collection, scrubbing, figures.

use redb::ReadableTable;

use super::{FsStore, Inner};
use crate::{
    Algorithm, Digest, Found, Hasher, Result,
    db::{self, CONTENT, HELD, MANIFESTS, Record, TAGS},
};

/// What keeps a store in order.
pub trait Maintain {
    /// Removes what nothing leads to and no lease keeps; with `dry_run` only counts it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Corrupt`].
    fn collect(&self, dry_run: bool) -> Result<Found>;
    /// Reads every blob and manifest and follows every link; what is wrong is told, not mended. What a manifest lacked
    /// when it was pushed is not lost.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where the metadata cannot be read.
    fn scrub(&self) -> Result<Found>;
    /// How much there is.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Corrupt`].
    fn stats(&self) -> Result<Stats>;
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blobs, each counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Manifests of all repositories.
    pub manifests: u64,
    /// Tags of all repositories.
    pub tags: u64,
    /// Uploads under way.
    pub uploads: u64,
}

impl Maintain for FsStore {
    fn collect(&self, dry_run: bool) -> Result<Found> {
        self.0.collect(dry_run)
    }

    fn scrub(&self) -> Result<Found> {
        let mut found = Found::default();
        self.0.scrub_blobs(&mut found)?;
        self.0.scrub_manifests(&mut found)?;
        self.0.scrub_tags(&mut found)?;
        Ok(found)
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats { uploads: self.0.count_uploads()?, ..Stats::default() };
        for (_, size) in self.0.all_blobs()? {
            stats.blobs += 1;
            stats.bytes = stats.bytes.saturating_add(size);
        }
        let read = self.0.read()?;
        let count = || -> Result<(u64, u64), redb::Error> {
            use redb::ReadableTableMetadata as _;
            Ok((read.open_table(MANIFESTS)?.len()?, read.open_table(TAGS)?.len()?))
        };
        (stats.manifests, stats.tags) = count().map_err(|error| self.0.broken(error))?;
        Ok(stats)
    }
}

impl Inner {
    fn all_blobs(&self) -> Result<Vec<(String, u64)>> {
        db::blobs(&self.read()?).map_err(|error| self.broken(error))
    }

    fn scrub_blobs(&self, found: &mut Found) -> Result<()> {
        for (key, size) in self.all_blobs()? {
            let digest: Digest = key.parse()?;
            found.blobs += 1;
            found.bytes = found.bytes.saturating_add(size);
            let problem = match self.hash_blob(&digest) {
                Ok((is, len)) if is == digest && len == size => continue,
                Ok((_, len)) if len != size => format!("blob {key}: {len} bytes, not {size}"),
                Ok((is, _)) => format!("blob {key}: its content has the digest {is}"),
                // Collected since it was listed.
                Err(_) if self.blob_size(&digest)?.is_none() => continue,
                Err(error) => format!("blob {key}: {error}"),
            };
            found.bad_blobs += 1;
            found.bad_bytes = found.bad_bytes.saturating_add(size);
            found.problems.push(problem);
        }
        for digest in self.files()? {
            // Under the guard no upload is between renaming and naming.
            let _guard = self.guards.of(&digest);
            if self.blob_size(&digest)?.is_none() {
                found.problems.push(format!("blob {digest}: a file that nothing names"));
            }
        }
        Ok(())
    }

    fn hash_blob(&self, digest: &Digest) -> Result<(Digest, u64)> {
        let path = self.blob_path(digest);
        let failed = |error| super::io_error("read", &path, error);
        let file = self.disk.open_read(&path).map_err(failed)?;
        let (mut at, mut buffer) = (0, vec![0; 1 << 20]);
        let algorithm: Algorithm = digest.algorithm();
        let mut hasher = Hasher::new(algorithm);
        loop {
            let read = file.read_at(at, &mut buffer).map_err(failed)?;
            if read == 0 {
                return Ok((hasher.finish(), at));
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            at += read as u64;
        }
    }

    fn scrub_manifests(&self, found: &mut Found) -> Result<()> {
        let read = self.read()?;
        let mut broken = Vec::new();
        let mut check = || -> Result<(), redb::Error> {
            let (manifests, content) = (read.open_table(MANIFESTS)?, read.open_table(CONTENT)?);
            let held = read.open_table(HELD)?;
            for entry in manifests.iter()? {
                let (key, record) = entry?;
                let (repo, digest) = key.value();
                let bytes = content.get((repo, digest))?;
                let stated = digest.parse::<Digest>().ok();
                let sound = stated.zip(bytes).is_some_and(|(stated, bytes)| {
                    Digest::with(stated.algorithm(), bytes.value()) == stated
                });
                let record = serde_json::from_slice::<Record>(record.value()).ok();
                let Some(record) = record.filter(|_| sound) else {
                    broken.push(format!("manifest {repo}@{digest}: its content is damaged"));
                    continue;
                };
                for blob in &record.blobs {
                    let there = held.get((repo, blob.as_str()))?.is_some();
                    if !there && !record.lacking.contains(blob) {
                        broken.push(format!("manifest {repo}@{digest}: its blob {blob} is lost"));
                    }
                }
                for child in &record.manifests {
                    let there = manifests.get((repo, child.as_str()))?.is_some();
                    if !there && !record.lacking.contains(child) {
                        broken.push(format!(
                            "manifest {repo}@{digest}: its manifest {child} is lost"
                        ));
                    }
                }
            }
            Ok(())
        };
        check().map_err(|error| self.broken(error))?;
        found.bad_manifests += broken.len() as u64;
        found.problems.append(&mut broken);
        Ok(())
    }

    fn scrub_tags(&self, found: &mut Found) -> Result<()> {
        let read = self.read()?;
        let mut check = || -> Result<(), redb::Error> {
            let (tags, manifests) = (read.open_table(TAGS)?, read.open_table(MANIFESTS)?);
            for entry in tags.iter()? {
                let (key, value) = entry?;
                let ((repo, tag), (digest, _)) = (key.value(), value.value());
                if manifests.get((repo, digest))?.is_none() {
                    found.problems.push(format!("tag {repo}:{tag}: {digest} is not there"));
                }
            }
            Ok(())
        };
        check().map_err(|error| self.broken(error))
    }
}
