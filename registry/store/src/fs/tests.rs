//! The store over a real folder.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{
    Algorithm, Descriptor, Links, Name, Reference, Store as _, Tag,
    simulation::{SimDisk, SimWorld},
    suite::CASES,
};

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

fn few_uploads() -> Limits {
    Limits { uploads: 8, ..Limits::default() }
}

/// Runs every case of the suite on a store of its own.
fn suite(mut fresh: impl FnMut() -> FsStore) {
    for (name, case) in CASES {
        let store = fresh();
        let passed = catch_unwind(AssertUnwindSafe(|| case(&store)));
        assert!(passed.is_ok(), "{name}");
    }
}

#[test]
fn the_suite_on_files() {
    let mut folders = Vec::new();
    suite(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = FsStore::open(folder.path(), few_uploads()).unwrap();
        folders.push(folder);
        store
    });
}

#[test]
fn the_suite_on_a_simulated_disk() {
    suite(|| {
        let (disk, world) = (Arc::new(SimDisk::new(7)), Arc::new(SimWorld::new(7)));
        FsStore::open_on(disk, world, Path::new("/"), few_uploads(), Keep::default()).unwrap()
    });
}

/// An image manifest of some blobs; its digest.
fn image(store: &FsStore, repo: &Name, blobs: &[&Digest], tag: &str) -> Digest {
    let layers: Vec<String> =
        blobs.iter().map(|it| format!(r#"{{"digest":"{it}","size":1}}"#)).collect();
    let text = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    push(store, repo, "application/vnd.oci.image.manifest.v1+json", &text, tag)
}

fn push(store: &FsStore, repo: &Name, media_type: &str, text: &str, tag: &str) -> Digest {
    let (digest, bytes) = (Digest::of(text.as_bytes()), text.as_bytes());
    let links = Links::read(media_type, bytes, &Limits::default()).unwrap();
    store.put_manifest(repo, &digest, media_type, bytes, &links, &[tag.parse().unwrap()]).unwrap();
    digest
}

/// What is lacking on purpose is no loss; what came, and went by itself, is.
#[test]
fn a_scrub_tells_lost_from_lacking() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let repo: Name = "a/b".parse().unwrap();
    let (late, never) = (Digest::of(b"late"), Digest::of(b"never"));
    let child = image(&store, &repo, &[&late, &never], "v1");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"digest":"{child}","size":1}},{{"digest":"{never}","size":1}}]}}"#
    );
    push(&store, &repo, "application/vnd.oci.image.index.v1+json", &index, "all");
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
    store.put_blob(&repo, &late, b"late").unwrap();
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
    // By hand, as no request can.
    let lose = |table: redb::TableDefinition<'static, (&'static str, &'static str), u64>| {
        let write = store.0.write().unwrap();
        write.open_table(table).unwrap().remove(("a/b", late.to_string().as_str())).unwrap();
        store.0.commit(write).unwrap();
    };
    lose(db::HELD);
    let problems = store.scrub().unwrap().problems;
    assert_eq!(problems, [format!("manifest a/b@{child}: its blob {late} is lost")]);
    store.put_blob(&repo, &late, b"late").unwrap();
    let write = store.0.write().unwrap();
    write.open_table(db::MANIFESTS).unwrap().remove(("a/b", child.to_string().as_str())).unwrap();
    store.0.commit(write).unwrap();
    let problems = store.scrub().unwrap().problems;
    assert!(problems.iter().any(|it| it.ends_with(&format!("its manifest {child} is lost"))));
    // One that is deleted is lacking, not lost.
    image(&store, &repo, &[&late, &never], "v1");
    store.delete_manifest(&repo, &child).unwrap();
    assert_eq!(store.scrub().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_dry_run_counts_what_would_go() {
    let disk = Arc::new(SimDisk::new(3));
    let world = Arc::new(SimWorld::new(3));
    let keep = Keep { lease: 100, upload: 500, untagged: Some(1000) };
    let limits = Limits { leases_in_memory: 2, ..Limits::default() };
    let shared: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
    let store = FsStore::open_on(disk, shared, Path::new("/"), limits, keep).unwrap();
    let [one, other]: [Name; 2] = ["a/b", "c"].map(|it| it.parse().unwrap());
    let blobs = [&b"one"[..], b"two", b"three", b"four"].map(|bytes| {
        let digest = Digest::of(bytes);
        store.put_blob(&one, &digest, bytes).unwrap();
        store.mount_blob(&one, &other, &digest).unwrap();
        digest
    });
    image(&store, &one, &[&blobs[0]], "v1");
    image(&store, &other, &[&blobs[1]], "v1");
    store.delete_tag(&other, &"v1".parse().unwrap()).unwrap();
    let agree = |expected: (u64, u64, u64)| {
        let would = store.collect(true).unwrap();
        assert_eq!((would.bad_blobs, would.bad_bytes, would.bad_manifests), expected);
        let did = store.collect(false).unwrap();
        assert_eq!((did.bad_blobs, did.bad_bytes, did.bad_manifests), expected);
        assert_eq!(store.collect(false).unwrap(), crate::Found::default());
    };
    agree((0, 0, 0));
    world.advance(90);
    // Leases renewed by looking, more of them than are kept in memory.
    for repo in [&one, &other] {
        for digest in &blobs[1..3] {
            store.stat_blob(repo, digest).unwrap();
        }
    }
    assert!(store.0.seen().len() <= 2);
    world.advance(20);
    agree((1, 4, 0));
    world.advance(200);
    agree((1, 5, 0));
    world.advance(1000);
    agree((1, 3, 1));
    assert_eq!(store.stats().unwrap().blobs, 1);
}
