//! Blobs: reading, holding, mounting, deleting.

use super::{bytes, fails, image, name, push, put};
use crate::{Digest, Error, Store};

pub(super) fn read(store: &dyn Store) {
    let repo = name("a/b");
    let long: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    for content in [&b""[..], b"x", b"hello", &long] {
        let digest = put(store, &repo, content);
        assert_eq!(store.stat_blob(&repo, &digest).unwrap(), content.len() as u64);
        assert_eq!(bytes(store, &repo, &digest), content);
        // Twice is as once.
        put(store, &repo, content);
    }
    let reader = store.open_blob(&repo, &Digest::of(b"hello")).unwrap();
    let mut out = [0; 3];
    assert_eq!(reader.read_at(1, &mut out).unwrap(), 3);
    assert_eq!(&out, b"ell");
    assert_eq!(reader.read_at(4, &mut out).unwrap(), 1);
    for beyond in [5, 6, u64::MAX / 2] {
        assert_eq!(reader.read_at(beyond, &mut out).unwrap(), 0, "{beyond}");
    }
    if let Some(path) = reader.path() {
        assert_eq!(std::fs::read(path).unwrap(), b"hello");
    }
    let unknown = Digest::of(b"none");
    fails!(store.stat_blob(&repo, &unknown), Error::BlobUnknown { .. });
    fails!(store.open_blob(&repo, &unknown), Error::BlobUnknown { .. });
    fails!(store.delete_blob(&repo, &unknown), Error::BlobUnknown { .. });
}

pub(super) fn wrong_digest(store: &dyn Store) {
    let (repo, stated) = (name("a/b"), Digest::of(b"stated"));
    fails!(store.put_blob(&repo, &stated, b"other"), Error::DigestMismatch { .. });
    fails!(store.stat_blob(&repo, &stated), Error::BlobUnknown { .. });
    fails!(store.stat_blob(&repo, &Digest::of(b"other")), Error::BlobUnknown { .. });
}

pub(super) fn per_repository(store: &dyn Store) {
    let (one, other) = (name("one"), name("other"));
    let digest = put(store, &one, b"content");
    fails!(store.stat_blob(&other, &digest), Error::BlobUnknown { .. });
    fails!(store.open_blob(&other, &digest), Error::BlobUnknown { .. });
    put(store, &other, b"content");
    store.delete_blob(&one, &digest).unwrap();
    assert_eq!(bytes(store, &other, &digest), b"content");
}

pub(super) fn mounted_and_deleted(store: &dyn Store) {
    let (a, b, c) = (name("a"), name("b"), name("c"));
    let digest = put(store, &b, b"content");
    store.mount_blob(&b, &c, &digest).unwrap();
    store.mount_blob(&c, &a, &digest).unwrap();
    // Again, and onto itself: nothing changes.
    store.mount_blob(&b, &c, &digest).unwrap();
    store.mount_blob(&a, &a, &digest).unwrap();
    assert_eq!(store.holders(&digest, 10).unwrap(), [a.clone(), b.clone(), c.clone()]);
    assert_eq!(store.holders(&digest, 2).unwrap(), [a.clone(), b.clone()]);
    store.delete_blob(&b, &digest).unwrap();
    assert_eq!(store.holders(&digest, 10).unwrap(), [a.clone(), c.clone()]);
    fails!(store.mount_blob(&b, &name("d"), &digest), Error::BlobUnknown { .. });
    fails!(store.delete_blob(&b, &digest), Error::BlobUnknown { .. });
    assert_eq!(bytes(store, &c, &digest), b"content");
    assert!(store.holders(&Digest::of(b"none"), 10).unwrap().is_empty());
}

pub(super) fn open_while_deleted(store: &dyn Store) {
    let repo = name("a/b");
    let digest = put(store, &repo, b"content");
    let reader = store.open_blob(&repo, &digest).unwrap();
    store.delete_blob(&repo, &digest).unwrap();
    let mut out = [0; 7];
    assert_eq!(reader.read_at(0, &mut out).unwrap(), 7);
    assert_eq!(&out, b"content");
}

pub(super) fn in_use(store: &dyn Store) {
    let repo = name("a/b");
    let digest = put(store, &repo, b"content");
    let (manifest, _) = push(store, &repo, &image(&[&digest]), &["v1"]);
    match store.delete_blob(&repo, &digest) {
        Err(Error::BlobInUse { user, .. }) => assert_eq!(user, manifest),
        other => panic!("{other:?}"),
    }
    // Elsewhere nobody uses it.
    let other = name("other");
    store.mount_blob(&repo, &other, &digest).unwrap();
    store.delete_blob(&other, &digest).unwrap();
    store.delete_manifest(&repo, &manifest).unwrap();
    store.delete_blob(&repo, &digest).unwrap();
}
