//! `mdl inspect` of packages of the local store.

use std::fs;

use mdl_tests::Place;
use serde_json::Value;

fn packed() -> Place {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    let eval = ["eval", "q4.gguf", "--data", "data/tiny/held-out.txt", "--chunks", "2"];
    let shape = ["--context", "64", "--json", "--quiet"];
    fs::write(place.path("report.json"), place.says(&[&eval[..], &shape].concat())).unwrap();
    place.says(&["pack", "q4.gguf", "team/tiny:q4", "--report", "report.json"]);
    place
}

#[test]
fn a_package_is_shown_from_its_manifest() {
    let place = packed();
    let text = place.says(&["inspect", "team/tiny:q4"]);
    insta::assert_snapshot!("inspect_package", super::masked(&text));
    let text = place.says(&["inspect", "team/tiny:q4", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["kind"], "ModelPack");
    assert_eq!(report["facts"]["quantization"], "Q4_K_M");
    assert_eq!(report["referrers"].as_array().unwrap().len(), 2);
    let file: Value = serde_json::from_str(&place.says(&["inspect", "q4.gguf", "--json"])).unwrap();
    for key in ["parameters", "tensor_bytes", "bits_per_weight", "types", "recipe", "license"] {
        assert_eq!(report["facts"][key], file[key], "{key}");
    }
    // By its digest too, and by no other repository's name.
    let digest = report["digest"].as_str().unwrap();
    let by_digest = place.says(&["inspect", &format!("team/tiny@{digest}"), "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&by_digest).unwrap()["digest"], digest);
    let other = place.fails(&["inspect", &format!("team/other@{digest}")]);
    assert!(other.contains("no such file, folder or package"), "{other}");
}

#[test]
fn the_header_of_a_packed_file_is_shown() {
    let place = packed();
    let lines = |text: String| {
        text.lines()
            .filter(|line| !line.contains("\"path\""))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let of_file = place.says(&["inspect", "q4.gguf", "--tensors", "--json"]);
    let of_package = place.says(&["inspect", "team/tiny:q4", "--tensors", "--json"]);
    assert_eq!(lines(of_package), lines(of_file));
    place.says(&["pack", "data/tiny", "team/folder"]);
    let refused = place.fails(&["inspect", "team/folder", "--tensors"]);
    assert!(refused.contains("mdl pull team/folder:latest --to DIR"), "{refused}");
}

/// What is damaged is said, not shown as if it were sound.
#[test]
fn a_damaged_store_is_said() {
    let place = packed();
    let text = place.says(&["inspect", "team/tiny:q4", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let hex = report["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let path = place.path("home/store/blobs/sha256").join(hex);
    fs::write(&path, "rubbish").unwrap();
    let refused = place.fails(&["inspect", "team/tiny:q4"]);
    assert!(refused.contains("error: "), "{refused}");
}
