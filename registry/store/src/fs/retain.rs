//! Retention: tags that somebody chose go, and with them the manifests that nothing else leads to.

use redb::{ReadableTable, WriteTransaction};

use super::{FsStore, Inner, rules::Ledger};
use crate::{
    Digest, Name, Result, Tag, TagInfo,
    db::{MANIFESTS, TAGS, USES},
};

/// Chooses of all tags of a repository those that are to go.
pub type Choice<'a> = dyn Fn(&Name, &[TagInfo]) -> Vec<TagInfo> + 'a;

/// Tags of one page.
const PAGE: usize = 1_000;

impl FsStore {
    /// Lets the chosen tags of every repository go, but for those that are fixed or have been moved meanwhile. A manifest
    /// that so loses its last tag goes too, with what refers to it, unless an index holds it or a tag leads to what refers
    /// to it. With `dry_run` nothing goes.
    /// Gives what went, by repository.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Corrupt`](crate::Error::Corrupt); then some may be gone already.
    pub fn retain(&self, choose: &Choice<'_>, dry_run: bool) -> Result<Vec<(Name, Vec<TagInfo>)>> {
        let mut gone = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.0.repositories(after.as_deref(), PAGE)?;
            after = page.items.last().map(ToString::to_string);
            for repo in page.items {
                let went = self.0.retain_in(&repo, choose, dry_run)?;
                if !went.is_empty() {
                    gone.push((repo, went));
                }
            }
            if !page.more {
                return Ok(gone);
            }
        }
    }
}

impl Inner {
    fn retain_in(&self, repo: &Name, choose: &Choice<'_>, dry_run: bool) -> Result<Vec<TagInfo>> {
        let mut tags = self.all_tags(repo)?;
        tags.retain(|it| !it.tag.is_attachment());
        let mut chosen = choose(repo, &tags);
        let fixed = self.fixed();
        let is_fixed = |tag: &str| fixed.as_ref().is_some_and(|it| it(repo.as_str(), tag));
        chosen.retain(|it| tags.contains(it) && !is_fixed(it.tag.as_str()));
        if chosen.is_empty() || dry_run {
            return Ok(chosen);
        }
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        let removed = self.remove_tags(&write, repo.as_str(), &mut chosen);
        removed.map_err(|error| self.broken(error))?;
        for it in &chosen {
            self.erase_unled(&write, &mut ledger, repo.as_str(), it.digest.to_string())?;
        }
        self.commit_with(write, ledger)?;
        Ok(chosen)
    }

    fn all_tags(&self, repo: &Name) -> Result<Vec<TagInfo>> {
        let mut all: Vec<TagInfo> = Vec::new();
        loop {
            let after = all.last().map(|it| it.tag.to_string());
            let page = match self.tags(repo, after.as_deref(), PAGE) {
                Ok(page) => page,
                // It went since it was listed.
                Err(crate::Error::NameUnknown(_)) => return Ok(all),
                Err(error) => return Err(error),
            };
            all.extend(page.items);
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// Removes tags that are still as they were when they were chosen; the others are taken from the choice.
    #[allow(clippy::unused_self, reason = "a step of retain_in")]
    fn remove_tags(
        &self,
        write: &WriteTransaction,
        repo: &str,
        chosen: &mut Vec<TagInfo>,
    ) -> Result<(), redb::Error> {
        let mut table = write.open_table(TAGS)?;
        let mut went = Vec::new();
        for it in chosen.drain(..) {
            let key = (repo, it.tag.as_str());
            let same = table.get(key)?.is_some_and(|at| {
                let (digest, updated) = at.value();
                digest == it.digest.to_string() && updated == it.updated
            });
            if same {
                table.remove(key)?;
                went.push(it);
            }
        }
        *chosen = went;
        Ok(())
    }

    /// Erases a manifest to which neither a tag nor an index leads, nor to what refers to it. The parts of an index stay,
    /// without a tag, for a collection: a push that is under way may count on them.
    fn erase_unled(
        &self,
        write: &WriteTransaction,
        ledger: &mut Ledger<'_>,
        repo: &str,
        digest: String,
    ) -> Result<()> {
        let mut going = vec![digest];
        while let Some(key) = going.pop() {
            let found = self.unled(write, repo, &key).map_err(|error| self.broken(error))?;
            if !found {
                continue;
            }
            // What refers to it would go with it.
            let named = |tag: &str| !tag.parse::<Tag>().is_ok_and(|tag| tag.is_attachment());
            if self.tag_near(write, repo, &key, &named)?.is_some() {
                continue;
            }
            self.erase(write, ledger, repo, &key)?;
            // What was attached to it by a tag leads nowhere any more.
            let attached = self.attached(write, repo, &key).map_err(|error| self.broken(error))?;
            going.extend(attached);
        }
        Ok(())
    }

    /// Whether a manifest is there and nothing leads to it.
    #[allow(clippy::unused_self, reason = "a step of erase_unled")]
    fn unled(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
    ) -> Result<bool, redb::Error> {
        for entry in write.open_table(TAGS)?.range((repo, "")..)? {
            let entry = entry?;
            if entry.0.value().0 != repo {
                break;
            }
            if entry.1.value().0 == digest {
                return Ok(false);
            }
        }
        if let Some(entry) = write.open_table(USES)?.range((repo, digest, "")..)?.next() {
            let entry = entry?;
            let (of, used, _) = entry.0.value();
            if of == repo && used == digest {
                return Ok(false);
            }
        }
        let manifests = write.open_table(MANIFESTS)?;
        let is_there = manifests.get((repo, digest))?.is_some();
        Ok(is_there)
    }

    /// Takes the tags by which something is attached to a manifest; gives where they pointed.
    #[allow(clippy::unused_self, reason = "a step of erase_unled")]
    fn attached(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
    ) -> Result<Vec<String>, redb::Error> {
        let Ok(subject) = digest.parse::<Digest>() else { return Ok(Vec::new()) };
        let first = format!("{}-", subject.algorithm().name());
        let mut table = write.open_table(TAGS)?;
        let mut found = Vec::new();
        for entry in table.range((repo, first.as_str())..)? {
            let entry = entry?;
            let (of, tag) = entry.0.value();
            if of != repo || !tag.starts_with(&first) {
                break;
            }
            if tag.parse::<Tag>().is_ok_and(|tag| tag.is_attached_to(&subject)) {
                found.push((tag.to_owned(), entry.1.value().0.to_owned()));
            }
        }
        let mut at = Vec::new();
        for (tag, digest) in found {
            table.remove((repo, tag.as_str()))?;
            at.push(digest);
        }
        Ok(at)
    }
}
