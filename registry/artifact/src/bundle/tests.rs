//! Bundles: volumes, indexes, inventories.

use std::{collections::BTreeMap, fs};

use mdl_formats::digest::Unwatched;
use mdl_store::{Descriptor, Digest, layout::Layout};
use serde_json::json;

use super::*;
use crate::{Error, media as types};

/// A store with one model whose layers have these sizes.
fn store(root: &std::path::Path, sizes: &[usize]) -> (Layout, Named) {
    let layout = Layout::open(root).unwrap();
    let config = layout.put_bytes(b"{}").unwrap();
    let layers: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(at, size)| {
            let bytes: Vec<u8> = (0..*size).map(|byte| (byte * 7 + at) as u8).collect();
            let digest = layout.put_bytes(&bytes).unwrap();
            json!({ "mediaType": types::WEIGHT, "digest": digest.to_string(), "size": size,
                "annotations": { types::FILEPATH: format!("part-{at}") } })
        })
        .collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": types::OCI_MANIFEST,
        "config": { "mediaType": types::MODEL_CONFIG, "digest": config.to_string(), "size": 2 }, "layers": layers });
    let bytes = manifest.to_string();
    let digest = layout.put_bytes(bytes.as_bytes()).unwrap();
    let media_type = types::OCI_MANIFEST.to_owned();
    let manifest = Descriptor { media_type, digest, size: bytes.len() as u64 };
    let (repository, tag) = ("acme/tiny".parse().unwrap(), Some("v1".parse().unwrap()));
    (layout, Named { repository, tag, manifest })
}

#[test]
fn pieces_fill_volumes_and_come_back_in_every_order() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, named) = store(&dir.path().join("store"), &[3_000_000, 1, 0, 1_500_000, 700_000]);
    let request = Request {
        layout: &layout,
        models: std::slice::from_ref(&named),
        inventory: None,
        volume_size: Some(1_600_000),
        file_size: 300_000,
        key: None,
    };
    let to = dir.path().join("bundle");
    let made = create(request, &to, &Unwatched).unwrap();
    assert!(made.volumes.len() >= 4 && made.unsigned == ["acme/tiny:v1"]);
    assert!(
        matches!(create(request, &to, &Unwatched), Err(Error::Bundle(_))),
        "it is not made over"
    );
    let many = made.volumes.len();
    // Three orders: forth, back, and the middle first.
    for (at, start) in [(0, 0), (1, many - 1), (2, many / 2)] {
        let site = Layout::open(&dir.path().join(format!("site-{at}"))).unwrap();
        let mut left: Vec<usize> = (0..many).collect();
        left.rotate_left(start);
        if at == 1 {
            left.sort_unstable_by(|one, other| other.cmp(one));
        }
        let mut awaited = many;
        for volume in left {
            let media = Media::open(&made.volumes[volume]).unwrap();
            let import = Import::open(&media, &site, None).unwrap();
            let progress = import.copy(&Unwatched).unwrap();
            assert!(progress.awaited.len() < awaited || awaited == 0, "{progress:?}");
            awaited = progress.awaited.len();
            if awaited == 0 {
                import.publish(&["acme/tiny:v1".to_owned()]).unwrap();
            }
        }
        let found = site.reference("acme/tiny:v1").unwrap().unwrap();
        assert_eq!(found.digest, named.manifest.digest);
        assert!(site.prune(true).unwrap().bad_blobs == 0);
    }
}

#[test]
fn an_index_is_read_as_it_was_written_and_strictly() {
    let parts = vec![
        Part { volume: 1, size: 2, sha256: Digest::of(b"ab").hex().to_owned() },
        Part { volume: 2, size: 1, sha256: Digest::of(b"c").hex().to_owned() },
    ];
    let index = Index {
        version: 1,
        volumes: 2,
        volume_size: Some(10),
        models: Vec::new(),
        blobs: BTreeMap::from([(Digest::of(b"abc").to_string(), Blob { size: 3, parts })]),
        absent: BTreeMap::from([(Digest::of(b"x").to_string(), vec!["acme/tiny".to_owned()])]),
    };
    let bytes = index.to_bytes().unwrap();
    assert_eq!(Index::read(&bytes).unwrap(), index);
    for end in 0..bytes.len() - 2 {
        assert!(Index::read(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// A bundle of one model, whose volume's index is then changed.
fn altered(dir: &std::path::Path, change: impl FnOnce(&mut Index)) -> Media {
    let (layout, named) = store(&dir.join("store"), &[1000]);
    let request = Request {
        layout: &layout,
        models: std::slice::from_ref(&named),
        inventory: None,
        volume_size: None,
        file_size: 1 << 20,
        key: None,
    };
    let to = dir.join("bundle");
    create(request, &to, &Unwatched).unwrap();
    let path = to.join(INDEX_FILE);
    let mut index = Index::read(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(&path, index.to_bytes().unwrap()).unwrap();
    Media::open(&to).unwrap()
}

#[test]
fn what_is_listed_as_a_referrer_must_refer_to_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let media = altered(dir.path(), |index| {
        // The model's own manifest, which refers to nothing.
        let model = &mut index.models[0];
        model.referrers.push((model.digest.clone(), model.media_type.clone()));
    });
    let site = Layout::open(&dir.path().join("site")).unwrap();
    let error = Import::open(&media, &site, None).err().unwrap().to_string();
    assert!(error.contains("refers to none of its models"), "{error}");
}

#[test]
fn a_bundle_that_no_reader_would_take_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, named) = store(&dir.path().join("store"), &[10_001]);
    let request = Request {
        layout: &layout,
        models: std::slice::from_ref(&named),
        inventory: None,
        volume_size: None,
        file_size: 1,
        key: None,
    };
    let to = dir.path().join("bundle");
    let error = create(request, &to, &Unwatched).unwrap_err().to_string();
    assert!(error.contains("more pieces, than the limit of 9,999") && !to.exists(), "{error}");
}

#[test]
fn an_inventory_is_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut inventory = Inventory::default();
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    inventory.add(&one, 1, Some(&"acme/tiny".parse().unwrap()));
    inventory.add(&one, 1, Some(&"other/tiny".parse().unwrap()));
    inventory.add(&two, 2, None);
    let path = dir.path().join("inventory.txt");
    fs::write(&path, format!("{}\n# a comment\n\n", inventory.to_text())).unwrap();
    assert_eq!(Inventory::read(&path).unwrap(), inventory);
    assert!(inventory.has(&one, 1) && !inventory.has(&one, 2));
    for (text, says) in [
        ("sha256:00 1", "line 1: it begins with no digest"),
        (&format!("\n{one} many"), "line 2: its second word is no size"),
        (&format!("{one} 1 ../x"), "line 1: it names no repository"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(Inventory::read(&path).unwrap_err().to_string().ends_with(says), "{text}");
    }
}
