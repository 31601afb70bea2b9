//! Bundles that were altered, or made to harm: each is stopped with nothing made visible, and the file named.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::bundle::Scene;

fn blobs(scene: &Scene) -> PathBuf {
    scene.place.path("bundle/blobs/sha256")
}

/// The largest blob: the weights.
fn weights(scene: &Scene) -> PathBuf {
    let entries = fs::read_dir(blobs(scene)).unwrap().map(|entry| entry.unwrap().path());
    entries.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn index(scene: &Scene) -> Value {
    serde_json::from_slice(&fs::read(scene.place.path("bundle/mdl-bundle.json")).unwrap()).unwrap()
}

fn write_index(scene: &Scene, index: &Value) {
    fs::write(scene.place.path("bundle/mdl-bundle.json"), index.to_string()).unwrap();
}

/// Nothing of the bundle is visible, and what was said names this.
fn stopped(scene: &Scene, status: i32, names: &str) {
    let (found, _, said) = scene.import("bundle", &[]);
    assert_eq!(found, status, "{said}");
    assert!(said.contains(names), "{said} does not name {names}");
    assert_eq!(scene.visible(), 0);
    assert!(!scene.place.path("there/receipts").exists());
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit() {
    let scene = Scene::new();
    scene.bundle(&[]);
    let weights = weights(&scene);
    flip(&weights);
    let name = weights.file_name().unwrap().to_str().unwrap();
    stopped(&scene, 1, name);
    let (status, said, _) = scene.there(&["bundle", "verify", "bundle"]);
    assert!(status == 3 && said.contains(name), "{said}");
    // Mended, the same import goes on.
    flip(&weights);
    assert_eq!(scene.import("bundle", &[]).0, 0);

    // In a piece of one: the piece is named.
    let scene = Scene::new();
    scene.bundle(&["--file-size", "1M"]);
    let pieces = fs::read_dir(blobs(&scene)).unwrap().map(|entry| entry.unwrap().path());
    let mut pieces: Vec<_> = pieces.filter(|path| path.extension().is_some()).collect();
    pieces.sort();
    flip(&pieces[3]);
    stopped(&scene, 1, pieces[3].file_name().unwrap().to_str().unwrap());
}

#[test]
fn files_that_are_cut_or_grown_or_gone() {
    let scene = Scene::new();
    scene.bundle(&[]);
    let weights = weights(&scene);
    let bytes = fs::read(&weights).unwrap();
    let name = weights.file_name().unwrap().to_str().unwrap();
    for altered in [&bytes[..bytes.len() - 1], &[], &[&bytes[..], b"x"].concat()] {
        fs::write(&weights, altered).unwrap();
        stopped(&scene, 1, name);
    }
    fs::remove_file(&weights).unwrap();
    stopped(&scene, 1, name);
    for file in ["mdl-bundle.json", "volume"] {
        let path = scene.place.path("bundle").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        stopped(&scene, 1, file);
        fs::write(&path, "9/9").unwrap();
        stopped(&scene, 1, if file == "volume" { "volume" } else { "its index" });
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn models_that_nobody_or_the_wrong_one_signed() {
    let scene = Scene::new();
    let model = scene.model();
    scene.place.says(&[
        "push",
        "data/tiny/config.json",
        &scene.server.at("acme/bare:v1"),
        "--quiet",
    ]);
    let bare = scene.server.at("acme/bare:v1");
    let done = scene.place.run(&["bundle", "create", &model, &bare, "--out", "bundle"]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("acme/bare:v1 is signed by nobody"));
    stopped(&scene, 3, "acme/bare:v1");
    // Signed by one whom the site does not know: the index's signature does not help it.
    scene.place.says(&["sign", &bare, "--key", "site.key", "--quiet"]);
    fs::remove_dir_all(scene.place.path("bundle")).unwrap();
    scene.place.run(&[
        "bundle",
        "create",
        &model,
        &bare,
        "--out",
        "bundle",
        "--key",
        "release.key",
    ]);
    stopped(&scene, 3, "acme/bare:v1");
}

#[test]
fn an_index_that_lies() {
    let scene = Scene::new();
    scene.bundle(&[]);
    let good = index(&scene);
    let lie = |change: &dyn Fn(&mut Value), status: i32, names: &str| {
        let mut index = good.clone();
        change(&mut index);
        write_index(&scene, &index);
        stopped(&scene, status, names);
    };
    // Another name for the model: its signature says what it is for.
    lie(&|it| it["models"][0]["repository"] = "acme/other".into(), 3, "it is for acme/tiny");
    for name in ["../../etc", "/etc/passwd", "a//b", "UPPER", "a\u{0}b", ""] {
        lie(&|it| it["models"][0]["repository"] = name.into(), 1, "its index");
    }
    lie(&|it| it["models"][0]["tag"] = "../x".into(), 1, "its index");
    lie(&|it| it["models"][0]["digest"] = "sha256:..".into(), 1, "its index");
    lie(&|it| it["version"] = 2.into(), 1, "its version is 2");
    lie(&|it| it["volumes"] = 0.into(), 1, "its index");
    lie(&|it| it["more"] = 1.into(), 1, "unknown field");
    // Without its referrers nobody vouches for it.
    lie(&|it| it["models"][0]["referrers"] = json!([]), 3, "none that counts");
    // Sizes and pieces that do not add up, or are of no volume.
    let digest = weights(&scene).file_name().unwrap().to_str().unwrap().to_owned();
    let digest = format!("sha256:{digest}");
    for (key, value) in
        [("size", json!(1)), ("parts", json!([{"volume":1,"size":1,"sha256":"00"}]))]
    {
        lie(&|it| it["blobs"][&digest][key] = value.clone(), 1, "do not make it up");
    }
    lie(&|it| it["blobs"][&digest]["parts"][0]["volume"] = 7.into(), 1, "do not make it up");
    let halves = json!([{"volume":1,"size":u64::MAX,"sha256":"0".repeat(64)},{"volume":1,"size":u64::MAX,"sha256":"0".repeat(64)}]);
    lie(&|it| it["blobs"][&digest]["parts"] = halves.clone(), 1, "do not make it up");
    let huge = u64::MAX / 2;
    lie(
        &|it| {
            it["blobs"][&digest]["size"] = huge.into();
            it["blobs"][&digest]["parts"][0]["size"] = huge.into();
        },
        1,
        "another size",
    );
    // What the manifest needs is left out, as if the site had it.
    lie(
        &|it| {
            it["blobs"].as_object_mut().unwrap().remove(&digest);
            it["absent"] = json!({ &digest: ["acme/tiny"] });
        },
        1,
        "which the bundle leaves out",
    );
    write_index(&scene, &good);
    assert_eq!(scene.import("bundle", &[]).0, 0);
}

#[test]
fn links_and_other_things_in_the_place_of_files() {
    let scene = Scene::new();
    scene.bundle(&[]);
    let weights = weights(&scene);
    let name = weights.file_name().unwrap().to_str().unwrap();
    // Even one that leads to the right bytes: they are not on the medium.
    let aside = scene.place.path("aside");
    fs::rename(&weights, &aside).unwrap();
    symlink(&aside, &weights).unwrap();
    stopped(&scene, 1, name);
    fs::remove_file(&weights).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&weights).status().unwrap();
    assert!(made.success());
    stopped(&scene, 1, "no regular file");
    fs::remove_file(&weights).unwrap();
    fs::rename(&aside, &weights).unwrap();
    // A folder that leads elsewhere, and an index that does.
    fs::rename(blobs(&scene), scene.place.path("elsewhere")).unwrap();
    symlink(scene.place.path("elsewhere"), blobs(&scene)).unwrap();
    stopped(&scene, 1, "it is no folder");
    fs::remove_file(blobs(&scene)).unwrap();
    fs::rename(scene.place.path("elsewhere"), blobs(&scene)).unwrap();
    for file in ["mdl-bundle.json", "volume"] {
        let path = scene.place.path("bundle").join(file);
        fs::rename(&path, scene.place.path("kept")).unwrap();
        symlink(scene.place.path("kept"), &path).unwrap();
        stopped(&scene, 1, "symbolic link");
        fs::remove_file(&path).unwrap();
        fs::rename(scene.place.path("kept"), &path).unwrap();
    }
    assert_eq!(scene.import("bundle", &[]).0, 0);
}

#[test]
fn volumes_of_different_sets() {
    let scene = Scene::new();
    scene.bundle(&["--volume-size", "3M"]);
    fs::rename(scene.place.path("bundle"), scene.place.path("one")).unwrap();
    scene.bundle(&["--volume-size", "4M"]);
    fs::remove_dir_all(scene.place.path("bundle/volume-002")).unwrap();
    fs::rename(scene.place.path("one/volume-002"), scene.place.path("bundle/volume-002")).unwrap();
    stopped(&scene, 1, "of another bundle");
    // One volume twice.
    fs::remove_dir_all(scene.place.path("bundle")).unwrap();
    fs::rename(scene.place.path("one"), scene.place.path("bundle")).unwrap();
    fs::write(scene.place.path("bundle/volume-003/volume"), "1/4").unwrap();
    stopped(&scene, 1, "volume 1 too");
}

#[test]
fn a_bundle_is_not_made_over_another_and_lacks_nothing() {
    let scene = Scene::new();
    scene.bundle(&[]);
    let said = scene.place.fails(&[
        "bundle",
        "create",
        &scene.model(),
        "--out",
        "bundle",
        "--local",
        "--quiet",
    ]);
    assert!(said.contains("holds a bundle already"), "{said}");
    let small = ["--out", "small", "--volume-size", "1K", "--local", "--quiet"];
    let said = scene.place.fails(&[&["bundle", "create", &scene.model()], &small[..]].concat());
    assert!(said.contains("is too small"), "{said}");
    fs::write(scene.place.path("inventory"), "sha256:00 1\n").unwrap();
    let said = scene.place.fails(&[
        "bundle",
        "create",
        &scene.model(),
        "--out",
        "x",
        "--inventory",
        "inventory",
    ]);
    assert!(said.contains("line 1"), "{said}");
}
