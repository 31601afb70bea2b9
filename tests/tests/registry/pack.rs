//! `mdl pack`, `list`, `tag`, `remove`, `prune`: the local store as a user sees it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use mdl_tests::{Place, need};
use serde_json::Value;

/// Where the local store keeps a blob.
fn blob(place: &Place, digest: &str) -> PathBuf {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    place.path("home/store/blobs").join(algorithm).join(hex)
}

fn manifest(place: &Place, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(blob(place, digest)).unwrap()).unwrap()
}

#[test]
fn a_folder_becomes_a_package() {
    let place = Place::new();
    insta::assert_snapshot!("pack_folder", place.says(&["pack", "data/tiny", "team/tiny:v1"]));
    let report = super::json(&place, &["pack", "data/tiny", "team/tiny:again"]);
    assert_eq!(report["version"], 1);
    let digest = report["digest"].as_str().unwrap();
    let kept = fs::read(blob(&place, digest)).unwrap();
    let standard = oci_spec::image::ImageManifest::from_reader(&kept[..]).unwrap();
    assert_eq!(standard.layers().len(), 9);
    let manifest = manifest(&place, digest);
    assert_eq!(manifest["artifactType"], "application/vnd.cncf.model.manifest.v1+json");
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&fs::read(blob(&place, config)).unwrap()).unwrap();
    assert_eq!(config["config"]["format"], "safetensors");
    assert_eq!(config["modelfs"]["diffIds"].as_array().unwrap().len(), 9);
    for layer in manifest["layers"].as_array().unwrap() {
        let name = layer["annotations"]["org.cncf.model.filepath"].as_str().unwrap();
        assert_eq!(layer["annotations"]["org.opencontainers.image.title"], name);
        let kept = blob(&place, layer["digest"].as_str().unwrap());
        let original = mdl_tests::data().join("tiny").join(name);
        assert_eq!(fs::read(&kept).unwrap(), fs::read(&original).unwrap(), "{name}");
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_ne!(inode(&kept), inode(&original), "{name}: the store shares no writable file");
    }
    // The same elsewhere, under another name: the same package.
    let other = Place::new();
    fs::create_dir(other.path("copy")).unwrap();
    for entry in fs::read_dir(mdl_tests::data().join("tiny")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, other.path("copy").join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(super::json(&other, &["pack", "copy", "x"])["digest"], digest);
}

#[test]
fn a_quantized_file_takes_its_recipe_and_report_along() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    let eval = [
        "eval",
        "q4.gguf",
        "--against",
        "data/tiny",
        "--data",
        "data/tiny/held-out.txt",
        "--chunks",
        "2",
    ];
    let shape = ["--context", "64", "--json", "--quiet"];
    fs::write(place.path("report.json"), place.says(&[&eval[..], &shape].concat())).unwrap();
    let report =
        super::json(&place, &["pack", "q4.gguf", "team/tiny:q4", "--report", "report.json"]);
    let files = report["files"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["name"]), (1, &Value::from("q4.gguf")));
    let digest = report["digest"].as_str().unwrap();

    let recipe = super::json(&place, &["inspect", "q4.gguf"])["recipe"].clone();
    for (kind, document) in [
        ("application/vnd.mdl.recipe.v1+toml", recipe.as_str().unwrap().to_owned()),
        (
            "application/vnd.mdl.evaluation.v1+json",
            fs::read_to_string(place.path("report.json")).unwrap(),
        ),
    ] {
        let referrers = report["referrers"].as_array().unwrap();
        let found = referrers.iter().find(|it| it["kind"] == kind).unwrap();
        let referrer = manifest(&place, found["digest"].as_str().unwrap());
        assert_eq!(referrer["artifactType"], kind);
        assert_eq!(referrer["subject"]["digest"], digest);
        let layer = referrer["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(fs::read_to_string(blob(&place, layer)).unwrap(), document);
    }
    // They live as long as what they are about.
    assert_eq!(super::json(&place, &["prune"])["blobs"], 0);
    place.says(&["remove", "team/tiny:q4"]);
    let gone = super::json(&place, &["prune"]);
    assert_eq!(
        gone["blobs"], 8,
        "file, config and manifest; two documents with manifests, one empty config"
    );
    assert!(!blob(&place, digest).exists());
}

#[test]
fn all_parts_of_a_split_model_are_packed() {
    let place = Place::new();
    place.says(&["convert", "data/tiny", "split.gguf", "--split-max-size", "2MiB", "--quiet"]);
    let names = fs::read_dir(place.folder()).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("split-"));
    names.sort();
    let report = super::json(&place, &["pack", &names[1], "tiny"]);
    let files = report["files"].as_array().unwrap();
    let found: Vec<&str> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    assert_eq!(report["reference"], "tiny:latest");
    fs::remove_file(place.path(&names[2])).unwrap();
    let refused = place.fails(&["pack", &names[0], "tiny"]);
    assert!(refused.contains("is missing"), "{refused}");
}

#[test]
fn a_file_from_elsewhere_is_packed() {
    let story = need!(mdl_tests::shared("stories260K.gguf"));
    let place = Place::new();
    let report = super::json(&place, &["pack", story.to_str().unwrap(), "stories:260k"]);
    assert_eq!(report["files"].as_array().unwrap().len(), 1, "nothing beside a file goes with it");
    assert!(report["referrers"].as_array().unwrap().is_empty());
    let inspected = super::json(&place, &["inspect", "stories:260k"]);
    assert_eq!(inspected["facts"]["architecture"], "llama");
    assert_eq!(inspected["facts"]["format"], "gguf");
}

#[test]
fn links_are_read_only() {
    let place = Place::new();
    fs::write(place.path("notes.md"), "# Notes").unwrap();
    let report = super::json(&place, &["pack", "notes.md", "notes", "--link"]);
    let kept = blob(&place, report["files"][0]["digest"].as_str().unwrap());
    let [kept, original] = [kept, place.path("notes.md")].map(|it| fs::metadata(it).unwrap());
    assert_eq!(kept.ino(), original.ino());
    assert_eq!(original.permissions().mode() & 0o222, 0);
}

#[test]
fn packages_are_listed_tagged_removed_and_pruned() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q8.gguf", "--scheme", "Q8_0", "--quiet"]);
    place.says(&["pack", "q8.gguf", "team/tiny:q8"]);
    place.says(&["pack", "data/tiny", "localhost:5050/team/tiny:bf16"]);
    let steps: &[&[&str]] = &[
        &["list"],
        &["tag", "team/tiny:q8", "team/tiny"],
        &["list", "latest"],
        &["remove", "team/tiny:q8"],
        &["prune"],
        &["remove", "team/tiny"],
        &["prune", "--dry-run"],
        &["prune"],
        &["list"],
    ];
    let step = |it: &&[&str]| format!("$ mdl {}\n{}\n", it.join(" "), place.says(it));
    let page: String = steps.iter().map(step).collect();
    insta::assert_snapshot!("local_store", super::masked(&page));
    let listed = super::json(&place, &["list"]);
    let [package] = &listed["packages"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(package["reference"], "localhost:5050/team/tiny:bf16");
    assert_eq!(package["architecture"], "llama");
}

/// A registry in the settings is what references without one mean.
#[test]
fn a_registry_can_be_set() {
    let place = Place::new();
    fs::create_dir(place.path("home")).unwrap();
    fs::write(place.path("home/config.toml"), "registry = \"models.example.org\"\n").unwrap();
    fs::write(place.path("notes.md"), "# Notes").unwrap();
    let report = super::json(&place, &["pack", "notes.md", "team/notes"]);
    assert_eq!(report["reference"], "models.example.org/team/notes:latest");
    place.says(&["tag", "team/notes", "team/notes:2"]);
    let listed = super::json(&place, &["list", "example.org/team/notes:2"]);
    assert_eq!(listed["packages"].as_array().unwrap().len(), 1);
    assert_eq!(
        super::json(&place, &["inspect", "--local", "team/notes:2"])["digest"],
        report["digest"]
    );
}

/// Every message on one page: they should read alike.
#[test]
fn errors() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("cut.gguf"), b"GGUF\x03\0\0\0").unwrap();
    fs::write(place.path("notes.md"), "# Notes").unwrap();
    fs::write(place.path("report.json"), "{\"version\": 1}").unwrap();
    let digest = format!("a@sha256:{}", "0".repeat(64));
    let all: &[&[&str]] = &[
        &["pack", "missing", "a"],
        &["pack", "empty", "a"],
        &["pack", "cut.gguf", "a"],
        &["pack", "notes.md", "Team/Notes"],
        &["pack", "notes.md", "https://example.org/a"],
        &["pack", "notes.md", "a:b:c"],
        &["pack", "notes.md", &digest],
        &["pack", "notes.md", "a", "--report", "notes.md"],
        &["pack", "notes.md", "a", "--report", "report.json"],
        &["pack", "notes.md", "a", "--report", "missing.json"],
        &["tag", "a", "b"],
        &["remove", "a"],
        &["remove", &digest],
        &["inspect", "a"],
        &["inspect", "--local", "a"],
        &["inspect", "./a"],
        &["inspect", "Team/Notes"],
        &["inspect", "localhost:1/a", "--tensors"],
    ];
    let page: String = all.iter().map(|arguments| place.fails(arguments)).collect();
    insta::assert_snapshot!("pack_errors", page);
    assert_eq!(super::json(&place, &["list"])["packages"].as_array().unwrap().len(), 0);
}

/// What cannot be seen through is said, and what is asked for is done.
#[test]
fn what_is_left_out_is_said() {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    fs::write(place.path("model/notes.md"), "# Notes").unwrap();
    fs::write(place.path("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", place.path("model/link")).unwrap();
    let done = place.run(&["pack", "model", "a"]);
    assert!(done.status.success());
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(stderr, "warning: link is left out: it is a link out of model\n");
}

/// The local store is an OCI image layout that others read as it stands.
#[test]
fn skopeo_reads_the_store() {
    let skopeo = need!(in_path("skopeo"));
    let place = Place::new();
    let report = super::json(&place, &["pack", "data/tiny", "localhost:5050/team/tiny:v1"]);
    let source = format!("oci:{}:localhost:5050/team/tiny:v1", place.path("home/store").display());
    let target = format!("dir:{}", place.path("out").display());
    mdl_tests::output(Command::new(skopeo).args(["copy", "--quiet", &source, &target]));
    for file in report["files"].as_array().unwrap() {
        let hex = file["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let original = mdl_tests::data().join("tiny").join(file["name"].as_str().unwrap());
        let copied = fs::read(place.path("out").join(hex)).unwrap();
        assert_eq!(copied, fs::read(original).unwrap());
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|it| it.is_file())
}
