//! A registry that demands trust: what does not satisfy its policy (a `trust.toml`) is there for those who may push to its
//! repository, so that they can sign it, and for no one else until its referrers do.
//!
//! A tag leads to what satisfies the policy under that tag, and never back to something signed earlier than what was seen
//! there. A digest leads to what satisfies the policy, to the parts of an index that does, and to what refers to either.
//! A blob is there where a manifest is that uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use mdl_artifact::trust::{Evidence, Policy, Seen, Verdict, is_bundle};
use mdl_store::{Descriptor, Digest, Error, Limits, Links, Name, Reference, Result, Store, Tag};

use crate::{Error as ServerError, views::derive};

/// Judgements that are kept.
const KEPT: usize = 20_000;
/// Times of tags that are kept in memory; the others are in the file.
const TIMES: usize = 100_000;
/// Manifests that are looked at on the way from a digest to what makes it visible.
const LOOKED_AT: usize = 1_000;
/// Bytes of a bundle.
const BUNDLE_BYTES: usize = 4 << 20;

/// What a registry demands, and what it has judged so far.
pub(crate) struct Demand {
    policy: Policy,
    /// By repository, tag, digest, and what refers to it.
    judged: Mutex<BTreeMap<String, Judged>>,
    seen: Seen,
    /// By repository and tag: the newest time that was seen.
    newest: Mutex<BTreeMap<String, Option<Timestamp>>>,
}

/// What was found.
#[derive(Clone, Copy)]
struct Judged {
    trusted: bool,
    signed: Option<Timestamp>,
}

impl Demand {
    /// Reads the policy; what was seen is kept in the registry's folder.
    ///
    /// # Errors
    /// [`ServerError::Config`] with what is wrong in it.
    pub(crate) fn read(root: &Path, policy: &Path) -> crate::Result<Self> {
        let read = Policy::read(policy).map_err(|error| ServerError::Config {
            path: policy.to_owned(),
            what: error.to_string(),
        })?;
        for warning in &read.warnings {
            tracing::warn!("{}: {warning}", policy.display());
        }
        Ok(Self {
            policy: read,
            judged: Mutex::default(),
            seen: Seen::new(root),
            newest: Mutex::default(),
        })
    }

    /// Whether a tag leads to a manifest for everybody who may pull.
    pub(crate) fn shows_tag(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool> {
        if tag.is_attachment() {
            return match tag.subject() {
                Some(subject) => self.shows(store, repo, &subject),
                None => Ok(false),
            };
        }
        let found = self.judged(store, repo, Some(tag), digest)?;
        if !found.trusted {
            return Ok(false);
        }
        self.is_newest(repo, tag, digest, found.signed)
    }

    /// Whether a manifest is there by its digest for everybody who may pull.
    pub(crate) fn shows(&self, store: &dyn Store, repo: &Name, digest: &Digest) -> Result<bool> {
        self.leads_to_trust(store, repo, vec![digest.clone()])
    }

    /// Whether a blob is there for everybody who may pull.
    pub(crate) fn shows_blob(&self, store: &dyn Store, repo: &Name, blob: &Digest) -> Result<bool> {
        self.leads_to_trust(store, repo, store.users(repo, blob)?)
    }

    /// Whether one of these manifests satisfies the policy, or an index that one is part of, or what one refers to. Those
    /// who push may tie as many knots as they like: no more than [`LOOKED_AT`] are followed.
    fn leads_to_trust(
        &self,
        store: &dyn Store,
        repo: &Name,
        mut waiting: Vec<Digest>,
    ) -> Result<bool> {
        let mut known: BTreeSet<Digest> = waiting.iter().cloned().collect();
        let mut looked_at = 0;
        while let Some(digest) = waiting.pop() {
            if self.judged(store, repo, None, &digest)?.trusted {
                return Ok(true);
            }
            looked_at += 1;
            if looked_at >= LOOKED_AT {
                return Ok(false);
            }
            let mut above = store.users(repo, &digest)?;
            above.extend(subject(store, repo, &digest)?);
            waiting.extend(above.into_iter().filter(|it| known.insert(it.clone())));
        }
        Ok(false)
    }

    /// Whether a repository has a tag that everybody who may pull sees.
    pub(crate) fn shows_any(&self, store: &dyn Store, repo: &Name) -> Result<bool> {
        let mut after = None;
        loop {
            let page = match store.tags(repo, after.as_deref(), 100) {
                Ok(page) => page,
                Err(Error::NameUnknown(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            for it in &page.items {
                if !it.tag.is_attachment() && self.shows_tag(store, repo, &it.tag, &it.digest)? {
                    return Ok(true);
                }
            }
            after = page.items.last().map(|it| it.tag.to_string());
            if !page.more {
                return Ok(false);
            }
        }
    }

    /// What a manifest lacks before others see it under a tag; nothing where they do.
    pub(crate) fn lacks(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Vec<String>> {
        let Some(evidence) = evidence(store, repo, tag, digest)? else { return Ok(Vec::new()) };
        let mut verdict = self.policy.judge(&evidence);
        if let Some(tag) = tag {
            verdict.not_older_than(self.newest_of(repo, tag)?);
        }
        Ok(verdict.refusals().map(|it| format!("{}: {}", it.asked, it.found)).collect())
    }

    fn judged(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Judged> {
        let referring: Vec<String> = store
            .referrers(repo, digest)?
            .iter()
            .map(|it| it.descriptor.digest.to_string())
            .collect();
        let mark = Digest::of(referring.join(" ").as_bytes());
        let tag_text = tag.map(Tag::as_str).unwrap_or_default();
        let key = format!("{repo}:{tag_text}@{digest} {mark}");
        let kept = self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let Some(evidence) = evidence(store, repo, tag, digest)? else {
            return Ok(Judged { trusted: false, signed: None });
        };
        let verdict: Verdict = self.policy.judge(&evidence);
        let found = Judged { trusted: verdict.trusted(), signed: verdict.signed };
        // What could not be read may be there later.
        if found.trusted || evidence.problems.is_empty() {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            if judged.len() >= KEPT {
                judged.clear();
            }
            judged.insert(key, found);
        }
        Ok(found)
    }

    /// Whether nothing newer was seen for a tag; then this is what was.
    fn is_newest(
        &self,
        repo: &Name,
        tag: &Tag,
        digest: &Digest,
        signed: Option<Timestamp>,
    ) -> Result<bool> {
        let newest = self.newest_of(repo, tag)?;
        if newest > signed {
            return Ok(false);
        }
        if let Some(at) = signed.filter(|_| newest < signed) {
            let key = key_of(repo, tag);
            // First in the file: what others were shown is remembered over a restart.
            self.seen.keep(&key, at, digest).map_err(unreadable)?;
            self.newest.lock().unwrap_or_else(PoisonError::into_inner).insert(key, signed);
        }
        Ok(true)
    }

    fn newest_of(&self, repo: &Name, tag: &Tag) -> Result<Option<Timestamp>> {
        let key = key_of(repo, tag);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = newest.get(&key) {
            return Ok(*kept);
        }
        let read = self.seen.newest(&key).map_err(unreadable)?;
        if newest.len() >= TIMES {
            newest.clear();
        }
        newest.insert(key, read);
        Ok(read)
    }
}

fn key_of(repo: &Name, tag: &Tag) -> String {
    format!("{repo}:{tag}")
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Io { what: "keep what was seen in", path: "trust-seen.json".into(), source }
}

/// What a manifest refers to.
fn subject(store: &dyn Store, repo: &Name, digest: &Digest) -> Result<Option<Digest>> {
    let Some(stored) = found(store.manifest(repo, &Reference::Digest(digest.clone())))? else {
        return Ok(None);
    };
    // It was read when it was pushed.
    let links = Links::read(&stored.media_type, &stored.bytes, &Limits::default());
    Ok(links.ok().and_then(|links| links.subject).map(|it| it.digest))
}

/// A manifest with all that is signed about it; `None` where it is not there.
fn evidence(
    store: &dyn Store,
    repo: &Name,
    tag: Option<&Tag>,
    digest: &Digest,
) -> Result<Option<Evidence>> {
    let Some(stored) = found(store.manifest(repo, &Reference::Digest(digest.clone())))? else {
        return Ok(None);
    };
    let package = derive::package(store, repo, &stored)?;
    let size = stored.bytes.len() as u64;
    let manifest = Descriptor { media_type: stored.media_type, digest: digest.clone(), size };
    let mut evidence = Evidence::new(repo.clone(), tag.cloned(), manifest, package);
    for referrer in store.referrers(repo, digest)? {
        if !is_bundle(referrer.artifact_type.as_deref()) || !evidence.has_room() {
            continue;
        }
        let at = &referrer.descriptor.digest;
        match bundle(store, repo, at)? {
            Some(bytes) => evidence.add(at, &bytes),
            None => evidence.problems.push(format!("{at}: its bundle is not there")),
        }
    }
    Ok(Some(evidence))
}

/// What a referrer holds as its first layer.
fn bundle(store: &dyn Store, repo: &Name, referrer: &Digest) -> Result<Option<Vec<u8>>> {
    let Some(stored) = found(store.manifest(repo, &Reference::Digest(referrer.clone())))? else {
        return Ok(None);
    };
    let Some(layer) = derive::first_layer(&stored) else { return Ok(None) };
    derive::beginning(store, repo, &layer, BUNDLE_BYTES)
}

fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::ManifestUnknown { .. } | Error::NameUnknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
