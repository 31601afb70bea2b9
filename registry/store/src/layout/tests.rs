//! The layout as it lies on the disk.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn manifest(layout: &Layout, blobs: &[&Digest], subject: Option<&Digest>) -> Descriptor {
    let descriptor = |digest: &&Digest| json!({ "digest": digest.to_string(), "size": 1 });
    let layers: Vec<Value> = blobs.iter().map(descriptor).collect();
    let mut text = json!({ "schemaVersion": 2, "layers": layers, "artifactType": "a/b" });
    if let Some(subject) = subject {
        text["subject"] = json!({ "digest": subject.to_string(), "size": 1 });
    }
    let bytes = text.to_string().into_bytes();
    let digest = layout.put_bytes(&bytes).unwrap();
    let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
    Descriptor { media_type, digest, size: bytes.len() as u64 }
}

#[test]
fn references_lead_to_manifests_and_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    let [kept, gone] = [b"kept", b"gone"].map(|it| layout.put_bytes(it).unwrap());
    let one = manifest(&layout, &[&kept], None);
    let about = manifest(&layout, &[], Some(&one.digest));
    layout.add_referrer(about.clone()).unwrap();
    layout.add_referrer(about.clone()).unwrap();
    layout.set_reference("h:1/a:b", one.clone()).unwrap();
    layout.set_reference("a:b", one.clone()).unwrap();
    drop(layout);

    let layout = Layout::open(dir.path()).unwrap();
    let names: Vec<String> = layout.references().unwrap().into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["a:b", "h:1/a:b"]);
    assert_eq!(layout.reference("a:b").unwrap().as_ref(), Some(&one));
    let referrers = layout.referrers(&one.digest).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].artifact_type.as_deref(), Some("a/b"));

    fs::write(layout.begin_blob(&Digest::of(b"unfinished")), "unf").unwrap();
    let counted = layout.prune(true).unwrap();
    assert_eq!((counted.bad_blobs, counted.bad_bytes, counted.blobs), (2, 7, 5));
    assert!(layout.has_blob(&gone).unwrap().is_some());
    assert_eq!(layout.prune(false).unwrap(), counted);
    assert_eq!(layout.has_blob(&gone).unwrap(), None);
    assert_eq!(layout.has_blob(&kept).unwrap(), Some(4));

    assert!(layout.remove_reference("a:b").unwrap());
    assert!(!layout.remove_reference("a:b").unwrap());
    assert_eq!(layout.prune(false).unwrap().bad_blobs, 0);
    layout.remove_reference("h:1/a:b").unwrap();
    assert_eq!(layout.prune(false).unwrap().bad_blobs, 3);
    assert!(layout.referrers(&one.digest).unwrap().is_empty());
}

#[test]
fn nobody_deletes_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Layout::open(dir.path()).unwrap(), Layout::open(dir.path()).unwrap());
    let blob = one.put_bytes(b"not yet referenced").unwrap();
    assert!(matches!(other.prune(false), Err(Error::Locked(_))));
    assert!(one.has_blob(&blob).unwrap().is_some());
    drop(one);
    assert_eq!(other.prune(false).unwrap().bad_blobs, 1);
    assert!(Layout::open(dir.path()).is_ok(), "it is shared again");
}

#[test]
fn files_go_in_and_out() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(&dir.path().join("store")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let writable = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o222 != 0;
    fs::write(at("a"), "abc").unwrap();
    let (digest, size) = layout.put_file(&at("a"), None, Ingest::Copy).unwrap();
    assert_eq!((&digest, size), (&Digest::of(b"abc"), 3));
    assert_ne!(inode(&layout.blob_path(&digest)), inode(&at("a")));
    layout.export(&digest, &at("b"), Ingest::Copy).unwrap();
    assert_eq!(fs::read(at("b")).unwrap(), b"abc");
    assert!(writable(&at("b")) && layout.export(&digest, &at("b"), Ingest::Copy).is_err());
    layout.export(&digest, &at("c"), Ingest::Link).unwrap();
    assert!(inode(&at("c")) == inode(&layout.blob_path(&digest)) && !writable(&at("c")));

    fs::write(at("l"), "linked").unwrap();
    let known = Some(Digest::of(b"linked"));
    let (digest, _) = layout.put_file(&at("l"), known, Ingest::Link).unwrap();
    assert!(inode(&at("l")) == inode(&layout.blob_path(&digest)) && !writable(&at("l")));

    let wanted = Digest::of(b"fetched");
    fs::write(layout.begin_blob(&wanted), "fetched").unwrap();
    layout.commit_blob(&wanted, &layout.begin_blob(&wanted)).unwrap();
    assert_eq!(layout.has_blob(&wanted).unwrap(), Some(7));
    assert!(!layout.begin_blob(&wanted).exists());
}

#[test]
fn damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    let digest = layout.put_bytes(b"{}").unwrap();
    fs::write(layout.blob_path(&digest), "{ }").unwrap();
    assert!(matches!(layout.manifest(&digest), Err(Error::DigestMismatch { .. })));
    for text in ["rubbish", "{}", "[]", "{\"manifests\": 1}"] {
        fs::write(dir.path().join("index.json"), text).unwrap();
        assert!(matches!(layout.references(), Err(Error::Corrupt { .. })), "{text}");
        assert!(layout.remove_reference("a").is_err());
        assert_eq!(fs::read_to_string(dir.path().join("index.json")).unwrap(), text);
    }
    // What another tool wrote is kept.
    let foreign = r#"{"manifests":[{"digest":"md5:1","x":2}],"extra":true}"#;
    fs::write(dir.path().join("index.json"), foreign).unwrap();
    layout.prune(false).unwrap();
    let kept = fs::read_to_string(dir.path().join("index.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&kept).unwrap(),
        serde_json::from_str::<Value>(foreign).unwrap()
    );
}

#[test]
fn what_cannot_be_read_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    let [used, unused] = [b"used", b"none"].map(|it| layout.put_bytes(it).unwrap());
    let one = manifest(&layout, &[&used], None);
    layout.set_reference("a:b", one.clone()).unwrap();
    let path = layout.blob_path(&one.digest);
    let bytes = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, &bytes[1..]).unwrap();
    let found = layout.prune(false).unwrap();
    assert_eq!((found.problems.len(), found.bad_blobs), (1, 0));
    for digest in [&used, &unused] {
        assert_eq!(layout.has_blob(digest).unwrap(), Some(4));
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(layout.prune(false).unwrap().bad_blobs, 1);
    assert_eq!(layout.has_blob(&used).unwrap(), Some(4));
}

#[test]
fn what_any_kind_of_manifest_names_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    let blobs = [b"foreign layer", b"unknown thing", b"nobody's blob"];
    let [foreign, unknown, unused] = blobs.map(|it| layout.put_bytes(it).unwrap());
    let documents = [
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[{{"mediaType":
            "application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{foreign}","size":13}}]}}"#
        ),
        format!(r#"{{"mediaType":"a/b","layers":"none","things":[{{"at":"{unknown}"}}]}}"#),
    ];
    for (name, text) in ["a:b", "c:d"].iter().zip(&documents) {
        let digest = layout.put_bytes(text.as_bytes()).unwrap();
        let media_type = "a/b".to_owned();
        let manifest = Descriptor { media_type, digest, size: text.len() as u64 };
        layout.set_reference(name, manifest).unwrap();
    }
    let found = layout.prune(false).unwrap();
    assert_eq!((found.problems.len(), found.bad_blobs), (0, 1), "{:?}", found.problems);
    for (digest, there) in [(&foreign, true), (&unknown, true), (&unused, false)] {
        assert_eq!(layout.has_blob(digest).unwrap().is_some(), there, "{digest}");
    }
}
