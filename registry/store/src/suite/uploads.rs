//! Uploads: chunks, their order, their end.

use std::sync::Arc;

use super::{bytes, fails, name};
use crate::{Algorithm, Digest, Error, Name, Piece, Store, UploadId, UploadStatus};

/// Writes one chunk.
fn chunk(store: &dyn Store, repo: &Name, id: &UploadId, at: u64, part: &[u8]) -> UploadStatus {
    let mut writer = store.write_upload(repo, id, at).unwrap();
    // In pieces, as they come over a wire.
    for piece in part.chunks(3) {
        writer.write(piece).unwrap();
    }
    writer.close().unwrap()
}

fn begin(store: &dyn Store, repo: &Name) -> UploadId {
    store.begin_upload(repo, Algorithm::Sha256).unwrap()
}

pub(super) fn chunks(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    assert_eq!(store.upload(&repo, &id).unwrap(), UploadStatus { offset: 0, last_chunk: 0 });
    assert_eq!(chunk(store, &repo, &id, 0, b"hello ").offset, 6);
    let status = chunk(store, &repo, &id, 6, b"world");
    assert_eq!(status, UploadStatus { offset: 11, last_chunk: 6 });
    assert_eq!(store.upload(&repo, &id).unwrap(), status);
    for wrong in [5, 7, 12, u64::MAX] {
        match store.write_upload(&repo, &id, wrong) {
            Err(Error::RangeMismatch { held, .. }) => assert_eq!(held, 11),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("a chunk at {wrong} is taken"),
        }
    }
    let digest = Digest::of(b"hello world");
    fails!(store.stat_blob(&repo, &digest), Error::BlobUnknown { .. });
    assert_eq!(store.finish_upload(&repo, &id, &digest).unwrap(), 11);
    assert_eq!(bytes(store, &repo, &digest), b"hello world");
    fails!(store.upload(&repo, &id), Error::UploadUnknown(_));
    fails!(store.finish_upload(&repo, &id, &digest), Error::UploadUnknown(_));
    // A writer that is dropped keeps what it was given.
    let id = begin(store, &repo);
    store.write_upload(&repo, &id, 0).unwrap().write(b"kept").unwrap();
    assert_eq!(store.upload(&repo, &id).unwrap().offset, 4);
}

pub(super) fn last_chunk_again(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    chunk(store, &repo, &id, 0, b"hello ");
    chunk(store, &repo, &id, 6, b"wrong");
    // A client that missed the answer: the same or another chunk from there.
    assert_eq!(chunk(store, &repo, &id, 6, b"you").offset, 9);
    chunk(store, &repo, &id, 9, b"!");
    fails!(store.write_upload(&repo, &id, 6), Error::RangeMismatch { .. });
    let digest = Digest::of(b"hello you!");
    store.finish_upload(&repo, &id, &digest).unwrap();
    assert_eq!(bytes(store, &repo, &digest), b"hello you!");
}

pub(super) fn one_writer(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    let mut writer = store.write_upload(&repo, &id, 0).unwrap();
    fails!(store.write_upload(&repo, &id, 0), Error::UploadBusy);
    fails!(store.finish_upload(&repo, &id, &Digest::of(b"")), Error::UploadBusy);
    fails!(store.cancel_upload(&repo, &id), Error::UploadBusy);
    writer.write(b"x").unwrap();
    writer.close().unwrap();
    store.finish_upload(&repo, &id, &Digest::of(b"x")).unwrap();
}

pub(super) fn wrong_digest(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    chunk(store, &repo, &id, 0, b"content");
    let stated = Digest::of(b"other");
    match store.finish_upload(&repo, &id, &stated) {
        Err(Error::DigestMismatch { found, .. }) => assert_eq!(found, Digest::of(b"content")),
        other => panic!("{other:?}"),
    }
    fails!(store.upload(&repo, &id), Error::UploadUnknown(_));
    fails!(store.stat_blob(&repo, &stated), Error::BlobUnknown { .. });
    fails!(store.stat_blob(&repo, &Digest::of(b"content")), Error::BlobUnknown { .. });
}

pub(super) fn of_its_repository(store: &dyn Store) {
    let (repo, other) = (name("a/b"), name("a/c"));
    let id = begin(store, &repo);
    fails!(store.upload(&other, &id), Error::UploadUnknown(_));
    fails!(store.write_upload(&other, &id, 0), Error::UploadUnknown(_));
    fails!(store.finish_upload(&other, &id, &Digest::of(b"")), Error::UploadUnknown(_));
    fails!(store.cancel_upload(&other, &id), Error::UploadUnknown(_));
    for none in ["", "x", "../x", "\0"] {
        let none = UploadId(none.to_owned());
        fails!(store.upload(&repo, &none), Error::UploadUnknown(_));
        fails!(store.write_upload(&repo, &none, 0), Error::UploadUnknown(_));
    }
    assert!(store.upload(&repo, &id).is_ok());
}

pub(super) fn cancelled(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    chunk(store, &repo, &id, 0, b"content");
    store.cancel_upload(&repo, &id).unwrap();
    fails!(store.cancel_upload(&repo, &id), Error::UploadUnknown(_));
    fails!(store.write_upload(&repo, &id, 7), Error::UploadUnknown(_));
    fails!(store.stat_blob(&repo, &Digest::of(b"content")), Error::BlobUnknown { .. });
}

pub(super) fn sha512(store: &dyn Store) {
    let repo = name("a/b");
    let digest = Digest::with(Algorithm::Sha512, b"hello world");
    // Running, and first named at the end.
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
        let id = store.begin_upload(&repo, algorithm).unwrap();
        chunk(store, &repo, &id, 0, b"hello ");
        chunk(store, &repo, &id, 6, b"world");
        assert_eq!(store.finish_upload(&repo, &id, &digest).unwrap(), 11);
        assert_eq!(bytes(store, &repo, &digest), b"hello world");
    }
    fails!(store.stat_blob(&repo, &Digest::of(b"hello world")), Error::BlobUnknown { .. });
    let id = store.begin_upload(&repo, Algorithm::Sha512).unwrap();
    chunk(store, &repo, &id, 0, b"hello world");
    let other = Digest::with(Algorithm::Sha512, b"other");
    fails!(store.finish_upload(&repo, &id, &other), Error::DigestMismatch { .. });
}

pub(super) fn empty(store: &dyn Store) {
    let repo = name("a/b");
    let id = begin(store, &repo);
    let digest = Digest::of(b"");
    assert_eq!(store.finish_upload(&repo, &id, &digest).unwrap(), 0);
    assert_eq!(bytes(store, &repo, &digest), b"");
}

pub(super) fn counted(store: &dyn Store) {
    let repo = name("a/b");
    let mut ids = Vec::new();
    let refused = loop {
        match store.begin_upload(&repo, Algorithm::Sha256) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
        assert!(ids.len() <= 8, "uploads without end");
    };
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
    assert_eq!(ids.len(), 8);
    store.cancel_upload(&repo, &ids[0]).unwrap();
    store.finish_upload(&repo, &ids[1], &Digest::of(b"")).unwrap();
    fails!(store.finish_upload(&repo, &ids[2], &Digest::of(b"x")), Error::DigestMismatch { .. });
    for _ in 0..3 {
        begin(store, &repo);
    }
    fails!(store.begin_upload(&repo, Algorithm::Sha256), Error::TooLarge { .. });
}

pub(super) fn twice(store: &dyn Store) {
    let (one, other) = (name("one"), name("other"));
    let ids = [&one, &other, &one].map(|repo| (repo, begin(store, repo)));
    for (repo, id) in &ids {
        chunk(store, repo, id, 0, b"the same");
    }
    let digest = Digest::of(b"the same");
    for (repo, id) in &ids {
        store.finish_upload(repo, id, &digest).unwrap();
    }
    assert_eq!(bytes(store, &one, &digest), b"the same");
    assert_eq!(store.holders(&digest, 10).unwrap(), [one, other]);
}

pub(super) fn batches(store: &dyn Store) {
    let repo = name("a/b");
    let long: Vec<u8> = (0..3_000_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let all = [b"begin", &long[..], b"middle", &long[..], &long[..], b"end"].concat();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let id = store.begin_upload(&repo, algorithm).unwrap();
        let mut writer = store.write_upload(&repo, &id, 0).unwrap();
        let batch = |parts: &[&[u8]]| -> Arc<[Piece]> {
            parts.iter().map(|part| Box::new(part.to_vec()) as Piece).collect()
        };
        writer.write(b"begin").unwrap();
        writer.write_batch(batch(&[&long[..1_000_000], b"", &long[1_000_000..]])).unwrap();
        writer.write_batch(batch(&[b"mid", b"dle"])).unwrap();
        writer.write_batch(batch(&[&long])).unwrap();
        assert_eq!(writer.close().unwrap().offset, 6_000_011);
        let mut writer = store.write_upload(&repo, &id, 6_000_011).unwrap();
        writer.write_batch(batch(&[&long])).unwrap();
        writer.write_batch(batch(&[])).unwrap();
        writer.write(b"end").unwrap();
        drop(writer);
        let digest = Digest::with(algorithm, &all);
        assert_eq!(store.finish_upload(&repo, &id, &digest).unwrap(), all.len() as u64);
        assert!(bytes(store, &repo, &digest) == all);
    }
}
