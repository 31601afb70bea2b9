//! What manifests name that their repository does not have: on purpose, so that a scrub can tell it from what is lost.
//!
//! A manifest's record says what it lacks. What arrives later is taken off, and a manifest of an index that is deleted
//! comes on again; blobs in use cannot be deleted.

use std::collections::BTreeSet;

use redb::{ReadableTable, WriteTransaction};

use super::Inner;
use crate::{
    Digest, Links, Name, Result,
    db::{HELD, MANIFESTS, Record, USES},
};

impl Inner {
    /// What a manifest about to be stored would lack.
    pub(super) fn lacking(
        &self,
        write: &WriteTransaction,
        repo: &Name,
        links: &Links,
    ) -> Result<Vec<Digest>> {
        let find = || -> Result<BTreeSet<Digest>, redb::Error> {
            let (held, manifests) = (write.open_table(HELD)?, write.open_table(MANIFESTS)?);
            let mut lacking = BTreeSet::new();
            for blob in &links.blobs {
                if held.get((repo.as_str(), blob.digest.to_string().as_str()))?.is_none() {
                    lacking.insert(blob.digest.clone());
                }
            }
            for manifest in &links.manifests {
                if manifests.get((repo.as_str(), manifest.digest.to_string().as_str()))?.is_none() {
                    lacking.insert(manifest.digest.clone());
                }
            }
            Ok(lacking)
        };
        Ok(find().map_err(|error| self.broken(error))?.into_iter().collect())
    }

    /// A blob that a repository did not have is there now.
    pub(super) fn blob_arrived(
        &self,
        write: &WriteTransaction,
        repo: &str,
        it: &str,
    ) -> Result<()> {
        // What is named as a manifest too may be lacking still.
        let found = |record: &Record| !record.manifests.iter().any(|named| named == it);
        self.of_users(write, repo, it, |record| {
            if found(record) {
                record.lacking.retain(|lacking| lacking != it);
            }
        })
    }

    /// A manifest that a repository did not have is there now.
    pub(super) fn manifest_arrived(
        &self,
        write: &WriteTransaction,
        repo: &str,
        it: &str,
    ) -> Result<()> {
        let found = |record: &Record| !record.blobs.iter().any(|named| named == it);
        self.of_users(write, repo, it, |record| {
            if found(record) {
                record.lacking.retain(|lacking| lacking != it);
            }
        })
    }

    /// A manifest of a repository is deleted.
    pub(super) fn manifest_went(
        &self,
        write: &WriteTransaction,
        repo: &str,
        it: &str,
    ) -> Result<()> {
        self.of_users(write, repo, it, |record| {
            if record.manifests.iter().any(|named| named == it) {
                record.lacking.push(it.to_owned());
            }
        })
    }

    /// Changes what is noted of the manifests that name something.
    fn of_users(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
        change: impl Fn(&mut Record),
    ) -> Result<()> {
        let find = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let (uses, manifests) = (write.open_table(USES)?, write.open_table(MANIFESTS)?);
            let mut users = Vec::new();
            for entry in uses.range((repo, digest, "")..)? {
                let entry = entry?;
                let (of, used, user) = entry.0.value();
                if of != repo || used != digest {
                    break;
                }
                if let Some(record) = manifests.get((repo, user))? {
                    users.push((user.to_owned(), record.value().to_vec()));
                }
            }
            Ok(users)
        };
        for (user, record) in find().map_err(|error| self.broken(error))? {
            let mut record: Record = self.decode(&record)?;
            let before = record.lacking.len();
            change(&mut record);
            if record.lacking.len() == before {
                continue;
            }
            let encoded = self.encode(&record)?;
            let put = || -> Result<(), redb::Error> {
                write.open_table(MANIFESTS)?.insert((repo, user.as_str()), encoded.as_slice())?;
                Ok(())
            };
            put().map_err(|error| self.broken(error))?;
        }
        Ok(())
    }
}
