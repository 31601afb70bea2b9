//! Attestations: what is said, and what is not.

use mdl_store::{Descriptor, Digest};
use serde_json::json;

use super::*;
use crate::{license, pack::Provenance};

fn material(license: Option<&str>, files: &[(&str, &str)]) -> Material {
    let layer = |(name, kind): &(&str, &str)| {
        json!({ "mediaType": format!("application/vnd.cncf.model.{kind}.v1.raw"),
            "digest": Digest::of(name.as_bytes()).to_string(), "size": name.len(),
            "annotations": { media::FILEPATH: name } })
    };
    let mut annotations = json!({ "org.mdl.quantization": "Q4_K_M" });
    if let Some(license) = license {
        annotations[media::LICENSES] = license.into();
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": media::MODEL_MANIFEST,
        "config": { "mediaType": media::MODEL_CONFIG, "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": files.iter().map(layer).collect::<Vec<_>>(),
        "annotations": annotations,
    });
    let bytes = manifest.to_string();
    let package = Package::read(media::OCI_MANIFEST, bytes.as_bytes(), None);
    assert_eq!(package.problems, Vec::<String>::new());
    let media_type = media::OCI_MANIFEST.to_owned();
    let digest = Digest::of(bytes.as_bytes());
    Material::new(
        "acme/tiny",
        None,
        Descriptor { media_type, digest, size: bytes.len() as u64 },
        package,
    )
}

#[test]
fn licences_are_open_where_every_way_out_is() {
    for open in
        ["MIT", "apache-2.0", "Apache-2.0 OR MIT", "CC-BY-4.0", "OpenMDW-1.0", "GPL-3.0-only"]
    {
        assert!(license::is_open(open), "{open}");
    }
    for closed in
        ["", "llama3.1", "gemma", "other", "CC-BY-NC-4.0", "MIT AND CC-BY-NC-4.0", "MIT, or so"]
    {
        assert!(!license::is_open(closed), "{closed}");
    }
    assert_eq!(license::listed("mit"), json!([{ "license": { "id": "MIT" } }]));
    assert_eq!(
        license::listed("MIT OR Apache-2.0"),
        json!([{ "expression": "MIT OR Apache-2.0" }])
    );
    assert_eq!(license::listed("llama3.1"), json!([{ "license": { "name": "llama3.1" } }]));
}

#[test]
fn a_bill_of_materials_depends_on_the_package_alone() {
    let one = material(Some("MIT"), &[("model.gguf", "weight"), ("README.md", "doc")]);
    let bom = one.bom();
    assert_eq!(bom, one.bom());
    let serial = bom["serialNumber"].as_str().unwrap();
    assert!(
        serial.len() == 45 && serial.starts_with("urn:uuid:") && &serial[23..24] == "8",
        "{serial}"
    );
    assert_eq!(bom["components"].as_array().unwrap().len(), 2);
    let other = material(Some("MIT"), &[("model.gguf", "weight")]);
    assert_ne!(bom["serialNumber"], other.bom()["serialNumber"]);
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    let mut bare = material(None, &[("model.gguf", "weight")]);
    assert!(bare.predicate(Attestation::QuantizationReport, None).is_none());
    assert!(bare.predicate(Attestation::Provenance, None).is_none());
    bare.add(Some(media::RECIPE), b"not = [toml".to_vec());
    assert!(bare.predicate(Attestation::Provenance, None).is_none());
    bare.add(Some("a/b"), b"x".to_vec());
    bare.add(Some(media::EVALUATION), b"{}".to_vec());
    assert!(bare.predicate(Attestation::QuantizationReport, None).is_none());
}

#[test]
fn provenance_says_where_sources_lie() {
    let dir = tempfile::tempdir().unwrap();
    let sha256 = Digest::of(b"source").hex().to_owned();
    let mut quantized = material(None, &[("model.gguf", "weight")]);
    let recipe = format!(
        "version = 1\nmdl = \"0.1.0\"\nscheme = \"Q4_K_M\"\n[[source]]\nname = \"m\"\nsha256 = \"{sha256}\"\n"
    );
    quantized.add(Some(media::RECIPE), recipe.clone().into_bytes());
    let mut origins = Origins::open(dir.path());
    let unknown = quantized.statement(Attestation::Provenance, Some(&origins)).unwrap();
    assert_eq!(source_of(&unknown), None);
    let from = Provenance {
        source: "https://hub.example/org/name".to_owned(),
        revision: Some("abc".to_owned()),
        license: None,
    };
    origins.keep(&[Digest::of(b"source")], &from).unwrap();
    let known = quantized.statement(Attestation::Provenance, Some(&origins)).unwrap();
    assert_eq!(source_of(&known).as_deref(), Some("https://hub.example/org/name@abc"));
    let predicate = &known.predicate;
    assert_eq!(predicate["buildDefinition"]["externalParameters"]["recipe"], recipe);
    assert_eq!(predicate["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"], sha256);
    assert_eq!(predicate["runDetails"]["builder"]["version"]["mdl"], "0.1.0");
}
