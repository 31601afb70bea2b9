//! Lists: their order, their pages.

use super::{fails, image, name, push, put};
use crate::{Digest, Error, Page, Result, Store};

/// All items by pages of `limit`.
fn all<T>(limit: usize, next: impl Fn(Option<&T>) -> Result<Page<T>>) -> Vec<T> {
    let mut items: Vec<T> = Vec::new();
    loop {
        let page = next(items.last()).unwrap();
        assert!(page.items.len() <= limit);
        assert!(page.items.len() == limit || !page.more, "a short page that goes on");
        items.extend(page.items);
        assert!(items.len() < 100, "pages without end");
        if !page.more {
            return items;
        }
    }
}

pub(super) fn tags(store: &dyn Store) {
    let repo = name("a/b");
    fails!(store.tags(&repo, None, 10), Error::NameUnknown(_));
    let mut expected = vec!["v1", "V1", "v10", "v2", "_", "a.b-c", "latest", "0"];
    for text in &expected {
        push(store, &repo, &image(&[]), &[text]);
    }
    push(store, &name("a/b2"), &image(&[]), &["other"]);
    expected.sort_unstable();
    for limit in [1, 2, 3, 8, 50] {
        let found = all(limit, |last| {
            store.tags(&repo, last.map(|it: &crate::TagInfo| it.tag.as_str()), limit)
        });
        let found: Vec<&str> = found.iter().map(|it| it.tag.as_str()).collect();
        assert_eq!(found, expected, "{limit}");
    }
    // After what is no tag, too.
    let page = store.tags(&repo, Some("v1x"), 10).unwrap();
    assert_eq!(page.items[0].tag.as_str(), "v2");
    let page = store.tags(&repo, Some("zzz"), 10).unwrap();
    assert_eq!((page.items.len(), page.more), (0, false));
}

pub(super) fn repositories(store: &dyn Store) {
    assert_eq!(store.repositories(None, 10).unwrap().items.len(), 0);
    let mut expected = vec!["a/b/c", "a", "a/b", "b", "a-b", "a.b", "zz/9"];
    for text in &expected {
        push(store, &name(text), &image(&[]), &["v1"]);
    }
    expected.sort_unstable();
    for limit in [1, 2, 7, 50] {
        let found = all(limit, |last: Option<&crate::Name>| {
            store.repositories(last.map(crate::Name::as_str), limit)
        });
        let found: Vec<&str> = found.iter().map(crate::Name::as_str).collect();
        assert_eq!(found, expected, "{limit}");
    }
}

pub(super) fn manifests(store: &dyn Store) {
    let repo = name("a/b");
    let mut expected = Vec::new();
    for number in 0..7 {
        let mut manifest = image(&[]);
        manifest["annotations"] = serde_json::json!({ "number": number.to_string() });
        expected.push(push(store, &repo, &manifest, &[]).0);
    }
    expected.sort();
    for limit in [1, 3, 7, 50] {
        let found = all(limit, |last: Option<&crate::ManifestInfo>| {
            store.manifests(&repo, last.map(|it| &it.digest), limit)
        });
        let digests: Vec<Digest> = found.iter().map(|it| it.digest.clone()).collect();
        assert_eq!(digests, expected, "{limit}");
        assert!(found.iter().all(|it| it.size > 0 && it.media_type == super::IMAGE));
    }
}

pub(super) fn whole_names(store: &dyn Store) {
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    let names = ["a", "a/a", "a/a/a", "a0", "a-a", &long];
    for (number, text) in names.iter().enumerate() {
        let repo = name(text);
        let blob = put(store, &repo, text.as_bytes());
        push(store, &repo, &image(&[&blob]), &[&format!("t{number}")]);
    }
    for (number, text) in names.iter().enumerate() {
        let tags = store.tags(&name(text), None, 10).unwrap().items;
        assert_eq!(tags.len(), 1, "{text}");
        assert_eq!(tags[0].tag.as_str(), format!("t{number}"));
        assert_eq!(store.holders(&Digest::of(text.as_bytes()), 10).unwrap(), [name(text)]);
        assert_eq!(store.manifests(&name(text), None, 10).unwrap().items.len(), 1);
    }
}
