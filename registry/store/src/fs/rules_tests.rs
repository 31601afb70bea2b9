//! Quotas, fixed tags, retention.

use std::collections::BTreeSet;

use super::*;
use crate::{Algorithm, Descriptor, Links, Name, Reference, Store as _, Tag, TagInfo};

fn open(root: &Path) -> FsStore {
    let keep = Keep { lease: 0, ..Keep::default() };
    FsStore::open_keeping(root, Limits::default(), keep).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn quotas(store: &FsStore, quotas: &[(&str, u64)]) {
    let quota =
        |(prefix, bytes): &(&str, u64)| Quota { prefix: (*prefix).to_owned(), bytes: *bytes };
    let rules = Rules { fixed: None, quotas: quotas.iter().map(quota).collect() };
    store.obey(rules).unwrap();
}

fn used(store: &FsStore) -> Vec<u64> {
    store.used().iter().map(|it| it.bytes).collect()
}

/// An upload of these bytes, which is given up where it fails.
fn put(store: &FsStore, repo: &str, bytes: &[u8]) -> Result<Digest> {
    let (repo, digest) = (name(repo), Digest::of(bytes));
    let id = store.begin_upload(&repo, Algorithm::Sha256)?;
    let upload = || {
        let mut writer = store.write_upload(&repo, &id, 0)?;
        writer.write(bytes)?;
        writer.close()?;
        store.finish_upload(&repo, &id, &digest)
    };
    let done = upload();
    if done.is_err() {
        store.cancel_upload(&repo, &id).unwrap();
    }
    done.map(|_| digest)
}

/// A manifest of these bytes that uses a blob and refers to a manifest.
fn tag(
    store: &FsStore,
    at: (&str, &str),
    bytes: &str,
    blob: Option<&Digest>,
    subject: Option<&Digest>,
) -> Result<Digest> {
    let digest = Digest::of(bytes.as_bytes());
    let descriptor =
        |it: &Digest| Descriptor { media_type: "a/b".to_owned(), digest: it.clone(), size: 1 };
    let links = Links {
        blobs: blob.map(descriptor).into_iter().collect(),
        subject: subject.map(descriptor),
        ..Links::default()
    };
    let tags: Vec<Tag> = if at.1.is_empty() { vec![] } else { vec![at.1.parse().unwrap()] };
    store.put_manifest(&name(at.0), &digest, "a/b", bytes.as_bytes(), &links, &tags)?;
    Ok(digest)
}

#[test]
fn what_a_quota_covers_is_counted_once_and_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = put(&store, "acme/old", b"12345").unwrap();
    quotas(&store, &[("acme", 20), ("", 1000), ("acme/small", 3)]);
    assert_eq!(used(&store), [5, 5, 0]);
    // Neither the name's beginning nor another's.
    put(&store, "acme-two/x", b"other").unwrap();
    put(&store, "acme/a/b", b"67890").unwrap();
    assert_eq!(used(&store), [10, 15, 0]);
    // What one of them holds, the others hold for nothing.
    store.mount_blob(&name("acme/old"), &name("acme"), &before).unwrap();
    put(&store, "acme/c", b"12345").unwrap();
    assert_eq!(used(&store), [10, 15, 0]);
    // Exactly all of it, and one more.
    put(&store, "acme/c", b"0123456789").unwrap();
    assert_eq!(used(&store), [20, 25, 0]);
    let full = |result: Result<Digest>| matches!(result, Err(Error::Quota { limit: 20, .. }));
    assert!(full(put(&store, "acme/c", b"x")));
    assert!(full(tag(&store, ("acme/c", "v1"), "{}", None, None)));
    assert!(matches!(put(&store, "acme/small", b"1234"), Err(Error::Quota { .. })));
    let mounted = store.mount_blob(&name("acme-two/x"), &name("acme/z"), &Digest::of(b"other"));
    assert!(matches!(mounted, Err(Error::Quota { .. })));
    assert!(matches!(
        store.begin_upload(&name("acme/c"), Algorithm::Sha256),
        Err(Error::Quota { .. })
    ));
    assert_eq!(used(&store), [20, 25, 0], "what was refused is not counted");
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
    // What a view puts there is counted, and goes with what it was made for.
    store.put_blob(&name("acme/c"), &Digest::of(b"a view"), b"a view").unwrap();
    assert_eq!(used(&store), [26, 31, 0]);
    store.delete_blob(&name("acme/c"), &Digest::of(b"a view")).unwrap();
    // It is free again when the last who holds it gives it up.
    for repo in ["acme/old", "acme"] {
        store.delete_blob(&name(repo), &before).unwrap();
        assert_eq!(used(&store), [20, 25, 0]);
    }
    store.delete_blob(&name("acme/c"), &before).unwrap();
    assert_eq!(used(&store), [15, 20, 0]);
    let manifest = tag(&store, ("acme/c", "v1"), "{ }  ", None, None).unwrap();
    assert_eq!(used(&store), [20, 25, 0]);
    store.delete_manifest(&name("acme/c"), &manifest).unwrap();
    store.collect(false).unwrap();
    assert_eq!(used(&store), [0, 0, 0]);
}

#[test]
fn an_upload_grows_no_further_than_the_quota_with_those_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    quotas(&store, &[("a", 10)]);
    let repo = name("a/b");
    let first = store.begin_upload(&repo, Algorithm::Sha256).unwrap();
    let mut writer = store.write_upload(&repo, &first, 0).unwrap();
    assert!(writer.takes(10).is_ok());
    assert!(matches!(writer.takes(11), Err(Error::Quota { .. })));
    writer.write(b"123456").unwrap();
    writer.close().unwrap();
    let second = store.begin_upload(&repo, Algorithm::Sha256).unwrap();
    let mut writer = store.write_upload(&repo, &second, 0).unwrap();
    assert!(writer.takes(4).is_ok());
    writer.write(b"12345").unwrap();
    assert!(matches!(writer.close(), Err(Error::Quota { .. })));
    // Going on with the first, its own bytes are not in its way.
    let mut writer = store.write_upload(&repo, &first, 6).unwrap();
    writer.write(b"7890").unwrap();
    writer.close().unwrap();
    store.finish_upload(&repo, &first, &Digest::of(b"1234567890")).unwrap();
    assert_eq!(used(&store), [10]);
}

#[test]
fn uploads_at_once_take_no_more_than_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    quotas(&store, &[("a", 10)]);
    let repo = name("a/b");
    let mut writers: Vec<_> = (0..4)
        .map(|_| {
            let id = store.begin_upload(&repo, Algorithm::Sha256).unwrap();
            (id.clone(), store.write_upload(&repo, &id, 0).unwrap())
        })
        .collect();
    for (_, writer) in &mut writers {
        writer.write(b"123456").unwrap();
    }
    let mut closed: Vec<_> =
        writers.into_iter().map(|(id, writer)| (id, writer.close().is_ok())).collect();
    let written: Vec<bool> = closed.iter().map(|(_, is)| *is).collect();
    assert_eq!(written, [true, false, false, false]);
    // What is given up is free again, also for those that could not go on.
    let (first, _) = closed.remove(0);
    store.cancel_upload(&repo, &first).unwrap();
    let mut writer = store.write_upload(&repo, &closed[0].0, 0).unwrap();
    writer.write(b"1234567890").unwrap();
    writer.close().unwrap();
    // And after a restart it is known what is under way.
    drop(store);
    let store = open(dir.path());
    quotas(&store, &[("a", 10)]);
    let mut writer = store.write_upload(&repo, &closed[1].0, 0).unwrap();
    assert!(matches!(writer.takes(1), Err(Error::Quota { .. })));
    writer.write(b"1").unwrap();
    assert!(matches!(writer.close(), Err(Error::Quota { .. })));
}

/// An index of one manifest, under a tag.
fn index(store: &FsStore, at: (&str, &str), bytes: &str, part: &Digest) -> Digest {
    let digest = Digest::of(bytes.as_bytes());
    let part = Descriptor { media_type: "a/b".to_owned(), digest: part.clone(), size: 1 };
    let links = Links { manifests: vec![part], ..Links::default() };
    let tag = at.1.parse().unwrap();
    store.put_manifest(&name(at.0), &digest, "a/b", bytes.as_bytes(), &links, &[tag]).unwrap();
    digest
}

#[test]
fn what_a_tag_leads_to_outlives_retention_collection_and_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { lease: 0, untagged: Some(0), ..Keep::default() };
    let store = FsStore::open_keeping(dir.path(), Limits::default(), keep).unwrap();
    fix(&store);
    let there = |repo: &str, digest: &Digest| {
        store.manifest(&name(repo), &Reference::Digest(digest.clone())).is_ok()
    };
    // The parts of what a fixed tag names.
    let part = tag(&store, ("acme/i", ""), "part", None, None).unwrap();
    let whole = index(&store, ("acme/i", "v1"), "index", &part);
    for digest in [&part, &whole] {
        let deleted = store.delete_manifest(&name("acme/i"), digest);
        assert!(matches!(deleted, Err(Error::TagFixed { .. })));
    }
    // What a tagged manifest refers to: what refers to something goes with it.
    for repo in ["ci/m", "acme/m"] {
        let base = tag(&store, (repo, "build"), "base", None, None).unwrap();
        let about = tag(&store, (repo, "vetted"), "about", None, Some(&base)).unwrap();
        let chosen = |_: &Name, tags: &[TagInfo]| -> Vec<TagInfo> {
            tags.iter().filter(|it| it.tag.as_str() == "build").cloned().collect()
        };
        store.retain(&chosen, false).unwrap();
        assert!(there(repo, &base) && there(repo, &about), "{repo}");
        store.0.collect(false).unwrap();
        assert!(there(repo, &base) && there(repo, &about), "{repo}");
        store.delete_tag(&name(repo), &"vetted".parse().unwrap()).unwrap_or_default();
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    store.collect(false).unwrap();
    let base = Digest::of(b"base");
    // `vetted` begins with a v, and so is fixed in acme.
    assert_eq!((there("ci/m", &base), there("acme/m", &base)), (false, true));
    assert!(there("acme/i", &part));
}

#[test]
fn the_books_are_as_if_counted_anew_whatever_happened() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    quotas(&store, &[("", 60), ("a", 30), ("a/x", 12)]);
    let repos = ["a", "a/x", "a/x/y", "b"];
    let mut seed = 0x9e37_79b9_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let (mut taken, mut refused) = (0, 0);
    for step in 0..600 {
        let (repo, other) = (repos[next(4)], repos[next(4)]);
        let bytes = "0123456789"[..next(10)].to_owned();
        let digest = Digest::of(bytes.as_bytes());
        let done = match next(6) {
            0 | 1 => put(&store, repo, bytes.as_bytes()).map(|_| ()),
            2 => store.mount_blob(&name(other), &name(repo), &digest),
            3 => store.delete_blob(&name(repo), &digest),
            4 => tag(&store, (repo, ["v1", "v2", ""][next(3)]), &bytes, None, None).map(|_| ()),
            _ => store.delete_manifest(&name(repo), &digest),
        };
        match done {
            Ok(()) => taken += 1,
            Err(Error::Quota { .. }) => refused += 1,
            Err(_) => {}
        }
        if step % 50 == 49 {
            let kept = used(&store);
            quotas(&store, &[("", 60), ("a", 30), ("a/x", 12)]);
            assert_eq!(kept, used(&store), "at step {step}");
            assert!(kept[0] <= 60 && kept[1] <= 30 && kept[2] <= 12, "{kept:?}");
            if next(4) == 0 {
                store.collect(false).unwrap();
            }
        }
    }
    assert!(taken > 100 && refused > 20, "{taken} {refused}");
}

fn fix(store: &FsStore) {
    let fixed = |repo: &str, tag: &str| repo.starts_with("acme/") && tag.starts_with('v');
    store.obey(Rules { fixed: Some(Arc::new(fixed)), quotas: Vec::new() }).unwrap();
}

#[test]
fn a_fixed_tag_stays_whatever_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fix(&store);
    let is_fixed = |result: Result<()>| matches!(result, Err(Error::TagFixed { .. }));
    let repo = name("acme/m");
    let first = tag(&store, ("acme/m", "v1"), "{}", None, None).unwrap();
    tag(&store, ("acme/m", "v1"), "{}", None, None).unwrap();
    tag(&store, ("acme/m", "latest"), "{}", None, None).unwrap();
    assert!(is_fixed(tag(&store, ("acme/m", "v1"), "{ }", None, None).map(|_| ())));
    assert!(
        matches!(
            store.manifest(&repo, &Reference::Digest(Digest::of(b"{ }"))),
            Err(Error::ManifestUnknown { .. })
        ),
        "nothing of it is kept"
    );
    assert!(is_fixed(store.delete_tag(&repo, &"v1".parse().unwrap())));
    assert!(is_fixed(store.delete_manifest(&repo, &first)));
    assert!(matches!(
        store.delete_tag(&repo, &"v9".parse().unwrap()),
        Err(Error::ManifestUnknown { .. })
    ));
    // Nor by way of what it refers to.
    let subject = tag(&store, ("acme/m", "latest"), "subject", None, None).unwrap();
    tag(&store, ("acme/m", "v2"), "referrer", None, Some(&subject)).unwrap();
    assert!(is_fixed(store.delete_manifest(&repo, &subject)));
    store.retain(&|_, tags| tags.to_vec(), false).unwrap();
    for text in ["v1", "v2"] {
        store.manifest(&repo, &Reference::Tag(text.parse().unwrap())).unwrap();
    }
    // Others are as free as ever.
    tag(&store, ("other", "v1"), "{}", None, None).unwrap();
    tag(&store, ("other", "v1"), "{ }", None, None).unwrap();
    store.delete_tag(&name("other"), &"v1".parse().unwrap()).unwrap();
}

#[test]
fn retention_takes_what_was_chosen_and_what_only_that_led_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let repo = name("ci/m");
    let blobs: Vec<Digest> =
        ["a", "b"].iter().map(|it| put(&store, "ci/m", it.as_bytes()).unwrap()).collect();
    let old = tag(&store, ("ci/m", "1"), "one", Some(&blobs[0]), None).unwrap();
    let twice = tag(&store, ("ci/m", "2"), "two", Some(&blobs[1]), None).unwrap();
    tag(&store, ("ci/m", "keep"), "two", Some(&blobs[1]), None).unwrap();
    let signature = tag(&store, ("ci/m", ""), "signature of one", None, Some(&old)).unwrap();
    let attached = format!("sha256-{}", old.hex());
    tag(&store, ("ci/m", &attached), "attached to one", None, None).unwrap();
    let chosen = |_: &Name, tags: &[TagInfo]| -> Vec<TagInfo> {
        assert!(tags.iter().all(|it| !it.tag.is_attachment()));
        tags.iter().filter(|it| it.tag.as_str() != "keep").cloned().collect()
    };
    let names = |gone: Vec<(Name, Vec<TagInfo>)>| -> Vec<String> {
        let tags = gone.into_iter().flat_map(|(_, tags)| tags);
        tags.map(|it| it.tag.to_string()).collect()
    };
    assert_eq!(names(store.retain(&chosen, true).unwrap()), ["1", "2"]);
    assert_eq!(store.stats().unwrap().tags, 4, "a dry run");
    assert_eq!(names(store.retain(&chosen, false).unwrap()), ["1", "2"]);
    let there: BTreeSet<Digest> =
        store.manifests(&repo, None, 10).unwrap().items.into_iter().map(|it| it.digest).collect();
    assert_eq!(there, BTreeSet::from([twice]));
    assert!(!there.contains(&signature));
    store.collect(false).unwrap();
    assert_eq!((store.stats().unwrap().blobs, store.stats().unwrap().tags), (1, 1));
    assert!(names(store.retain(&chosen, false).unwrap()).is_empty());
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
    // What was moved after it was chosen stays.
    let moved = |repo: &Name, tags: &[TagInfo]| -> Vec<TagInfo> {
        tag(&store, (repo.as_str(), "keep"), "moved", None, None).unwrap();
        tags.to_vec()
    };
    assert!(names(store.retain(&moved, false).unwrap()).is_empty());
}
