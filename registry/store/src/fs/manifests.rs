//! Manifests, tags, referrers and views.

use std::collections::BTreeMap;

use redb::{ReadableTable, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Inner,
    rules::{Ledger, manifest_key},
};
use crate::{
    Descriptor, Digest, Error, Links, ManifestInfo, Name, Page, Pushed, Reference, Referrer,
    Result, StoredManifest, Tag, TagInfo,
    db::{CONTENT, HELD, MANIFESTS, REFERRERS, Record, TAGS, USES, VIEWS},
};

/// What redb answers.
type Asked<T> = std::result::Result<T, redb::Error>;
/// Some rows, and whether more follow.
type Listed<T> = (Vec<T>, bool);
/// A digest, its record, and the manifest's bytes.
type Found = (String, Vec<u8>, Vec<u8>);

impl Inner {
    pub(super) fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|error| self.corrupt(&error.to_string()))
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| self.corrupt(&error.to_string()))
    }

    pub(super) fn corrupt(&self, what: &str) -> Error {
        Error::Corrupt { path: self.root.join("metadata.redb"), what: what.to_owned() }
    }

    pub(super) fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        links: &Links,
        tags: &[Tag],
    ) -> Result<Pushed> {
        let now = self.now();
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        // From here on no collection removes anything: there is one writer at a time.
        let lacking = self.lacking(&write, repo, links)?;
        let digests = |of: &[Descriptor]| of.iter().map(|it| it.digest.to_string()).collect();
        let record = Record {
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            pushed: now,
            blobs: digests(&links.blobs),
            manifests: digests(&links.manifests),
            subject: links.subject.as_ref().map(|it| it.digest.to_string()),
            artifact_type: links.artifact_type.clone(),
            annotations: links.annotations.clone(),
            lacking: lacking.iter().map(Digest::to_string).collect(),
        };
        let encoded = self.encode(&record)?;
        let (name, key) = (repo.as_str(), digest.to_string());
        for tag in tags {
            self.may_move(&write, repo, tag, &key)?;
        }
        let mut put = || -> Result<(), redb::Error> {
            let mut manifests = write.open_table(MANIFESTS)?;
            if manifests.insert((name, key.as_str()), encoded.as_slice())?.is_none() {
                ledger.came(name, &manifest_key(&key), record.size);
            }
            write.open_table(CONTENT)?.insert((name, key.as_str()), bytes)?;
            let mut uses = write.open_table(USES)?;
            for used in record.blobs.iter().chain(&record.manifests) {
                uses.insert((name, used.as_str(), key.as_str()), ())?;
            }
            if let Some(subject) = &record.subject {
                write.open_table(REFERRERS)?.insert((name, subject.as_str(), key.as_str()), ())?;
            }
            let mut table = write.open_table(TAGS)?;
            for tag in tags {
                table.insert((name, tag.as_str()), (key.as_str(), now))?;
            }
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        ledger.check()?;
        self.manifest_arrived(&write, name, &key)?;
        self.commit_with(write, ledger)?;
        Ok(Pushed { lacking })
    }

    pub(super) fn manifest(&self, repo: &Name, reference: &Reference) -> Result<StoredManifest> {
        let read = self.read()?;
        let name = repo.as_str();
        let find = || -> Asked<Option<Found>> {
            let key = match reference {
                Reference::Digest(digest) => digest.to_string(),
                Reference::Tag(tag) => match read.open_table(TAGS)?.get((name, tag.as_str()))? {
                    Some(entry) => entry.value().0.to_owned(),
                    None => return Ok(None),
                },
            };
            let record = read.open_table(MANIFESTS)?.get((name, key.as_str()))?;
            let content = read.open_table(CONTENT)?.get((name, key.as_str()))?;
            let (Some(record), Some(content)) = (record, content) else { return Ok(None) };
            Ok(Some((key, record.value().to_vec(), content.value().to_vec())))
        };
        let found = find().map_err(|error| self.broken(error))?;
        let (key, record, bytes) = found.ok_or_else(|| manifest_unknown(repo, reference))?;
        let record: Record = self.decode(&record)?;
        let Record { media_type, pushed, .. } = record;
        Ok(StoredManifest { digest: key.parse()?, media_type, bytes, pushed })
    }

    pub(super) fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        let (name, key) = (repo.as_str(), digest.to_string());
        if let Some(tag) = self.fixed_tag(&write, name, &key)? {
            return self.may_go(repo, &tag);
        }
        if !self.erase(&write, &mut ledger, name, &key)? {
            return Err(manifest_unknown(repo, digest));
        }
        self.commit_with(write, ledger)
    }

    /// Takes a manifest out with its tags, views, uses, and its referrers in turn. `false` where it is not there.
    pub(super) fn erase(
        &self,
        write: &WriteTransaction,
        ledger: &mut Ledger<'_>,
        repo: &str,
        digest: &str,
    ) -> Result<bool> {
        let mut going = vec![digest.to_owned()];
        let mut any = false;
        while let Some(key) = going.pop() {
            let record =
                self.remove_record(write, repo, &key).map_err(|error| self.broken(error))?;
            let Some(record) = record else { continue };
            any = true;
            self.manifest_went(write, repo, &key)?;
            let record: Record = self.decode(&record)?;
            ledger.went(repo, &manifest_key(&key), record.size);
            let more = self.unlink_manifest(write, repo, &key, &record);
            going.extend(more.map_err(|error| self.broken(error))?);
        }
        Ok(any)
    }

    #[allow(clippy::unused_self, reason = "a step of erase")]
    fn remove_record(
        &self,
        write: &WriteTransaction,
        repo: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, redb::Error> {
        write.open_table(CONTENT)?.remove((repo, key))?;
        let mut manifests = write.open_table(MANIFESTS)?;
        let removed = manifests.remove((repo, key))?;
        Ok(removed.map(|record| record.value().to_vec()))
    }

    /// The referrers of what went.
    #[allow(clippy::unused_self, reason = "a step of erase")]
    fn unlink_manifest(
        &self,
        write: &WriteTransaction,
        repo: &str,
        key: &str,
        record: &Record,
    ) -> Result<Vec<String>, redb::Error> {
        let mut uses = write.open_table(USES)?;
        let mut views = write.open_table(VIEWS)?;
        let mut used: Vec<String> = record.blobs.iter().chain(&record.manifests).cloned().collect();
        let mut kinds = Vec::new();
        for entry in views.range((repo, key, "")..)? {
            let entry = entry?;
            let (of, manifest, kind) = entry.0.value();
            if of != repo || manifest != key {
                break;
            }
            kinds.push(kind.to_owned());
            used.extend(view_blobs(entry.1.value()));
        }
        for kind in kinds {
            views.remove((repo, key, kind.as_str()))?;
        }
        for digest in used {
            uses.remove((repo, digest.as_str(), key))?;
        }
        let mut tags = write.open_table(TAGS)?;
        let mut pointing = Vec::new();
        for entry in tags.range((repo, "")..)? {
            let entry = entry?;
            let (of, tag) = entry.0.value();
            if of != repo {
                break;
            }
            if entry.1.value().0 == key {
                pointing.push(tag.to_owned());
            }
        }
        for tag in pointing {
            tags.remove((repo, tag.as_str()))?;
        }
        let mut referrers = write.open_table(REFERRERS)?;
        if let Some(subject) = &record.subject {
            referrers.remove((repo, subject.as_str(), key))?;
        }
        let mut found = Vec::new();
        for entry in referrers.range((repo, key, "")..)? {
            let entry = entry?;
            let (of, subject, referrer) = entry.0.value();
            if of != repo || subject != key {
                break;
            }
            found.push(referrer.to_owned());
        }
        Ok(found)
    }

    /// Refuses to move a fixed tag to another manifest.
    fn may_move(&self, write: &WriteTransaction, repo: &Name, tag: &Tag, to: &str) -> Result<()> {
        let moves = || -> Asked<bool> {
            let at = write.open_table(TAGS)?;
            let at = at.get((repo.as_str(), tag.as_str()))?;
            Ok(at.is_some_and(|at| at.value().0 != to))
        };
        if moves().map_err(|error| self.broken(error))? {
            self.may_go(repo, tag.as_str())?;
        }
        Ok(())
    }

    pub(super) fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        let write = self.write()?;
        let remove = || -> Result<bool, redb::Error> {
            let mut table = write.open_table(TAGS)?;
            let was = table.remove((repo.as_str(), tag.as_str()))?.is_some();
            Ok(was)
        };
        if !remove().map_err(|error| self.broken(error))? {
            return Err(manifest_unknown(repo, tag));
        }
        // Only now: a tag that is not there is unknown, not fixed.
        self.may_go(repo, tag.as_str())?;
        self.commit(write)
    }

    pub(super) fn tags(
        &self,
        repo: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<TagInfo>> {
        let read = self.read()?;
        let name = repo.as_str();
        let list = || -> Asked<Listed<(String, String, u64)>> {
            let table = read.open_table(TAGS)?;
            let mut items = Vec::new();
            for entry in table.range((name, after.unwrap_or_default())..)? {
                let entry = entry?;
                let (of, tag) = entry.0.value();
                if of != name {
                    break;
                }
                if after.is_some_and(|after| tag <= after) {
                    continue;
                }
                if items.len() >= limit {
                    return Ok((items, true));
                }
                let (digest, updated) = entry.1.value();
                items.push((tag.to_owned(), digest.to_owned(), updated));
            }
            Ok((items, false))
        };
        let (items, more) = list().map_err(|error| self.broken(error))?;
        if items.is_empty() && !self.holds_anything(repo)? {
            return Err(Error::NameUnknown(repo.clone()));
        }
        let info = |(tag, digest, updated): (String, String, u64)| -> Result<TagInfo> {
            Ok(TagInfo { tag: tag.parse()?, digest: digest.parse()?, updated })
        };
        Ok(Page { items: items.into_iter().map(info).collect::<Result<_>>()?, more })
    }

    fn holds_anything(&self, repo: &Name) -> Result<bool> {
        let read = self.read()?;
        let name = repo.as_str();
        let any = || -> Result<bool, redb::Error> {
            let mut found = false;
            if let Some(entry) = read.open_table(MANIFESTS)?.range((name, "")..)?.next() {
                found |= entry?.0.value().0 == name;
            }
            if let Some(entry) = read.open_table(HELD)?.range((name, "")..)?.next() {
                found |= entry?.0.value().0 == name;
            }
            Ok(found)
        };
        any().map_err(|error| self.broken(error))
    }

    /// Repositories that hold a manifest, found by leaps from one to the next.
    pub(super) fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<Name>> {
        let read = self.read()?;
        let list = || -> Result<(Vec<String>, bool), redb::Error> {
            let table = read.open_table(MANIFESTS)?;
            let mut items: Vec<String> = Vec::new();
            // No name has a byte below `-` but the separator of this: the least that follows all of a repository's keys.
            let mut from = after.map(|after| format!("{after}\0")).unwrap_or_default();
            loop {
                let Some(entry) = table.range((from.as_str(), "")..)?.next() else {
                    return Ok((items, false));
                };
                let name = entry?.0.value().0.to_owned();
                if items.len() >= limit {
                    return Ok((items, true));
                }
                from = format!("{name}\0");
                items.push(name);
            }
        };
        let (items, more) = list().map_err(|error| self.broken(error))?;
        Ok(Page { items: items.iter().map(|name| name.parse()).collect::<Result<_>>()?, more })
    }

    pub(super) fn manifests(
        &self,
        repo: &Name,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ManifestInfo>> {
        let read = self.read()?;
        let (name, after) = (repo.as_str(), after.map(Digest::to_string));
        let list = || -> Asked<Listed<(String, Vec<u8>)>> {
            let table = read.open_table(MANIFESTS)?;
            let mut items = Vec::new();
            for entry in table.range((name, after.as_deref().unwrap_or_default())..)? {
                let entry = entry?;
                let (of, digest) = entry.0.value();
                if of != name {
                    break;
                }
                if after.as_deref().is_some_and(|after| digest <= after) {
                    continue;
                }
                if items.len() >= limit {
                    return Ok((items, true));
                }
                items.push((digest.to_owned(), entry.1.value().to_vec()));
            }
            Ok((items, false))
        };
        let (items, more) = list().map_err(|error| self.broken(error))?;
        let info = |(digest, record): (String, Vec<u8>)| -> Result<ManifestInfo> {
            let Record { media_type, size, pushed, .. } = self.decode(&record)?;
            Ok(ManifestInfo { digest: digest.parse()?, media_type, size, pushed })
        };
        Ok(Page { items: items.into_iter().map(info).collect::<Result<_>>()?, more })
    }

    pub(super) fn referrers(&self, repo: &Name, subject: &Digest) -> Result<Vec<Referrer>> {
        let read = self.read()?;
        let (name, key) = (repo.as_str(), subject.to_string());
        let list = || -> Result<BTreeMap<String, Vec<u8>>, redb::Error> {
            let (table, manifests) = (read.open_table(REFERRERS)?, read.open_table(MANIFESTS)?);
            let mut found = BTreeMap::new();
            for entry in table.range((name, key.as_str(), "")..)? {
                let entry = entry?;
                let (of, subject, referrer) = entry.0.value();
                if of != name || subject != key {
                    break;
                }
                if let Some(record) = manifests.get((name, referrer))? {
                    found.insert(referrer.to_owned(), record.value().to_vec());
                }
            }
            Ok(found)
        };
        let found = list().map_err(|error| self.broken(error))?;
        let referrer = |(digest, record): (String, Vec<u8>)| -> Result<Referrer> {
            let Record { media_type, size, artifact_type, annotations, .. } =
                self.decode(&record)?;
            let descriptor = Descriptor { media_type, digest: digest.parse()?, size };
            Ok(Referrer { descriptor, artifact_type, annotations })
        };
        found.into_iter().map(referrer).collect()
    }

    pub(super) fn users(&self, repo: &Name, used: &Digest) -> Result<Vec<Digest>> {
        let read = self.read()?;
        let (name, key) = (repo.as_str(), used.to_string());
        let list = || -> Asked<Vec<String>> {
            let mut found = Vec::new();
            for entry in read.open_table(USES)?.range((name, key.as_str(), "")..)? {
                let entry = entry?;
                let (of, used, user) = entry.0.value();
                if of != name || used != key {
                    break;
                }
                found.push(user.to_owned());
            }
            Ok(found)
        };
        let found = list().map_err(|error| self.broken(error))?;
        found.iter().map(|digest| digest.parse()).collect()
    }

    pub(super) fn put_view(
        &self,
        repo: &Name,
        manifest: &Digest,
        kind: &str,
        body: &[u8],
        blobs: &[Digest],
    ) -> Result<()> {
        let names: Vec<String> = blobs.iter().map(Digest::to_string).collect();
        let value = view_value(&names, body);
        let (name, key) = (repo.as_str(), manifest.to_string());
        let write = self.write()?;
        let record = || -> Asked<Option<Vec<u8>>> {
            let table = write.open_table(MANIFESTS)?;
            Ok(table.get((name, key.as_str()))?.map(|record| record.value().to_vec()))
        };
        let record = record().map_err(|error| self.broken(error))?;
        let record: Record =
            self.decode(&record.ok_or_else(|| manifest_unknown(repo, manifest))?)?;
        let put = || -> Asked<()> {
            let mut views = write.open_table(VIEWS)?;
            let before = views.insert((name, key.as_str(), kind), value.as_slice())?;
            let mut unused = before.map(|it| view_blobs(it.value())).unwrap_or_default();
            let mut used: Vec<String> =
                record.blobs.iter().chain(&record.manifests).cloned().collect();
            for entry in views.range((name, key.as_str(), "")..)? {
                let entry = entry?;
                let (of, manifest, _) = entry.0.value();
                if of != name || manifest != key {
                    break;
                }
                used.extend(view_blobs(entry.1.value()));
            }
            unused.retain(|digest| !used.contains(digest));
            let mut uses = write.open_table(USES)?;
            for digest in &unused {
                uses.remove((name, digest.as_str(), key.as_str()))?;
            }
            for digest in &names {
                uses.insert((name, digest.as_str(), key.as_str()), ())?;
            }
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        self.commit(write)
    }

    pub(super) fn view(
        &self,
        repo: &Name,
        manifest: &Digest,
        kind: &str,
    ) -> Result<Option<Vec<u8>>> {
        let read = self.read()?;
        let key = manifest.to_string();
        let find = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = read.open_table(VIEWS)?;
            let found = table.get((repo.as_str(), key.as_str(), kind))?;
            Ok(found.map(|value| view_body(value.value()).to_vec()))
        };
        find().map_err(|error| self.broken(error))
    }
}

fn manifest_unknown(repo: &Name, reference: &impl ToString) -> Error {
    Error::ManifestUnknown { repo: repo.clone(), reference: reference.to_string() }
}

/// A view as it is kept: the digests of its blobs in one line, then its body.
fn view_value(blobs: &[String], body: &[u8]) -> Vec<u8> {
    let mut value = blobs.join(" ").into_bytes();
    value.push(b'\n');
    value.extend_from_slice(body);
    value
}

fn view_body(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == b'\n').map_or(value.len(), |at| at + 1);
    value.get(end..).unwrap_or_default()
}

pub(super) fn view_blobs(value: &[u8]) -> Vec<String> {
    let line = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).split_whitespace().map(str::to_owned).collect()
}
