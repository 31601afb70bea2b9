//! Manifests as each tool writes them.

use serde_json::{Value, json};

use super::*;
use crate::check_names;

fn descriptor(ty: &str, text: &str) -> Value {
    json!({ "mediaType": ty, "digest": mdl_store::Digest::of(text.as_bytes()).to_string(), "size": 7 })
}

fn titled(ty: &str, name: &str) -> Value {
    let mut it = descriptor(ty, name);
    it["annotations"] = json!({ "org.opencontainers.image.title": name });
    it
}

fn read(config: &str, layers: &[Value]) -> Package {
    let manifest =
        json!({ "schemaVersion": 2, "config": descriptor(config, "{}"), "layers": layers });
    Package::read(media::OCI_MANIFEST, manifest.to_string().as_bytes(), None)
}

fn names(package: &Package) -> Vec<(&str, LayerKind, bool)> {
    package.files.iter().map(|it| (it.name.as_str(), it.kind, it.archive)).collect()
}

#[test]
fn each_tools_manifest_is_known() {
    use LayerKind::*;
    let pack = read(
        media::MODEL_CONFIG,
        &[
            titled(media::WEIGHT, "m.gguf"),
            titled("application/vnd.cncf.model.weight.config.v1.tar+gzip", "config"),
            descriptor("application/vnd.cncf.model.doc.v1.tar", "d"),
        ],
    );
    assert_eq!(pack.kind, PackageKind::ModelPack);
    let found = [("config", Config, true), ("doc.tar", Doc, true), ("m.gguf", Weights, false)];
    assert_eq!(names(&pack), found);

    let docker = read(
        "application/vnd.docker.ai.model.config.v0.1+json",
        &[
            descriptor("application/vnd.docker.ai.gguf.v3", "g"),
            descriptor("application/vnd.docker.ai.license", "l"),
        ],
    );
    assert_eq!(docker.kind, PackageKind::DockerAi);
    assert_eq!(names(&docker), [("LICENSE", Doc, false), ("model.gguf", Weights, false)]);

    let kit = read(
        "application/vnd.kitops.modelkit.config.v1+json",
        &[descriptor("application/vnd.kitops.modelkit.model.v1.tar+gzip", "m")],
    );
    assert_eq!(kit.kind, PackageKind::KitOps);
    assert_eq!(names(&kit), [("weights.tar", Weights, true)]);

    let oras = read(media::EMPTY, &[titled("text/plain", "a/b.txt"), descriptor("x/y", "no name")]);
    assert_eq!((oras.kind, oras.layers.len()), (PackageKind::Other, 2));
    assert_eq!(names(&oras), [("a/b.txt", Doc, false)]);
}

#[test]
fn ollamas_layers_get_names() {
    let mut tensor = descriptor("application/vnd.ollama.image.tensor", "t");
    tensor["name"] = json!("model.embed");
    let layer = |ty: &str| descriptor(&format!("application/vnd.ollama.image.{ty}"), ty);
    let licences = ["license", "license"].map(layer);
    let mut second = licences[1].clone();
    second["digest"] = json!(mdl_store::Digest::of(b"other").to_string());
    let layers =
        [layer("model"), layer("params"), layer("template"), licences[0].clone(), second, tensor];
    let found = read(media::DOCKER_CONFIG, &layers);
    assert_eq!(found.kind, PackageKind::Ollama);
    let names: Vec<&str> = found.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "LICENSE",
            "LICENSE-2",
            "model.gguf",
            "params.json",
            "template.txt",
            "tensors/model.embed.safetensors"
        ]
    );
    assert_eq!(found.ggufs().len(), 1);
}

#[test]
fn names_that_leave_the_folder_are_problems() {
    for name in ["../x", "/etc/passwd", "a\\b", "a/../../b", ".git/config", "a\u{0}b"] {
        let found = read(media::MODEL_CONFIG, &[titled(media::WEIGHT, name)]);
        assert!(found.files.is_empty() && found.problems.len() == 1, "{name}: {found:?}");
        assert_eq!(found.layers.len(), 1);
    }
    let layers = [titled(media::WEIGHT, "a"), titled(media::DOC, "a/b")];
    assert_eq!(read(media::MODEL_CONFIG, &layers).problems.len(), 1);
    let mut other = titled(media::DOC, "a");
    assert!(read(media::MODEL_CONFIG, &[layers[0].clone(), other.clone()]).problems.is_empty());
    other["digest"] = json!(mdl_store::Digest::of(b"other").to_string());
    let twice = read(media::MODEL_CONFIG, &[layers[0].clone(), other]);
    assert_eq!((twice.files.len(), twice.problems.len()), (1, 1));
}

#[test]
fn what_is_no_manifest_is_a_problem() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bytes in ["", "null", "[]", "{\"layers\": 1}", "{\"annotations\": {\"a\": 1}}", &deep] {
        let found = Package::read(media::OCI_MANIFEST, bytes.as_bytes(), None);
        assert_eq!(found.problems.len(), 1, "{bytes:.20}");
    }
    let bad = json!({ "layers": [{ "digest": "sha256:1", "size": 1 }], "annotations": null });
    let found = Package::read(media::OCI_MANIFEST, bad.to_string().as_bytes(), None);
    assert!(found.layers.is_empty() && found.problems.len() == 1);
}

/// Whatever is broken in a manifest, reading it ends well and gives sound names only.
#[test]
fn broken_manifests_are_read() {
    let layers = [
        titled(media::WEIGHT, "a/m.gguf"),
        descriptor("application/vnd.ollama.image.params", "p"),
        descriptor("application/vnd.docker.ai.gguf.v3", "g"),
    ];
    let manifest = json!({
        "config": descriptor(media::MODEL_CONFIG, "{}"), "layers": layers, "annotations": { "org.mdl.types": "[]" },
    });
    let bytes = manifest.to_string().into_bytes();
    let config =
        br#"{"config":{"paramSize":"7B","format":"gguf"},"descriptor":{"licenses":["MIT"]}}"#;
    for at in 0..bytes.len() {
        for new in [b'"', b'{', b'/', b'.', b'\\', b'9', 0, 0xff] {
            let mut broken = bytes.clone();
            broken[at] = new;
            for broken in [&broken[..], &broken[..at]] {
                let found = Package::read(media::OCI_MANIFEST, broken, Some(config));
                assert!(check_names(found.files.iter().map(|it| it.name.as_str())).is_ok());
            }
        }
    }
}
