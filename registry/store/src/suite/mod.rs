//! What every backend has to do, whatever it is made of: a list of cases, each for a fresh store.
//!
//! A backend's test runs all of [`CASES`]; a case panics where a promise of [`Store`] is not kept. What only a backend
//! with files, restarts or a clock can show is not here: see the tests of power loss.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod blobs;
mod lists;
mod manifests;
mod uploads;

use serde_json::{Value, json};

use crate::{Digest, Limits, Links, Name, Reference, Store, Tag};

/// A case's name, and what it does to a store that holds nothing.
pub type Case = (&'static str, fn(&dyn Store));

/// All cases. The store may hold at most eight uploads at once, and blobs to 64 MiB.
pub const CASES: &[Case] = &[
    ("blobs are read as they were put", blobs::read),
    ("a wrong digest is refused", blobs::wrong_digest),
    ("a repository sees what it holds alone", blobs::per_repository),
    ("blobs are mounted and deleted for one repository", blobs::mounted_and_deleted),
    ("an open blob stays readable", blobs::open_while_deleted),
    ("a blob in use is not deleted", blobs::in_use),
    ("an upload goes in chunks", uploads::chunks),
    ("batches are as their pieces", uploads::batches),
    ("the last chunk may come again", uploads::last_chunk_again),
    ("an upload has one writer", uploads::one_writer),
    ("an upload of another digest is gone", uploads::wrong_digest),
    ("an upload belongs to its repository", uploads::of_its_repository),
    ("an upload can be given up", uploads::cancelled),
    ("uploads hash by SHA-512 too", uploads::sha512),
    ("an upload of nothing is the empty blob", uploads::empty),
    ("uploads are counted", uploads::counted),
    ("two uploads of one blob", uploads::twice),
    ("manifests are as they were pushed", manifests::exact),
    ("tags move", manifests::tags_move),
    ("what a manifest lacks is told", manifests::lacking),
    ("a deleted manifest takes its tags and referrers along", manifests::deleted),
    ("a deleted tag leaves its manifest", manifests::tag_deleted),
    ("referrers are found, also of what is not there", manifests::referrers),
    ("a view lives as long as its manifest", manifests::views),
    ("tags are listed in order, page by page", lists::tags),
    ("repositories are listed in order, page by page", lists::repositories),
    ("manifests are listed in order, page by page", lists::manifests),
    ("repositories are told apart by their whole names", lists::whole_names),
];

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn tagged(text: &str) -> Reference {
    Reference::Tag(tag(text))
}

/// Puts a small blob.
fn put(store: &dyn Store, repo: &Name, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    store.put_blob(repo, &digest, bytes).unwrap();
    digest
}

/// All of a blob.
fn bytes(store: &dyn Store, repo: &Name, digest: &Digest) -> Vec<u8> {
    let reader = store.open_blob(repo, digest).unwrap();
    let mut out = vec![0; reader.size() as usize + 10];
    let mut at = 0;
    loop {
        let read = reader.read_at(at as u64, &mut out[at..]).unwrap();
        if read == 0 {
            out.truncate(at);
            return out;
        }
        at += read;
    }
}

/// An image manifest of some blobs.
fn image(blobs: &[&Digest]) -> Value {
    let one =
        |digest: &&Digest| json!({ "mediaType": "a/b", "digest": digest.to_string(), "size": 1 });
    let layers: Vec<Value> = blobs.iter().map(one).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "layers": layers })
}

/// Pushes a manifest; its digest and what it lacks.
fn push(store: &dyn Store, repo: &Name, manifest: &Value, tags: &[&str]) -> (Digest, Vec<Digest>) {
    let bytes = manifest.to_string().into_bytes();
    let media_type = manifest["mediaType"].as_str().unwrap();
    let digest = Digest::of(&bytes);
    let links = Links::read(media_type, &bytes, &Limits::default()).unwrap();
    let tags: Vec<Tag> = tags.iter().map(|it| tag(it)).collect();
    let pushed = store.put_manifest(repo, &digest, media_type, &bytes, &links, &tags).unwrap();
    (digest, pushed.lacking)
}

/// Whether something failed as it should.
macro_rules! fails {
    ($what:expr, $pattern:pat) => {
        match $what {
            Err($pattern) => {}
            Err(other) => panic!("{}: {other:?}", stringify!($what)),
            Ok(_) => panic!("{} succeeds", stringify!($what)),
        }
    };
}
use fails;
