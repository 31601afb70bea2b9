//! Manifests, tags, referrers and views.

use serde_json::json;

use super::{IMAGE, INDEX, bytes, fails, image, name, push, put, tag, tagged};
use crate::{Digest, Error, Links, Reference, Store};

pub(super) fn exact(store: &dyn Store) {
    let repo = name("a/b");
    // Whatever it is, byte for byte.
    for (media_type, content) in
        [(IMAGE, &b"{ \"schemaVersion\":2 }\n"[..]), ("text/x-strange+thing", b"\x00\xff no JSON")]
    {
        let digest = Digest::of(content);
        let links = Links::default();
        store.put_manifest(&repo, &digest, media_type, content, &links, &[tag("v1")]).unwrap();
        for reference in [Reference::Digest(digest.clone()), tagged("v1")] {
            let found = store.manifest(&repo, &reference).unwrap();
            assert_eq!((&found.digest, found.media_type.as_str()), (&digest, media_type));
            assert_eq!(found.bytes, content);
        }
    }
    let none = Reference::Digest(Digest::of(b"none"));
    fails!(store.manifest(&repo, &none), Error::ManifestUnknown { .. });
    fails!(store.manifest(&repo, &tagged("none")), Error::ManifestUnknown { .. });
    fails!(store.manifest(&name("other"), &tagged("v1")), Error::ManifestUnknown { .. });
}

pub(super) fn tags_move(store: &dyn Store) {
    let repo = name("a/b");
    let (one, _) = push(store, &repo, &image(&[]), &["latest", "v1"]);
    let mut second = image(&[]);
    second["annotations"] = json!({ "number": "2" });
    let (two, _) = push(store, &repo, &second, &["latest", "v2"]);
    for (text, digest) in [("latest", &two), ("v1", &one), ("v2", &two)] {
        assert_eq!(store.manifest(&repo, &tagged(text)).unwrap().digest, *digest, "{text}");
    }
    // And back, by pushing the same again.
    push(store, &repo, &image(&[]), &["latest"]);
    assert_eq!(store.manifest(&repo, &tagged("latest")).unwrap().digest, one);
    assert_eq!(store.manifests(&repo, None, 10).unwrap().items.len(), 2);
}

pub(super) fn lacking(store: &dyn Store) {
    let repo = name("a/b");
    let here = put(store, &repo, b"here");
    let absent = Digest::of(b"absent");
    let manifest = image(&[&here, &absent]);
    let (digest, lacks) = push(store, &repo, &manifest, &["v1"]);
    assert_eq!(lacks, vec![absent.clone()]);
    assert_eq!(store.manifest(&repo, &tagged("v1")).unwrap().digest, digest);
    fails!(store.stat_blob(&repo, &absent), Error::BlobUnknown { .. });
    // Another repository's does not count; this one's does.
    put(store, &name("other"), b"absent");
    assert_eq!(push(store, &repo, &manifest, &[]).1, vec![absent.clone()]);
    put(store, &repo, b"absent");
    assert!(push(store, &repo, &manifest, &[]).1.is_empty());
    fails!(store.delete_blob(&repo, &absent), Error::BlobInUse { .. });
    let child = json!({ "mediaType": IMAGE, "digest": digest.to_string(), "size": 1 });
    let gone = json!({ "mediaType": IMAGE, "digest": absent.to_string(), "size": 1 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child, gone] });
    assert_eq!(push(store, &repo, &index, &["all"]).1, [absent], "a blob is no manifest");
}

pub(super) fn deleted(store: &dyn Store) {
    let repo = name("a/b");
    let blob = put(store, &repo, b"content");
    let (digest, _) = push(store, &repo, &image(&[&blob]), &["v1", "v2"]);
    let subject = json!({ "mediaType": IMAGE, "digest": digest.to_string(), "size": 1 });
    let mut about = image(&[]);
    about["subject"] = subject;
    let (referrer, _) = push(store, &repo, &about, &[]);
    let (kept, _) = push(store, &repo, &image(&[]), &["v3"]);
    store.delete_manifest(&repo, &digest).unwrap();
    for reference in [tagged("v1"), tagged("v2"), Reference::Digest(digest.clone())] {
        fails!(store.manifest(&repo, &reference), Error::ManifestUnknown { .. });
    }
    let referrer = Reference::Digest(referrer);
    fails!(store.manifest(&repo, &referrer), Error::ManifestUnknown { .. });
    fails!(store.delete_manifest(&repo, &digest), Error::ManifestUnknown { .. });
    assert_eq!(store.manifest(&repo, &tagged("v3")).unwrap().digest, kept);
    // Its blob is nobody's any more, but still there for a manifest to come.
    assert_eq!(bytes(store, &repo, &blob), b"content");
    store.delete_blob(&repo, &blob).unwrap();
}

pub(super) fn tag_deleted(store: &dyn Store) {
    let repo = name("a/b");
    let (digest, _) = push(store, &repo, &image(&[]), &["v1", "v2"]);
    store.delete_tag(&repo, &tag("v1")).unwrap();
    fails!(store.delete_tag(&repo, &tag("v1")), Error::ManifestUnknown { .. });
    fails!(store.manifest(&repo, &tagged("v1")), Error::ManifestUnknown { .. });
    assert_eq!(store.manifest(&repo, &tagged("v2")).unwrap().digest, digest);
    store.delete_tag(&repo, &tag("v2")).unwrap();
    assert!(store.manifest(&repo, &Reference::Digest(digest)).is_ok());
}

pub(super) fn referrers(store: &dyn Store) {
    let (repo, absent) = (name("a/b"), Digest::of(b"absent"));
    assert!(store.referrers(&repo, &absent).unwrap().is_empty());
    let subject = json!({ "mediaType": IMAGE, "digest": absent.to_string(), "size": 1 });
    let mut digests = Vec::new();
    for kind in ["x/report", "x/recipe", "x/signature"] {
        let mut about = image(&[]);
        about["subject"] = subject.clone();
        about["artifactType"] = json!(kind);
        about["annotations"] = json!({ "kind": kind });
        digests.push(push(store, &repo, &about, &[]).0);
    }
    // Without a type of its own: that of its config.
    let mut plain = image(&[]);
    plain["subject"] = subject;
    plain["config"] = json!({ "mediaType": "x/config", "digest": absent.to_string(), "size": 6 });
    digests.push(push(store, &repo, &plain, &[]).0);
    let found = store.referrers(&repo, &absent).unwrap();
    let order: Vec<Digest> = found.iter().map(|it| it.descriptor.digest.clone()).collect();
    digests.sort();
    assert_eq!(order, digests);
    for referrer in &found {
        let kind = referrer.artifact_type.as_deref().unwrap();
        assert_eq!(referrer.descriptor.media_type, IMAGE);
        let size = store.manifest(&repo, &Reference::Digest(referrer.descriptor.digest.clone()));
        assert_eq!(referrer.descriptor.size, size.unwrap().bytes.len() as u64);
        let annotated = referrer.annotations.get("kind").map(String::as_str);
        assert_eq!(annotated, (kind != "x/config").then_some(kind));
    }
    assert!(store.referrers(&name("other"), &absent).unwrap().is_empty());
    store.delete_manifest(&repo, &digests[0]).unwrap();
    assert_eq!(store.referrers(&repo, &absent).unwrap().len(), 3);
}

pub(super) fn views(store: &dyn Store) {
    let repo = name("a/b");
    let blob = put(store, &repo, b"a layer of another protocol");
    let (digest, _) = push(store, &repo, &image(&[]), &["v1"]);
    assert_eq!(store.view(&repo, &digest, "ollama").unwrap(), None);
    store.put_view(&repo, &digest, "ollama", b"one", std::slice::from_ref(&blob)).unwrap();
    store.put_view(&repo, &digest, "facts", b"two", &[]).unwrap();
    assert_eq!(store.view(&repo, &digest, "ollama").unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(store.view(&repo, &digest, "facts").unwrap().as_deref(), Some(&b"two"[..]));
    fails!(store.delete_blob(&repo, &blob), Error::BlobInUse { .. });
    store.delete_manifest(&repo, &digest).unwrap();
    assert_eq!(store.view(&repo, &digest, "ollama").unwrap(), None);
    store.delete_blob(&repo, &blob).unwrap();
}
