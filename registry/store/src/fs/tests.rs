//! The store over a real folder.

use super::*;
use crate::{Algorithm, Descriptor, Links, Name, Reference, Store as _, Tag};

fn open(root: &Path) -> FsStore {
    let keep = Keep { lease: 0, ..Keep::default() };
    FsStore::open_keeping(root, Limits::default(), keep).unwrap()
}

#[test]
fn an_upload_goes_on_after_a_restart_and_a_tag_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let (repo, tag): (Name, Tag) = ("a/b".parse().unwrap(), "v1".parse().unwrap());
    let store = open(dir.path());
    assert!(matches!(FsStore::open(dir.path(), Limits::default()), Err(Error::Locked(_))));
    let id = store.begin_upload(&repo, Algorithm::Sha256).unwrap();
    let mut writer = store.write_upload(&repo, &id, 0).unwrap();
    assert!(matches!(store.write_upload(&repo, &id, 0), Err(Error::UploadBusy)));
    writer.write(b"hello ").unwrap();
    assert_eq!(writer.close().unwrap().offset, 6);
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.upload(&repo, &id).unwrap().offset, 6);
    for (at, bytes) in [(6, b"wrong"), (6, b"world")] {
        let mut writer = store.write_upload(&repo, &id, at).unwrap();
        writer.write(bytes).unwrap();
        writer.close().unwrap();
    }
    let blob = Digest::of(b"hello world");
    assert_eq!(store.finish_upload(&repo, &id, &blob).unwrap(), 11);
    assert!(matches!(store.upload(&repo, &id), Err(Error::UploadUnknown(_))));
    let unused = Digest::of(b"unused");
    store.put_blob(&repo, &unused, b"unused").unwrap();

    let descriptor = Descriptor { media_type: "a/b".to_owned(), digest: blob.clone(), size: 11 };
    let links = Links { blobs: vec![descriptor], ..Links::default() };
    let digest = Digest::of(b"{}");
    let pushed =
        store.put_manifest(&repo, &digest, "a/b", b"{}", &links, std::slice::from_ref(&tag));
    assert!(pushed.unwrap().lacking.is_empty());
    assert!(matches!(store.delete_blob(&repo, &blob), Err(Error::BlobInUse { .. })));

    assert_eq!(store.collect(true).unwrap().bad_blobs, 1);
    assert_eq!(store.collect(false).unwrap().bad_blobs, 1);
    assert!(matches!(store.stat_blob(&repo, &unused), Err(Error::BlobUnknown { .. })));
    assert_eq!(store.stat_blob(&repo, &blob).unwrap(), 11);
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
    assert_eq!(store.manifest(&repo, &Reference::Tag(tag)).unwrap().digest, digest);

    std::fs::write(store.0.blob_path(&blob), "hello wOrld").unwrap();
    assert_eq!(store.scrub().unwrap().bad_blobs, 1);
    store.delete_manifest(&repo, &digest).unwrap();
    store.collect(false).unwrap();
    assert_eq!(store.stats().unwrap(), Stats::default());
}
