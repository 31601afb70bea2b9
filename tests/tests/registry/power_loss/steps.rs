//! What a history asks of the store, and what of it follows for the model.

use std::collections::BTreeSet;

use mdl_store::{
    Algorithm, Descriptor, Digest, Error, Limits, Links, Maintain as _, Name, Result as Stored,
    Store as _, Tag, UploadId, UploadStatus,
};
use serde_json::{Value, json};

use super::{
    history::{History, REPOS},
    model::{Held, Manifest, Model, Upload},
};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl History {
    pub(super) fn step(&mut self) -> Result<(), String> {
        let name: Name = self.rng.pick(&REPOS).unwrap().parse().unwrap();
        match self.rng.below(24) {
            0..=3 => self.put_blob(&name),
            4 => self.delete_blob(&name),
            5 => self.mount(&name),
            6 => self.stat(&name),
            7..=8 => self.begin(&name),
            9..=12 => self.write_upload(),
            13..=14 => self.finish(),
            15..=18 => self.put_manifest(&name),
            19 => self.delete_manifest(&name),
            20 => self.delete_tag(&name),
            21 => self.put_view(&name),
            22 => self.collect(),
            _ => {
                let seconds = self.rng.below(150);
                self.log.push(format!("{seconds} s pass"));
                self.world.advance(seconds);
                if self.rng.once_in(2) { self.disturb() } else { Ok(()) }
            }
        }
    }

    fn any_blob(&mut self) -> (Digest, usize) {
        let all: Vec<_> = self.digests.iter().map(|(digest, at)| (digest.clone(), *at)).collect();
        // Mostly SHA-256, as in life.
        loop {
            let one = self.rng.pick(&all).unwrap().clone();
            if one.0.algorithm() == Algorithm::Sha256 || self.rng.once_in(4) {
                return one;
            }
        }
    }

    fn lease(&self) -> Held {
        Held { until: self.now() + self.keep.lease, seen: 0, sure: true }
    }

    fn put_blob(&mut self, name: &Name) -> Result<(), String> {
        let (digest, at) = self.any_blob();
        self.log.push(format!("put blob {name} {digest}"));
        let result = self.store().put_blob(name, &digest, &self.palette[at]);
        let mut after = self.model.clone();
        let lease = self.lease();
        after.repos.get_mut(name).unwrap().blobs.insert(digest, lease);
        self.done(result, Vec::new(), after).map(drop)
    }

    fn delete_blob(&mut self, name: &Name) -> Result<(), String> {
        let (digest, _) = self.any_blob();
        self.log.push(format!("delete blob {name} {digest}"));
        let result = self.store().delete_blob(name, &digest);
        let mut after = self.model.clone();
        let repo = after.repos.get_mut(name).unwrap();
        if repo.uses(&digest) {
            return self.refused(result, after, |it| matches!(it, Error::BlobInUse { .. }));
        }
        if repo.blobs.remove(&digest).is_none() {
            return self.refused(result, after, |it| matches!(it, Error::BlobUnknown { .. }));
        }
        self.done(result, Vec::new(), after).map(drop)
    }

    fn mount(&mut self, to: &Name) -> Result<(), String> {
        let (digest, _) = self.any_blob();
        let from: Name = self.rng.pick(&REPOS).unwrap().parse().unwrap();
        self.log.push(format!("mount {digest} from {from} to {to}"));
        let result = self.store().mount_blob(&from, to, &digest);
        let mut after = self.model.clone();
        if !after.repos[&from].blobs.contains_key(&digest) {
            return self.refused(result, after, |it| matches!(it, Error::BlobUnknown { .. }));
        }
        let lease = self.lease();
        after.repos.get_mut(to).unwrap().blobs.insert(digest, lease);
        self.done(result, Vec::new(), after).map(drop)
    }

    fn stat(&mut self, name: &Name) -> Result<(), String> {
        let (digest, _) = self.any_blob();
        self.log.push(format!("stat {name} {digest}"));
        let result = self.store().stat_blob(name, &digest);
        let seen = self.now() + self.keep.lease;
        let mut after = self.model.clone();
        match after.repos.get_mut(name).unwrap().blobs.get_mut(&digest) {
            Some(held) => held.seen = seen,
            None => {
                return self.refused(result, after, |it| matches!(it, Error::BlobUnknown { .. }));
            }
        }
        self.done(result, Vec::new(), after).map(drop)
    }

    fn begin(&mut self, name: &Name) -> Result<(), String> {
        self.log.push(format!("begin an upload to {name}"));
        let algorithm = if self.rng.once_in(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let result = self.store().begin_upload(name, algorithm);
        let mut after = self.model.clone();
        if let Ok(id) = &result {
            let content = self.rng.below(self.palette.len() as u64) as usize;
            let (touched, at) = (self.now(), vec![(0, 0, 0)]);
            let upload = Upload { repo: name.clone(), content, touched, at, doubted: false };
            after.uploads.insert(id.0.clone(), upload);
        }
        self.done(result, Vec::new(), after).map(drop)
    }

    fn any_upload(&mut self) -> Option<(String, Upload)> {
        let all: Vec<_> = self.model.uploads.clone().into_iter().collect();
        self.rng.pick(&all).cloned()
    }

    fn write_upload(&mut self) -> Result<(), String> {
        let Some((id, upload)) = self.any_upload() else { return Ok(()) };
        let (offset, _, last) = upload.at[0];
        let content = self.palette[upload.content].clone();
        let at = if self.rng.once_in(4) { last } else { offset };
        let len = match self.rng.below(3) {
            0 => content.len() as u64 - at,
            _ => self.rng.below(content.len() as u64 - at + 1),
        };
        self.log.push(format!("write {len} to {id} at {at} (it holds {offset}, last {last})"));
        let mut after = self.model.clone();
        if self.rng.once_in(20) {
            let result = self.store().write_upload(&upload.repo, &UploadId(id), offset + 1);
            return self.refused(result, after, |it| matches!(it, Error::RangeMismatch { .. }));
        }
        let bytes = content[at as usize..(at + len) as usize].to_vec();
        let result = self.send(&upload.repo, &UploadId(id.clone()), at, &bytes);
        let mut between = after.clone();
        let doubted = between.uploads.get_mut(&id).unwrap();
        doubted.at.push((at, at, last));
        doubted.at.push((at, at + len, at));
        let upload = after.uploads.get_mut(&id).unwrap();
        upload.at = vec![(at + len, at + len, at)];
        upload.touched = self.now();
        let status = self.done(result, vec![between], after)?;
        let expected = UploadStatus { offset: at + len, last_chunk: at };
        match status {
            Some(Some(status)) if status != expected => Err(format!("answered {status:?}")),
            _ => Ok(()),
        }
    }

    /// Sends a chunk in some pieces; what the close says, or nothing where the writer is dropped.
    fn send(
        &mut self,
        repo: &Name,
        id: &UploadId,
        at: u64,
        bytes: &[u8],
    ) -> Stored<Option<UploadStatus>> {
        let cut = self.rng.below(bytes.len() as u64 + 1) as usize;
        let closes = self.full || !self.rng.once_in(8);
        let mut writer = self.store().write_upload(repo, id, at)?;
        writer.write(&bytes[..cut])?;
        writer.write(&bytes[cut..])?;
        if closes {
            return writer.close().map(Some);
        }
        drop(writer);
        // A dropped writer tells no error; what is there tells it.
        let status = self.store().upload(repo, id)?;
        let done = (status.offset, status.last_chunk) == (at + bytes.len() as u64, at);
        if done && !self.disk.is_out() {
            return Ok(None);
        }
        // For want of power, then.
        Err(Error::NoSpace(id.0.clone().into()))
    }

    fn finish(&mut self) -> Result<(), String> {
        let Some((id, upload)) = self.any_upload() else { return Ok(()) };
        let content = self.palette[upload.content].clone();
        let algorithm = if self.rng.once_in(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::with(algorithm, &content);
        let whole = upload.at[0].0 == content.len() as u64;
        if !whole && !self.rng.once_in(6) {
            // Usually the rest comes first.
            return Ok(());
        }
        self.log.push(format!("finish {id} as {digest}"));
        let result = self.store().finish_upload(&upload.repo, &UploadId(id.clone()), &digest);
        let mut after = self.model.clone();
        after.uploads.remove(&id);
        if !whole {
            return self.refused(result, after, |it| matches!(it, Error::DigestMismatch { .. }));
        }
        let lease = self.lease();
        after.repos.get_mut(&upload.repo).unwrap().blobs.insert(digest, lease);
        self.done(result, Vec::new(), after).map(drop)
    }

    fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Value {
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
    }

    /// The text of a manifest of some kind, with its media type.
    fn any_manifest(&mut self, name: &Name) -> (&'static str, Vec<u8>) {
        let known: Vec<Digest> = self.model.repos[name].manifests.keys().cloned().collect();
        let mut text = json!({ "schemaVersion": 2 });
        if self.rng.once_in(4) {
            let mut items = Vec::new();
            for _ in 0..=self.rng.below(2) {
                let digest = match self.rng.pick(&known) {
                    Some(digest) if !self.rng.once_in(6) => digest.clone(),
                    _ => Digest::of(&[self.rng.below(9) as u8]),
                };
                items.push(Self::descriptor(IMAGE, &digest, 1));
            }
            text["manifests"] = items.into();
            return (INDEX, text.to_string().into_bytes());
        }
        let held: Vec<Digest> = self.model.repos[name].blobs.keys().cloned().collect();
        let mut items = Vec::new();
        for _ in 0..=self.rng.below(3) {
            let digest = match self.rng.pick(&held) {
                Some(digest) if !self.rng.once_in(8) => digest.clone(),
                _ => self.any_blob().0,
            };
            items.push(Self::descriptor("a/b", &digest, self.palette[self.digests[&digest]].len()));
        }
        text["config"] = items.pop().unwrap();
        text["layers"] = items.into();
        if self.rng.once_in(4) {
            let subject = self.rng.pick(&known).cloned().unwrap_or_else(|| Digest::of(b"none"));
            text["subject"] = Self::descriptor(IMAGE, &subject, 1);
        }
        (IMAGE, text.to_string().into_bytes())
    }

    fn put_manifest(&mut self, name: &Name) -> Result<(), String> {
        let (media_type, bytes) = self.any_manifest(name);
        let digest = Digest::of(&bytes);
        let links = Links::read(media_type, &bytes, &Limits::default()).unwrap();
        let tags = ["latest", "v1", "v2"].map(|tag| tag.parse::<Tag>().unwrap());
        let tags: Vec<Tag> = tags.into_iter().filter(|_| self.rng.once_in(3)).collect();
        self.log.push(format!("put manifest {name} {digest} as {tags:?}: {links:?}"));
        let result = self.store().put_manifest(name, &digest, media_type, &bytes, &links, &tags);
        let pushed = self.now();
        let mut after = self.model.clone();
        let repo = after.repos.get_mut(name).unwrap();
        let absent = |it: &&Descriptor| !repo.blobs.contains_key(&it.digest);
        let mut lacking: BTreeSet<Digest> =
            links.blobs.iter().filter(absent).map(|it| it.digest.clone()).collect();
        let absent = |it: &&Descriptor| !repo.manifests.contains_key(&it.digest);
        lacking.extend(links.manifests.iter().filter(absent).map(|it| it.digest.clone()));
        let views = repo.manifests.get(&digest).map(|it| it.views.clone()).unwrap_or_default();
        for tag in &tags {
            repo.tags.insert(tag.to_string(), digest.clone());
        }
        let expected: Vec<Digest> = lacking.iter().cloned().collect();
        repo.manifests.insert(digest, Manifest { bytes, links, pushed, lacking, views });
        match self.done(result, Vec::new(), after)? {
            Some(found) if found.lacking != expected => {
                Err(format!("lacks {:?}, not {expected:?}", found.lacking))
            }
            _ => Ok(()),
        }
    }

    fn some_manifest(&mut self, name: &Name) -> Option<Digest> {
        let known: Vec<Digest> = self.model.repos[name].manifests.keys().cloned().collect();
        self.rng.pick(&known).cloned()
    }

    fn delete_manifest(&mut self, name: &Name) -> Result<(), String> {
        let Some(digest) = self.some_manifest(name) else { return Ok(()) };
        self.log.push(format!("delete manifest {name} {digest}"));
        let result = self.store().delete_manifest(name, &digest);
        let mut after = self.model.clone();
        after.repos.get_mut(name).unwrap().erase(&digest);
        self.done(result, Vec::new(), after).map(drop)
    }

    fn delete_tag(&mut self, name: &Name) -> Result<(), String> {
        let tag = ["latest", "v1", "v2"][self.rng.below(3) as usize];
        self.log.push(format!("delete tag {name}:{tag}"));
        let result = self.store().delete_tag(name, &tag.parse().unwrap());
        let mut after = self.model.clone();
        if after.repos.get_mut(name).unwrap().tags.remove(tag).is_none() {
            return self.refused(result, after, |it| matches!(it, Error::ManifestUnknown { .. }));
        }
        self.done(result, Vec::new(), after).map(drop)
    }

    fn put_view(&mut self, name: &Name) -> Result<(), String> {
        let Some(digest) = self.some_manifest(name) else { return Ok(()) };
        let mut after = self.model.clone();
        let repo = after.repos.get_mut(name).unwrap();
        // A view names blobs that its maker put there before.
        let held: Vec<Digest> = repo.blobs.keys().cloned().collect();
        let blobs: Vec<Digest> = self.rng.pick(&held).cloned().into_iter().collect();
        let body = self.rng.next_u64().to_le_bytes().to_vec();
        self.log.push(format!("put a view of {name} {digest} with {blobs:?}"));
        let result = self.store().put_view(name, &digest, "kind", &body, &blobs);
        let manifest = repo.manifests.get_mut(&digest).unwrap();
        manifest.views.insert("kind".to_owned(), (body, blobs));
        self.done(result, Vec::new(), after).map(drop)
    }

    fn collect(&mut self) -> Result<(), String> {
        self.log.push("collect".to_owned());
        let result = self.store().collect(false);
        let (now, keep) = (self.now(), self.keep);
        let mut after = self.model.clone();
        let idle = |upload: &Upload| upload.touched < now.saturating_sub(keep.upload);
        after.uploads.retain(|_, upload| !idle(upload));
        if let Some(age) = keep.untagged {
            for repo in after.repos.values_mut() {
                for digest in repo.dead(now - age) {
                    repo.erase(&digest);
                }
            }
        }
        // One where it ended before the manifests went, one where it ended later.
        let mut between = [self.model.clone(), after.clone()];
        for model in &mut between {
            for (id, upload) in &self.model.uploads {
                let doubted = Upload { doubted: idle(upload), ..upload.clone() };
                model.uploads.insert(id.clone(), doubted);
            }
        }
        if now >= self.opened + keep.lease {
            for repo in after.repos.values_mut() {
                let gone = |(digest, held): &(&Digest, &Held)| {
                    held.until.max(held.seen) <= now && !repo.uses(digest)
                };
                let gone: Vec<Digest> =
                    repo.blobs.iter().filter(gone).map(|it| it.0.clone()).collect();
                repo.blobs.retain(|digest, _| !gone.contains(digest));
            }
            for model in &mut between {
                doubt_blobs(model, &after);
            }
        }
        self.done(result, between.into(), after)?;
        Ok(())
    }
}

/// Doubts the blobs that a collection takes.
fn doubt_blobs(model: &mut Model, after: &Model) {
    for (name, repo) in &mut model.repos {
        for (digest, held) in &mut repo.blobs {
            held.sure = after.repos[name].blobs.contains_key(digest);
        }
    }
}
