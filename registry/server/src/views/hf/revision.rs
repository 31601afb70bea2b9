//! Revisions: what branches, tags and commits of a Git repository are here.
//!
//! A commit is a manifest, named by the first 40 hex digits of its digest. A branch is a tag.

use mdl_store::{Digest, TagInfo};

/// Hex digits of a commit's name.
const COMMIT_HEX: usize = 40;

/// Fewest hex digits of an abbreviated commit.
const SHORTEST: usize = 7;

/// The commit that stands for a manifest.
pub(crate) fn commit_of(digest: &Digest) -> String {
    digest.hex().chars().take(COMMIT_HEX).collect()
}

/// The tag that `main` means: itself, else `latest`, else the newest.
pub(crate) fn main_of(tags: &[TagInfo]) -> Option<&TagInfo> {
    let named = |name: &str| tags.iter().find(|info| info.tag.as_str() == name);
    let newest = || {
        let models = tags.iter().filter(|info| !info.tag.is_attachment());
        models.max_by(|a, b| (a.updated, &a.tag).cmp(&(b.updated, &b.tag)))
    };
    named("main").or_else(|| named("latest")).or_else(newest)
}

/// What a revision's text may mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// A tag's manifest.
    Tagged(&'a TagInfo),
    /// The manifests whose commits begin so are to be looked through.
    Commit(String),
    /// Nothing.
    Nothing,
}

/// Reads a revision: a tag, `main`, or a commit, whole or abbreviated.
pub(crate) fn meaning<'a>(revision: &str, tags: &'a [TagInfo]) -> Meaning<'a> {
    let revision = revision.strip_prefix("refs/heads/").unwrap_or(revision);
    let revision = revision.strip_prefix("refs/tags/").unwrap_or(revision);
    let is_model = |info: &&TagInfo| !info.tag.is_attachment() && info.tag.as_str() == revision;
    if let Some(info) = tags.iter().find(is_model) {
        return Meaning::Tagged(info);
    }
    if revision == "main" {
        return main_of(tags).map_or(Meaning::Nothing, Meaning::Tagged);
    }
    let hex = revision.to_ascii_lowercase();
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (SHORTEST..=COMMIT_HEX).contains(&hex.len()) {
        // Of the tags' manifests one may be it already.
        return tags
            .iter()
            .find(|info| !info.tag.is_attachment() && info.digest.hex().starts_with(&hex))
            .map_or(Meaning::Commit(hex), Meaning::Tagged);
    }
    Meaning::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, content: &[u8], updated: u64) -> TagInfo {
        TagInfo { tag: name.parse().unwrap(), digest: Digest::of(content), updated }
    }

    #[test]
    fn main_is_main_then_latest_then_the_newest() {
        let hex = "a".repeat(64);
        let mut tags = vec![tag("q4", b"4", 10), tag("q8", b"8", 20)];
        tags.push(tag(&format!("sha256-{hex}.sig"), b"s", 99));
        tags.push(tag(&format!("sha256-{hex}"), b"s", 99));
        let name = |tags: &[TagInfo]| main_of(tags).map(|info| info.tag.to_string());
        assert_eq!(name(&tags).as_deref(), Some("q8"));
        tags.push(tag("latest", b"l", 5));
        assert_eq!(name(&tags).as_deref(), Some("latest"));
        tags.push(tag("main", b"m", 1));
        assert_eq!(name(&tags).as_deref(), Some("main"));
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn revisions_are_tags_main_or_commits() {
        let tags = [tag("q4", b"4", 10), tag("q8", b"8", 20), tag("abcdef0", b"x", 1)];
        let tagged = |revision: &str| match meaning(revision, &tags) {
            Meaning::Tagged(info) => Some(info.tag.to_string()),
            _ => None,
        };
        assert_eq!(tagged("q4").as_deref(), Some("q4"));
        assert_eq!(tagged("refs/heads/q4").as_deref(), Some("q4"));
        assert_eq!(tagged("main").as_deref(), Some("q8"));
        assert_eq!(tagged("abcdef0").as_deref(), Some("abcdef0"));
        let commit = commit_of(&Digest::of(b"4"));
        assert_eq!(commit.len(), 40);
        assert_eq!(tagged(&commit).as_deref(), Some("q4"));
        assert_eq!(tagged(&commit[..7].to_uppercase()).as_deref(), Some("q4"));
        let elsewhere = commit_of(&Digest::of(b"untagged"));
        assert_eq!(meaning(&elsewhere, &tags), Meaning::Commit(elsewhere.clone()));
        for nothing in ["", "Q4", "main2", "abcde", "../x", &"a".repeat(41), "refs/pr/1"] {
            assert_eq!(meaning(nothing, &tags), Meaning::Nothing, "{nothing}");
        }
        assert_eq!(meaning("main", &[]), Meaning::Nothing);
    }
}
