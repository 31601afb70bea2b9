//! A registry that demands trust: what does not satisfy its policy (a `trust.toml`) is there for those who may push to its
//! repository, so that they can sign it, and for no one else until its referrers do.
//!
//! A tag leads to what satisfies the policy under that tag, and never back to something signed earlier than what was seen
//! there. A digest leads to what satisfies the policy, to the parts of an index that does, and to what refers to either.
//! A blob is there where a manifest is that uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use mdl_artifact::trust::{Evidence, Policy, Seen, Verdict, is_bundle};
use mdl_store::{
    Descriptor, Digest, Error, Limits, Links, Name, Reference, Result, Store, StoredManifest, Tag,
    TagInfo,
};

use crate::{Config, Error as ServerError, views::derive};

/// Judgements that are kept.
const KEPT: usize = 20_000;
/// Manifests that are looked at on the way from a digest to what makes it visible.
const LOOKED_AT: usize = 1_000;
/// Tags of a page.
const TAGS: usize = 1_000;
/// Bytes of a bundle; a parsed one takes some thirty times as much.
const BUNDLE_BYTES: usize = 1 << 20;
/// Bytes of bundles that are read for one judgement.
const READ_BYTES: usize = 32 << 20;

/// What a registry demands, and what it has judged so far.
pub(crate) struct Demand {
    policy: Policy,
    judging: Mutex<()>,
    /// By repository, tag, digest, and what refers to it.
    judged: Mutex<BTreeMap<String, Judged>>,
    seen: Seen,
    times: Mutex<Times>,
}

/// What was seen of tags.
struct Times {
    /// By repository and tag: the newest time that a signature names them for.
    newest: BTreeMap<String, Timestamp>,
    /// What is not in the file yet.
    unwritten: Vec<(String, Timestamp, Digest)>,
}

/// What was found.
#[derive(Clone, Copy)]
struct Judged {
    trusted: bool,
    /// The newest time of a signature that counts, and of one that names the tag.
    signed: Option<Timestamp>,
    named: Option<Timestamp>,
}

impl Demand {
    /// What a configuration demands, if anything.
    ///
    /// # Errors
    /// [`ServerError::Config`] with what is wrong in the policy, or in what was seen.
    pub(crate) fn of(root: &Path, config: &Config) -> crate::Result<Option<Arc<Self>>> {
        let Some(trust) = &config.trust else { return Ok(None) };
        let policy = trust.read()?;
        for warning in &policy.warnings {
            tracing::warn!("{}: {warning}", trust.policy.display());
        }
        let seen = Seen::new(root);
        let newest = seen.all().map_err(|error| ServerError::Config {
            path: root.to_owned(),
            what: error.to_string(),
        })?;
        let times = Mutex::new(Times { newest, unwritten: Vec::new() });
        Ok(Some(Arc::new(Self {
            policy,
            judging: Mutex::new(()),
            judged: Mutex::default(),
            seen,
            times,
        })))
    }

    /// Whether a tag leads to a manifest for everybody who may pull. [`Demand::keep_times`] is to follow.
    pub(crate) fn shows_tag(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool> {
        if tag.is_attachment() {
            let Some(subject) = tag.subject() else { return Ok(false) };
            let is_list = links(store, repo, digest)?.is_some_and(|it| !it.manifests.is_empty());
            return Ok(self.shows(store, repo, &subject)?
                && (is_list || self.shows(store, repo, digest)?));
        }
        let found = self.judged(store, repo, Some(tag), digest)?;
        Ok(found.trusted && self.is_newest(repo, tag, digest, found))
    }

    /// Whether a manifest is there by its digest for everybody who may pull: also as something about what is.
    pub(crate) fn shows(&self, store: &dyn Store, repo: &Name, digest: &Digest) -> Result<bool> {
        self.leads_to_trust(store, repo, vec![(digest.clone(), true)])
    }

    /// Whether a manifest is there for what it is itself, or as a part of an index.
    pub(crate) fn shows_itself(
        &self,
        store: &dyn Store,
        repo: &Name,
        digest: &Digest,
    ) -> Result<bool> {
        self.leads_to_trust(store, repo, vec![(digest.clone(), false)])
    }

    /// Whether a blob is there for everybody who may pull.
    pub(crate) fn shows_blob(&self, store: &dyn Store, repo: &Name, blob: &Digest) -> Result<bool> {
        let users = store.users(repo, blob)?;
        self.leads_to_trust(store, repo, users.into_iter().map(|user| (user, true)).collect())
    }

    /// Whether one of these manifests satisfies the policy, or an index that it is part of does; or, where that is said of
    /// it, something that it refers to. An index has no parts for being about something. Those who push may tie as many
    /// knots as they like: no more than [`LOOKED_AT`] are followed.
    fn leads_to_trust(
        &self,
        store: &dyn Store,
        repo: &Name,
        mut waiting: Vec<(Digest, bool)>,
    ) -> Result<bool> {
        let mut known: BTreeSet<(Digest, bool)> = waiting.iter().cloned().collect();
        let mut looked_at = 0;
        while let Some((digest, refers)) = waiting.pop() {
            if self.judged(store, repo, None, &digest)?.trusted {
                return Ok(true);
            }
            looked_at += 1;
            if looked_at >= LOOKED_AT {
                return Ok(false);
            }
            let mut above: Vec<(Digest, bool)> =
                store.users(repo, &digest)?.into_iter().map(|user| (user, false)).collect();
            if refers && let Some(links) = links(store, repo, &digest)? {
                above.extend(links.subject.map(|it| (it.digest, true)));
            }
            waiting.extend(above.into_iter().filter(|it| known.insert(it.clone())));
        }
        Ok(false)
    }

    /// Whether a repository has a tag that everybody who may pull sees.
    pub(crate) fn shows_any(&self, store: &dyn Store, repo: &Name) -> Result<bool> {
        any_tag(store, repo, |it| {
            Ok(!it.tag.is_attachment() && self.shows_tag(store, repo, &it.tag, &it.digest)?)
        })
    }

    /// Takes notice of what was just pushed, a manifest or something about it: what its tags now lead to was seen, whether
    /// or not anybody looks.
    pub(crate) fn note(&self, store: &dyn Store, repo: &Name, digest: &Digest) -> Result<()> {
        any_tag(store, repo, |it| {
            if it.digest == *digest {
                self.shows_tag(store, repo, &it.tag, digest)?;
            }
            Ok(false)
        })?;
        self.keep_times()
    }

    /// What a manifest lacks before others see it under a tag; nothing where they do.
    pub(crate) fn lacks(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Vec<String>> {
        let _alone = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.evidence(store, repo, tag, digest)?;
        let Some((evidence, _)) = found else { return Ok(Vec::new()) };
        let mut verdict = self.policy.judge(&evidence);
        if let Some(tag) = tag {
            let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            verdict.not_older_than(times.newest.get(&key_of(repo, tag)).copied());
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
        let referring = store.referrers(repo, digest)?;
        let referring: Vec<String> =
            referring.iter().map(|it| it.descriptor.digest.to_string()).collect();
        let mark = Digest::of(referring.join(" ").as_bytes());
        let tag_text = tag.map(Tag::as_str).unwrap_or_default();
        let key = format!("{repo}:{tag_text}@{digest} {mark}");
        let kept = || self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        // One at a time: what others attached may be large.
        let _alone = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        let Some((evidence, is_whole)) = self.evidence(store, repo, tag, digest)? else {
            return Ok(Judged { trusted: false, signed: None, named: None });
        };
        let verdict: Verdict = self.policy.judge(&evidence);
        let of_tag = verdict.signers.iter().filter(|it| it.tag.as_deref() == Some(tag_text));
        let named = of_tag.filter_map(|it| it.signed.as_deref()?.parse::<Timestamp>().ok()).max();
        let found = Judged { trusted: verdict.trusted(), signed: verdict.signed, named };
        // What was not there may be there later.
        if found.trusted || is_whole {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            if judged.len() >= KEPT {
                judged.clear();
            }
            judged.insert(key, found);
        }
        Ok(found)
    }

    /// Whether nothing newer was seen for a tag. What a signature names the tag for is what was seen from now on: who may
    /// only push can neither make others believe in newer ones, nor fill the memory.
    fn is_newest(&self, repo: &Name, tag: &Tag, digest: &Digest, found: Judged) -> bool {
        let key = key_of(repo, tag);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = times.newest.get(&key).copied();
        if newest > found.signed {
            return false;
        }
        if let Some(at) = found.named.filter(|at| newest.is_none_or(|newest| newest < *at)) {
            times.newest.insert(key.clone(), at);
            times.unwritten.push((key, at, digest.clone()));
        }
        true
    }

    /// Writes down what was seen, so that it is remembered over a restart: before anybody is shown it.
    pub(crate) fn keep_times(&self) -> Result<()> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.unwritten.is_empty() {
            return Ok(());
        }
        self.seen.advance(&times.unwritten).map_err(unreadable)?;
        times.unwritten.clear();
        Ok(())
    }

    /// A manifest with what keys of the policy signed about it, and whether all was there that could tell; `None` where it
    /// is not there itself. Of the rest nothing is held: anybody who may push can attach as much of it as they like.
    fn evidence(
        &self,
        store: &dyn Store,
        repo: &Name,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Option<(Evidence, bool)>> {
        let reference = Reference::Digest(digest.clone());
        let Some(stored) = found(store.manifest(repo, &reference))? else { return Ok(None) };
        let package = derive::package(store, repo, &stored)?;
        let mut is_whole = match &package.config {
            Some(config) => store.stat_blob(repo, &config.digest).is_ok(),
            None => true,
        };
        let size = stored.bytes.len() as u64;
        let manifest = Descriptor { media_type: stored.media_type, digest: digest.clone(), size };
        let mut evidence = Evidence::new(repo.clone(), tag.cloned(), manifest, package);
        let Some(rule) = self.policy.rule_for(repo) else { return Ok(Some((evidence, true))) };
        let (mut read, mut known) = (0, BTreeSet::new());
        for referrer in store.referrers(repo, digest)? {
            if !is_bundle(referrer.artifact_type.as_deref()) || !evidence.has_room() {
                continue;
            }
            let Some(layer) = layer(store, repo, &referrer.descriptor.digest)? else { continue };
            if read > READ_BYTES || !known.insert(layer.clone()) {
                continue;
            }
            let Some(bytes) = derive::beginning(store, repo, &layer, BUNDLE_BYTES)? else {
                is_whole = false;
                continue;
            };
            read += bytes.len();
            if rule.signed(&bytes) {
                evidence.add(&referrer.descriptor.digest, &bytes);
            }
        }
        Ok(Some((evidence, is_whole)))
    }
}

/// Whether a repository has such a tag.
fn any_tag(
    store: &dyn Store,
    repo: &Name,
    is_such: impl Fn(&TagInfo) -> Result<bool>,
) -> Result<bool> {
    let mut after = None;
    loop {
        let page = match store.tags(repo, after.as_deref(), TAGS) {
            Ok(page) => page,
            Err(Error::NameUnknown(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        for it in &page.items {
            if is_such(it)? {
                return Ok(true);
            }
        }
        after = page.items.last().map(|it| it.tag.to_string());
        if !page.more {
            return Ok(false);
        }
    }
}

fn key_of(repo: &Name, tag: &Tag) -> String {
    format!("{repo}:{tag}")
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Io { what: "keep what was seen in", path: "trust-seen.json".into(), source }
}

/// What a manifest names; it was read when it was pushed.
fn links(store: &dyn Store, repo: &Name, digest: &Digest) -> Result<Option<Links>> {
    let stored = found(store.manifest(repo, &Reference::Digest(digest.clone())))?;
    let read = |it: StoredManifest| Links::read(&it.media_type, &it.bytes, &Limits::default()).ok();
    Ok(stored.and_then(read))
}

/// What a referrer holds as its first layer.
fn layer(store: &dyn Store, repo: &Name, referrer: &Digest) -> Result<Option<Digest>> {
    let stored = found(store.manifest(repo, &Reference::Digest(referrer.clone())))?;
    Ok(stored.as_ref().and_then(derive::first_layer))
}

fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::ManifestUnknown { .. } | Error::NameUnknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
