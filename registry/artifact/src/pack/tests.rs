//! Plans and manifests of small files and folders.

use std::{fs, os::unix::fs::symlink};

use mdl_formats::{
    digest::Unwatched,
    gguf::{Layout, Metadata},
};
use serde_json::Value;

use super::*;
use crate::{Package, PackageKind};

/// A GGUF file without tensors.
fn gguf(path: &Path, keys: &[(&str, &str)]) {
    let mut metadata = Metadata::new();
    for (key, value) in keys {
        metadata.set(*key, *value);
    }
    let layout = Layout::new(path, &metadata, &[]).unwrap();
    fs::write(path, layout.header).unwrap();
}

fn packed(plan: &Plan, report: Option<&[u8]>) -> Packed {
    let digests = plan.digests(&mut DigestCache::open(None), &Unwatched).unwrap();
    plan.finish(&digests, report).unwrap()
}

fn names(plan: &Plan) -> Vec<(&str, &str)> {
    let kind = |it: &PlanFile| {
        let rest = it.media_type.strip_prefix("application/vnd.cncf.model.").unwrap();
        rest.strip_suffix(".v1.raw").unwrap()
    };
    plan.files.iter().map(|it| (it.name.as_str(), kind(it))).collect()
}

#[test]
fn a_folder_is_packed_whole_and_sorted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("model");
    for folder in ["", "data", ".git", ".cache", "sub/deeper"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in [
        "README.md",
        "LICENSE",
        "config.json",
        "train.py",
        "weights.bin",
        "data/a.txt",
        "odd",
        ".git/config",
        ".gitignore",
        ".cache/x",
        ".mdl-1.tmp",
        "sub/deeper/notes.md",
        "tokenizer.model",
    ] {
        fs::write(root.join(name), name).unwrap();
    }
    gguf(&root.join("really-a-model"), &[]);
    fs::write(dir.path().join("outside"), "secret").unwrap();
    symlink("../outside", root.join("link-out")).unwrap();
    symlink("README.md", root.join("link-in.md")).unwrap();
    symlink("..", root.join("sub/deeper/up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let plan = Plan::of(&root, &Limits::default()).unwrap();
    assert_eq!(
        names(&plan),
        [
            ("really-a-model", "weight"),
            ("weights.bin", "weight"),
            ("config.json", "weight.config"),
            ("tokenizer.model", "weight.config"),
            ("LICENSE", "doc"),
            ("README.md", "doc"),
            ("link-in.md", "doc"),
            ("sub/deeper/notes.md", "doc"),
            ("train.py", "code"),
            ("data/a.txt", "dataset"),
            ("odd", "doc"),
        ]
    );
    assert_eq!(plan.notes.len(), 3, "{:?}", plan.notes);
    for (note, says) in plan.notes.iter().zip(["nothing", "out of", "lies in"]) {
        assert!(note.contains(says), "{note}");
    }

    let packed = packed(&plan, None);
    let text = String::from_utf8(packed.manifest.bytes.clone()).unwrap();
    assert!(!text.contains(dir.path().to_str().unwrap()) && !text.contains("secret"), "{text}");
    let package = Package::read(media::OCI_MANIFEST, text.as_bytes(), Some(&packed.config.bytes));
    assert_eq!((package.kind, package.problems.len()), (PackageKind::ModelPack, 0));
    let mut expected: Vec<&str> = plan.files.iter().map(|it| it.name.as_str()).collect();
    expected.sort_unstable();
    let found: Vec<&str> = package.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_same_files_give_the_same_digest() {
    let dir = tempfile::tempdir().unwrap();
    let digest = |folder: &str| {
        let root = dir.path().join(folder);
        fs::create_dir(&root).unwrap();
        for name in ["b.md", "a.bin", "c.json"] {
            fs::write(root.join(name), name).unwrap();
        }
        packed(&Plan::of(&root, &Limits::default()).unwrap(), None)
    };
    let packed = digest("one");
    assert_eq!(packed, digest("two"));
    let manifest: Value = serde_json::from_slice(&packed.manifest.bytes).unwrap();
    assert_eq!(manifest["artifactType"], media::MODEL_MANIFEST);
    assert_eq!(manifest["config"]["digest"], packed.config.digest.to_string());
    let order: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["annotations"][media::FILEPATH].as_str().unwrap())
        .collect();
    assert_eq!(order, ["a.bin", "c.json", "b.md"]);
    // Written down, so that a change of the manifest's bytes is a decision and not an accident.
    assert_eq!(
        packed.manifest.digest.to_string(),
        "sha256:b990f50990c5a271aad42084fa7d148c5677cbed9733ef4ea5a14870876ad438"
    );
}

#[test]
fn a_file_takes_nothing_with_it_and_a_part_takes_all_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let keys = [
        ("general.architecture", "llama"),
        ("general.name", "A model"),
        ("mdl.recipe", "version = 1\n"),
    ];
    gguf(&path, &keys);
    fs::write(dir.path().join("README.md"), "beside").unwrap();
    let plan = Plan::of(&path, &Limits::default()).unwrap();
    assert_eq!(names(&plan), [("m.gguf", "weight")]);
    assert_eq!(plan.facts.architecture.as_deref(), Some("llama"));

    let packed = packed(&plan, None);
    let [recipe] = &packed.referrers[..] else { panic!("{:?}", packed.referrers) };
    assert_eq!(recipe.artifact_type, media::RECIPE);
    assert!(recipe.blobs.iter().any(|blob| blob.bytes == b"version = 1\n"));
    let read = Package::read(media::OCI_MANIFEST, &recipe.manifest.bytes, None);
    assert_eq!(read.subject.map(|it| it.digest), Some(packed.manifest.digest.clone()));
    assert_eq!(read.config.map(|it| it.digest.to_string()).as_deref(), Some(EMPTY_DIGEST));

    for (number, name) in ["s-00001-of-00002.gguf", "s-00002-of-00002.gguf"].iter().enumerate() {
        let mut keys = Metadata::new();
        keys.set("split.no", u16::try_from(number).unwrap());
        keys.set("split.count", 2_u16);
        keys.set("split.tensors.count", 0_i32);
        let part = dir.path().join(name);
        fs::write(&part, Layout::new(&part, &keys, &[]).unwrap().header).unwrap();
    }
    let plan = Plan::of(&dir.path().join("s-00002-of-00002.gguf"), &Limits::default()).unwrap();
    assert_eq!(
        names(&plan),
        [("s-00001-of-00002.gguf", "weight"), ("s-00002-of-00002.gguf", "weight")]
    );
}

/// As the image specification states it.
const EMPTY_DIGEST: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

#[test]
fn what_cannot_be_packed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let says = |path: &Path, limits: &Limits| Plan::of(path, limits).unwrap_err().to_string();
    let limits = Limits::default();
    assert!(says(&dir.path().join("none"), &limits).contains("open"));
    assert!(says(dir.path(), &limits).ends_with("holds no files to pack"));
    fs::write(dir.path().join("a\nb"), "").unwrap();
    assert!(says(dir.path(), &limits).contains("control characters"));
    fs::remove_file(dir.path().join("a\nb")).unwrap();
    fs::write(dir.path().join("cut.gguf"), b"GGUF\x03\0\0").unwrap();
    assert!(says(&dir.path().join("cut.gguf"), &limits).contains("cut.gguf"));
    // In a folder it is packed, and said.
    let plan = Plan::of(dir.path(), &limits).unwrap();
    assert_eq!((plan.files.len(), plan.notes.len()), (1, 1), "{:?}", plan.notes);
    let few = Limits { files: 0, ..Limits::default() };
    assert!(says(dir.path(), &few).contains("more files than the limit of 0"));
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    let flat = Limits { depth: 3, ..Limits::default() };
    assert!(says(dir.path(), &flat).contains("deeper than the limit of 3"));
    let plan = Plan::of(&dir.path().join("cut.gguf"), &limits);
    assert!(matches!(plan, Err(Error::Formats(_))));
    let good = Plan::of(dir.path(), &limits).unwrap();
    assert!(matches!(good.finish(&BTreeMap::new(), None), Err(Error::NoDigest(_))));
    let digests = good.digests(&mut DigestCache::open(None), &Unwatched).unwrap();
    assert!(matches!(good.finish(&digests, Some(b"{}")), Err(Error::Report(_))));
}

/// Checks a value against a schema as far as ModelPack's config schema (0.0.7) uses JSON Schema: objects with exactly
/// these keys, each of a kind.
#[test]
fn configs_keep_to_the_schema() {
    let facts = Facts {
        architecture: Some("llama".into()),
        format: Some("gguf".into()),
        name: Some("n".into()),
        parameters: Some(134_515_008),
        quantization: Some("Q4_K_M".into()),
        license: Some("MIT".into()),
        tokenizer: Some("gpt2".into()),
        languages: vec!["en".into(), "German".into(), "de".into()],
        ..Facts::default()
    };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.md"), "x").unwrap();
    let mut plan = Plan::of(dir.path(), &Limits::default()).unwrap();
    check(&packed(&plan, None).config.bytes);
    plan.facts = facts;
    plan.provenance = Some(Provenance {
        source: "https://huggingface.co/a/b".into(),
        revision: Some("0".repeat(40)),
        license: None,
    });
    let config = check(&packed(&plan, None).config.bytes);
    assert_eq!(config["config"]["capabilities"]["languages"], serde_json::json!(["en", "de"]));
    assert_eq!(config["config"]["paramSize"], "135M");
}

fn check(bytes: &[u8]) -> Value {
    let config: Value = serde_json::from_slice(bytes).unwrap();
    let keys = |path: &str, allowed: &[&str]| {
        let object = config.pointer(path).and_then(Value::as_object).unwrap();
        for (key, value) in object {
            assert!(allowed.contains(&key.as_str()), "{path}/{key}");
            let list = ["licenses", "authors", "datasetsURL", "diffIds"].contains(&key.as_str());
            let nested =
                ["descriptor", "config", "modelfs", "capabilities"].contains(&key.as_str());
            match value {
                Value::String(text) => assert!(!list && !nested && !text.is_empty(), "{key}"),
                Value::Array(items) => assert!(list && items.iter().all(Value::is_string), "{key}"),
                Value::Object(_) => assert!(nested, "{key}"),
                _ => panic!("{path}/{key} is {value}"),
            }
        }
    };
    keys("", &["descriptor", "config", "modelfs"]);
    keys(
        "/descriptor",
        &[
            "createdAt",
            "authors",
            "family",
            "name",
            "docURL",
            "sourceURL",
            "datasetsURL",
            "version",
            "revision",
            "vendor",
            "licenses",
            "title",
            "description",
        ],
    );
    keys(
        "/config",
        &["architecture", "format", "paramSize", "precision", "quantization", "capabilities"],
    );
    keys("/modelfs", &["type", "diffIds"]);
    assert!(config["config"]["format"].is_string() && config["config"]["paramSize"].is_string());
    assert_eq!(config["modelfs"]["type"], "layers");
    assert!(!config["modelfs"]["diffIds"].as_array().unwrap().is_empty());
    if let Some(capabilities) = config["config"].get("capabilities") {
        for (key, value) in capabilities.as_object().unwrap() {
            assert!(["inputTypes", "outputTypes", "languages"].contains(&key.as_str()), "{key}");
            assert!(value.as_array().unwrap().iter().all(Value::is_string));
        }
    }
    config
}
