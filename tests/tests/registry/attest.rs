//! Attestations: what is said of a package, who accepts it, and whether it can be made again.

use std::{fs, process::Command};

use mdl_tests::{Place, client, need, output, python_cyclonedx, server::Server};
use serde_json::{Value, json};

/// A registry with `acme/tiny:q4`, quantized, evaluated and attested by `lab`.
struct Scene {
    place: Place,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place.path("root"));
        for name in ["release", "lab"] {
            place.says(&["key", "generate", "--out", name]);
        }
        place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
        let text = ["--data", "data/tiny/held-out.txt", "--chunks", "2", "--context", "64"];
        let arguments = [&["eval", "q4.gguf", "--against", "data/tiny"], &text[..]].concat();
        let report = super::json(&place, &arguments);
        fs::write(place.path("evaluation.json"), report.to_string()).unwrap();
        let model = server.at("acme/tiny:q4");
        place.says(&["push", "q4.gguf", &model, "--report", "evaluation.json", "--quiet"]);
        place.says(&["attest", &model, "--key", "lab.key"]);
        Self { place, server }
    }

    fn model(&self) -> String {
        self.server.at("acme/tiny:q4")
    }

    /// What the policy says of the model.
    fn judged(&self, rule: &str) -> (bool, Value) {
        let text =
            format!("[[rule]]\nrepositories = [\"acme/*\"]\nkeys = [\"release.pub\"]\n{rule}");
        fs::write(self.place.path("trust.toml"), text).unwrap();
        let done = self.place.run(&["verify", &self.model(), "--trust", "trust.toml", "--json"]);
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        (done.status.code() == Some(0), report)
    }
}

#[test]
fn a_policy_asks_for_attestations() {
    let scene = Scene::new();
    // An attestation is no signature of the package.
    scene.place.says(&["attest", &scene.model(), "--key", "release.key", "--kind", "openness"]);
    assert!(!scene.judged("").0);
    scene.place.says(&["sign", &scene.model(), "--key", "release.key"]);
    let all = "require = [\"quantization-report\", \"provenance\", \"bom\", \"openness\"]\n\
        attesters = { quantization-report = [\"lab.pub\"], provenance = [\"lab.pub\"], \
        bom = [\"lab.pub\"], openness = [\"lab.pub\"] }\n";
    let (trusted, report) = scene.judged(&format!("{all}max_kld = 0.5"));
    assert!(trusted, "{report}");
    // The same statements, by a key that may not make them; a gate that is not met; a class that is not reached.
    assert!(!scene.judged("require = [\"provenance\"]").0);
    assert!(!scene.judged(&format!("{all}max_kld = 0.000001")).0);
    assert!(!scene.judged(&format!("{all}openness = \"III\"")).0);
}

#[test]
fn cosign_accepts_them() {
    let cosign = need!(client("cosign"));
    let scene = Scene::new();
    let predicate = |kind: &str, key: &str| {
        let mut command = Command::new(&cosign);
        command.current_dir(scene.place.folder()).env("HOME", scene.place.path("elsewhere"));
        command.env_remove("DOCKER_CONFIG").args([
            "verify-attestation",
            "--type",
            kind,
            "--key",
            key,
        ]);
        command.args(["--private-infrastructure", "--allow-http-registry", &scene.model()]);
        let done = command.output().unwrap();
        done.status.success().then(|| {
            use base64::Engine as _;
            let envelope: Value = serde_json::from_slice(&done.stdout).unwrap();
            let payload = envelope["payload"].as_str().unwrap();
            let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
            serde_json::from_slice::<Value>(&payload).unwrap()["predicate"].clone()
        })
    };
    let provenance = predicate("slsaprovenance1", "lab.pub").unwrap();
    let recipe = provenance["buildDefinition"]["externalParameters"]["recipe"].as_str().unwrap();
    assert!(recipe.contains("scheme = \"Q4_K_M\""));
    let sources = provenance["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let weights = fs::read(scene.place.path("data/tiny/model.safetensors")).unwrap();
    let digest = mdl_store::Digest::of(&weights).hex().to_owned();
    assert!(
        sources
            .iter()
            .any(|it| it["name"] == "model.safetensors" && it["digest"]["sha256"] == digest)
    );
    let report = predicate("https://mdl.org/quantization-report/v1", "lab.pub").unwrap();
    assert!(report["evaluation"]["divergence"]["mean"].as_f64().unwrap() > 0.0);
    assert!(report["evaluation"]["divergence"]["error"].as_f64().unwrap() > 0.0);
    assert!(predicate("cyclonedx", "lab.pub").is_some());
    assert!(predicate("slsaprovenance1", "release.pub").is_none(), "by another key");
    assert!(predicate("spdx", "lab.pub").is_none(), "of another kind");
}

#[test]
fn a_bill_of_materials_is_valid_by_its_schema() {
    let python = need!(python_cyclonedx());
    let scene = Scene::new();
    let text = scene.place.says(&["sbom", &scene.model()]);
    assert_eq!(text, scene.place.says(&["sbom", &scene.model()]), "it holds no clock");
    fs::create_dir(scene.place.path("folder")).unwrap();
    for (name, content) in [
        ("README.md", "---\nlicense: apache-2.0\nbase_model: org/base\n---\n# Model\n"),
        ("train.py", "pass"),
        ("model.bin", "x"),
    ] {
        fs::write(scene.place.path("folder").join(name), content).unwrap();
    }
    scene.place.says(&["sbom", &scene.model(), "--out", "package.json"]);
    scene.place.says(&["sbom", "folder", "--out", "folder.json", "--quiet"]);
    let check = "import sys\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        from cyclonedx.schema import SchemaVersion\n\
        for name in sys.argv[1:]:\n    \
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(name).read())\n    \
        assert error is None, (name, error)\n";
    let mut command = Command::new(&python);
    command.current_dir(scene.place.folder()).args(["-c", check, "package.json", "folder.json"]);
    output(&mut command);
    let bom: Value =
        serde_json::from_slice(&fs::read(scene.place.path("folder.json")).unwrap()).unwrap();
    let model = &bom["metadata"]["component"];
    assert_eq!(model["licenses"], json!([{ "license": { "id": "Apache-2.0" } }]));
    assert_eq!(model["pedigree"]["ancestors"][0]["name"], "org/base");
    // Attached, it is found by its type.
    scene.place.says(&["sbom", &scene.model(), "--attach"]);
    let report = super::json(&scene.place, &["inspect", &scene.model()]);
    let kinds = report["referrers"].as_array().unwrap().iter().map(|it| &it["kind"]);
    assert_eq!(kinds.filter(|kind| *kind == "application/vnd.cyclonedx+json").count(), 1);
}

#[test]
fn openness_goes_by_what_is_there() {
    let place = Place::new();
    fs::create_dir(place.path("m")).unwrap();
    let add = |name: &str, content: &str| {
        let path = place.path("m").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let class = || {
        let report = super::json(&place, &["openness", "m"]);
        (report["class"].clone(), report["missing"].as_array().unwrap().len())
    };
    for name in
        ["config.json", "model.bin", "data_card.md", "technical_report.pdf", "evaluation.md"]
    {
        add(name, "{}");
    }
    add("README.md", "---\nlicense: llama3.1\n---\n");
    assert_eq!(class(), (Value::Null, 1), "its licence is not open");
    add("README.md", "---\nlicense: mit\n---\n");
    let (found, missing) = class();
    assert!(found == "III" && missing > 0);
    for name in ["train.py", "generate.py", "evaluate.py", "eval.jsonl"] {
        add(name, "x");
    }
    assert_eq!(class().0, "II");
    for name in ["corpus.jsonl", "preprocess.py", "checkpoint-1/model.bin", "paper.pdf"] {
        add(name, "x");
    }
    assert_eq!(class(), ("I".into(), 0));
    fs::remove_file(place.path("m/data_card.md")).unwrap();
    assert_eq!(class(), (Value::Null, 1));
}

#[test]
fn a_model_is_made_again_and_compared() {
    let scene = Scene::new();
    let model = scene.model();
    let said = scene.place.fails(&["rebuild", &model, "--quiet"]);
    assert!(said.contains("--source") && said.contains("[status 1]"), "{said}");
    let source = scene.server.at("acme/source:v1");
    scene.place.says(&["push", "data/tiny", &source, "--quiet"]);
    for named in ["data/tiny", &source] {
        let report = super::json(&scene.place, &["rebuild", &model, "--source", named]);
        assert_eq!(report["same"], true, "{report}");
    }
    // Out of the local store, where the source is.
    scene.place.says(&["pack", "data/tiny", "source:v1"]);
    scene.place.says(&["rebuild", &model, "--quiet", "--keep", "again.gguf"]);
    let read = |name: &str| fs::read(scene.place.path(name)).unwrap();
    assert_eq!(read("again.gguf"), read("q4.gguf"));
    assert!(fs::read_dir(scene.place.path("home/rebuilds")).unwrap().next().is_none());
    // Another source is not the recipe's.
    let said = scene.place.fails(&["rebuild", &model, "--source", "q4.gguf", "--quiet"]);
    assert!(said.contains("[status 1]"), "{said}");
    // A model that is not what its recipe says: one byte of its weights, everything else as it should be.
    let mut bytes = read("q4.gguf");
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(scene.place.path("other.gguf"), bytes).unwrap();
    let other = scene.server.at("acme/other:q4");
    scene.place.says(&["push", "other.gguf", &other, "--quiet"]);
    let done = scene.place.run(&["rebuild", &other, "--quiet"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.code() == Some(3) && said.contains("not the same"), "{said}");
    let said = scene.place.fails(&["rebuild", &source, "--quiet"]);
    assert!(said.contains("has no recipe"), "{said}");
}

#[test]
fn pages_name_what_is_signed() {
    let scene = Scene::new();
    scene.place.says(&["sign", &scene.model(), "--key", "release.key"]);
    let page = mdl_tests::http::try_get(&scene.server.host, "/acme/tiny:q4").unwrap().text();
    for name in [
        "Signature",
        "Model signature",
        "Signed report",
        "Signed provenance",
        "Signed BOM",
        "Signed openness",
    ] {
        assert!(page.contains(name), "{name}");
    }
}
