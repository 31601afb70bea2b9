//! Signatures: cosign and OpenSSF's model_signing accept what mdl signs, mdl accepts what they sign, and all refuse the
//! same.

use std::{fs, path::Path, process::Command};

use mdl_tests::{Place, client, installed, model_signing, need, output, server::Server};
use serde_json::Value;

/// A registry of ours with `acme/tiny:v1`, a folder; and a key `release`.
struct Scene {
    place: Place,
    server: Server,
    digest: String,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place.path("root"));
        place.says(&["key", "generate", "--out", "release"]);
        let report = super::json(&place, &["push", "data/tiny", &server.at("acme/tiny:v1")]);
        Self { digest: report["digest"].as_str().unwrap().to_owned(), place, server }
    }

    fn model(&self) -> String {
        self.server.at("acme/tiny:v1")
    }

    /// Whether mdl trusts a model by a key, and what it found.
    fn verified(&self, model: &str, key: &str) -> (bool, Value) {
        let done = self.place.run(&["verify", model, "--key", key, "--json"]);
        let report = serde_json::from_slice(&done.stdout).unwrap();
        let status = done.status.code().unwrap();
        assert!(status == 0 || status == 3, "{}", String::from_utf8_lossy(&done.stderr));
        (status == 0, report)
    }

    fn trusts(&self, model: &str, key: &str) -> bool {
        let (trusted, report) = self.verified(model, key);
        assert_eq!(report["trusted"], trusted);
        trusted
    }

    fn cosign(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.place.folder()).env("HOME", self.place.path("elsewhere"));
        command.env("COSIGN_PASSWORD", "secret").env_remove("DOCKER_CONFIG").args(arguments);
        command
    }

    fn cosign_signs(&self, program: &Path, key: &str, model: &str) {
        let flags =
            ["--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "-y"];
        output(self.cosign(program, &["sign", "--key", key, model]).args(flags));
    }

    fn cosign_trusts(&self, program: &Path, key: &str, model: &str) -> bool {
        let flags = ["--private-infrastructure", "--allow-http-registry"];
        let mut command = self.cosign(program, &["verify", "--key", key, model]);
        command.args(flags).output().unwrap().status.success()
    }
}

#[test]
fn cosign_and_mdl_accept_each_others_keys_and_signatures() {
    let cosign = need!(client("cosign"));
    let scene = Scene::new();
    output(scene.cosign(&cosign, &["generate-key-pair"]).arg("--output-key-prefix=cosign"));
    scene.place.says(&["key", "generate", "--out", "ed", "--type", "ed25519"]);
    // Each on a model of its own, so that no signature stands in for another.
    for (at, (key, by_cosign)) in [
        ("release", false),
        ("release", true),
        ("cosign", false),
        ("cosign", true),
        // What cosign 3.1 signs with an Ed25519 key (in its prehashed form) its own `verify --key` refuses too.
        ("ed", false),
    ]
    .into_iter()
    .enumerate()
    {
        let model = scene.server.at(&format!("acme/model-{at}:v1"));
        let report = super::json(&scene.place, &["push", "data/tiny/config.json", &model]);
        let digest = report["digest"].as_str().unwrap();
        let by_digest = scene.server.at(&format!("acme/model-{at}@{digest}"));
        let (private, public) = (format!("{key}.key"), format!("{key}.pub"));
        assert!(!scene.trusts(&model, &public) && !scene.cosign_trusts(&cosign, &public, &model));
        if by_cosign {
            scene.cosign_signs(&cosign, &private, &by_digest);
        } else {
            scene.place.run(&["sign", &model, "--key", &private]);
        }
        for name in [&model, &by_digest] {
            assert!(scene.trusts(name, &public), "{key}, by cosign: {by_cosign}");
            assert!(scene.cosign_trusts(&cosign, &public, name), "{key}, by cosign: {by_cosign}");
        }
        let foreign = if key == "release" { "cosign.pub" } else { "release.pub" };
        assert!(!scene.trusts(&model, foreign) && !scene.cosign_trusts(&cosign, foreign, &model));
    }
}

#[test]
fn a_signature_says_nothing_of_another_manifest_or_place() {
    let (cosign, oras) = (need!(client("cosign")), need!(client("oras")));
    let scene = Scene::new();
    scene.place.says(&["sign", &scene.model(), "--key", "release.key"]);
    // An altered manifest under the same tag: its digest is another, and nothing refers to that.
    let altered = scene.server.at("acme/altered:v1");
    oras_in(&scene, &oras, &["cp", "-r", &scene.model(), &altered]);
    assert!(!scene.trusts(&altered, "release.pub"), "signed for acme/tiny");
    let (_, report) = scene.verified(&altered, "release.pub");
    assert_eq!(report["ignored"][0], "a signature by release.pub: it is for acme/tiny");
    // Below a prefix it is the same model.
    let mirrored = scene.server.at("mirror/acme/tiny:v1");
    oras_in(&scene, &oras, &["cp", "-r", &scene.model(), &mirrored]);
    assert!(scene.trusts(&mirrored, "release.pub"));

    let manifest = oras_in(&scene, &oras, &["manifest", "fetch", &scene.model()]);
    let changed = manifest.replace("config.json", "c0nfig.json");
    assert_ne!(manifest, changed);
    fs::write(scene.place.path("changed.json"), changed).unwrap();
    oras_in(&scene, &oras, &["manifest", "push", &altered, "changed.json"]);
    assert!(!scene.trusts(&altered, "release.pub"));
    assert!(!scene.cosign_trusts(&cosign, "release.pub", &altered));
    // The signature of one manifest attached to another.
    let referrers = super::json(&scene.place, &["inspect", &scene.model()])["referrers"].clone();
    let mut attached = 0;
    for referrer in referrers.as_array().unwrap() {
        let name = scene.server.at(&format!("acme/tiny@{}", referrer["digest"].as_str().unwrap()));
        let manifest: Value =
            serde_json::from_str(&oras_in(&scene, &oras, &["manifest", "fetch", &name])).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        let blob = scene.server.at(&format!("acme/tiny@{layer}"));
        oras_in(&scene, &oras, &["blob", "fetch", &blob, "--output", "bundle.json"]);
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let file = format!("bundle.json:{kind}");
        let kind = format!("--artifact-type={kind}");
        oras_in(&scene, &oras, &["attach", &altered, &kind, &file]);
        attached += 1;
    }
    let (trusted, report) = scene.verified(&altered, "release.pub");
    assert!(attached == 2 && !trusted, "{report}");
    let ignored: Vec<_> =
        report["ignored"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(ignored.iter().any(|it| it.ends_with("it is over another manifest")), "{ignored:?}");
    assert!(ignored.iter().any(|it| it.ends_with("it is over other files")), "{ignored:?}");
    assert!(!scene.cosign_trusts(&cosign, "release.pub", &altered));
}

/// What oras prints, in the scene's folder.
fn oras_in(scene: &Scene, program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.current_dir(scene.place.folder()).env("HOME", scene.place.path("elsewhere"));
    command.env_remove("DOCKER_CONFIG").args(arguments);
    command.args(if arguments[0] == "cp" {
        &["--from-plain-http", "--to-plain-http"][..]
    } else {
        &["--plain-http"]
    });
    output(&mut command)
}

/// What is done to a folder.
type Harm = fn(&Path);

#[test]
fn model_signing_and_mdl_accept_each_other() {
    let (program, openssl) = (need!(model_signing()), need!(installed("openssl")));
    let scene = Scene::new();
    let place = &scene.place;
    let verifies = |folder: &str, key: &str| {
        let signature = format!("{folder}/model.sig");
        let mut command = Command::new(&program);
        command.current_dir(place.folder()).args([
            "verify",
            "key",
            folder,
            "--signature",
            &signature,
        ]);
        command.args(["--public_key", key]).output().unwrap().status.success()
    };
    // By way of a registry: signed from the manifest alone, left beside the files by a pull.
    place.says(&["sign", &scene.model(), "--key", "release.key"]);
    place.says(&["pull", &scene.model(), "--to", "pulled", "--quiet"]);
    assert!(verifies("pulled", "release.pub") && scene.trusts_files("pulled", "release.pub"));
    place.says(&["pull", &scene.model(), "--to", "part", "--include", "*.json", "--quiet"]);
    assert_eq!(place.run(&["verify", "part", "--key", "release.pub"]).status.code(), Some(3));
    place.says(&["verify", "part", "--key", "release.pub", "--partial", "--quiet"]);

    for curve in ["prime256v1", "secp384r1", "secp521r1"] {
        let (key, public) = (format!("{curve}.pem"), format!("{curve}.pub"));
        let openssl = |arguments: &[&str]| {
            output(Command::new(&openssl).current_dir(place.folder()).args(arguments));
        };
        openssl(&["ecparam", "-name", curve, "-genkey", "-noout", "-out", &key]);
        openssl(&["ec", "-in", &key, "-pubout", "-out", &public]);
        copy_model(place, curve);
        let signature = format!("{curve}/model.sig");
        let mut signing = Command::new(&program);
        signing.current_dir(place.folder()).args(["sign", "key", curve, "--private_key", &key]);
        output(signing.args(["--signature", &signature]));
        assert!(scene.trusts_files(curve, &public) && !scene.trusts_files(curve, "release.pub"));
        // What they signed goes along with a package, and is the signature of its files there.
        let model = scene.server.at(&format!("acme/{curve}:v1"));
        place.says(&["push", curve, &model, "--quiet"]);
        assert!(scene.trusts(&model, &public), "{curve}");
    }
    // mdl signs a folder and a file as they lie, with openssl's key.
    copy_model(place, "ours");
    place.says(&["sign", "ours", "--key", "prime256v1.pem"]);
    assert!(verifies("ours", "prime256v1.pub") && scene.trusts_files("ours", "prime256v1.pub"));
    place.says(&["sign", "ours/config.json", "--key", "prime256v1.pem", "--signature", "c.sig"]);
    let one = [
        "verify",
        "key",
        "ours/config.json",
        "--signature",
        "c.sig",
        "--public_key",
        "prime256v1.pub",
    ];
    output(Command::new(&program).current_dir(place.folder()).args(one));
    place.says(&["verify", "ours/config.json", "--signature", "c.sig", "--key", "prime256v1.pub"]);
    // All refuse the same.
    let harm: [(&str, Harm); 3] = [
        ("altered", |folder| fs::write(folder.join("config.json"), "{}").unwrap()),
        ("missing", |folder| fs::remove_file(folder.join("tokenizer.json")).unwrap()),
        ("added", |folder| fs::write(folder.join("more.py"), "print()").unwrap()),
    ];
    for (what, harm) in harm {
        copy_model(place, what);
        fs::copy(place.path("ours/model.sig"), place.path(what).join("model.sig")).unwrap();
        assert!(verifies(what, "prime256v1.pub") && scene.trusts_files(what, "prime256v1.pub"));
        harm(&place.path(what));
        assert!(
            !verifies(what, "prime256v1.pub") && !scene.trusts_files(what, "prime256v1.pub"),
            "{what}"
        );
    }
}

impl Scene {
    fn trusts_files(&self, folder: &str, key: &str) -> bool {
        let done = self.place.run(&["verify", folder, "--key", key]);
        let status = done.status.code().unwrap();
        assert!(status == 0 || status == 3, "{}", String::from_utf8_lossy(&done.stderr));
        status == 0
    }
}

fn copy_model(place: &Place, name: &str) {
    fs::create_dir(place.path(name)).unwrap();
    for entry in fs::read_dir(place.path("data/tiny")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path(name).join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_registry_without_referrers_keeps_signatures_under_a_tag() {
    let (cosign, registry) = (need!(client("cosign")), need!(client("registry")));
    let scene = Scene::new();
    let peer = Server::distribution(&registry, &scene.place.path("peer"), "");
    let model = peer.at("acme/tiny:v1");
    scene.place.says(&["push", "data/tiny", &model, "--quiet"]);
    scene.place.says(&["sign", &model, "--key", "release.key"]);
    assert!(
        scene.trusts(&model, "release.pub") && scene.cosign_trusts(&cosign, "release.pub", &model)
    );
    // And what cosign put there counts.
    output(scene.cosign(&cosign, &["generate-key-pair"]).arg("--output-key-prefix=cosign"));
    scene.cosign_signs(&cosign, "cosign.key", &peer.at(&format!("acme/tiny@{}", scene.digest)));
    assert!(scene.trusts(&model, "cosign.pub") && scene.trusts(&model, "release.pub"));
    // A copy takes them along.
    let copied = scene.server.at("mirror/acme/tiny:v1");
    scene.place.says(&["copy", &model, &copied, "--quiet"]);
    assert!(scene.trusts(&copied, "cosign.pub") && scene.trusts(&copied, "release.pub"));
}

#[test]
fn what_is_signed_in_the_local_store_goes_along() {
    let scene = Scene::new();
    let place = &scene.place;
    let model = scene.server.at("acme/local:v1");
    place.says(&["pack", "data/tiny", &model]);
    let signed = super::json(place, &["sign", &model, "--key", "release.key"]);
    assert_eq!(signed["places"], serde_json::json!(["the local store"]));
    place.says(&["verify", &model, "--local", "--key", "release.pub"]);
    place.says(&["push", &model, "--quiet"]);
    assert!(scene.trusts(&model, "release.pub"));
    let signed = super::json(place, &["sign", &model, "--key", "release.key"]);
    assert_eq!(signed["places"], serde_json::json!([scene.server.host, "the local store"]));
    // Two packages of one name: neither is signed for the other.
    place.says(&["pack", "data/tiny/config.json", &model]);
    let said = place.fails(&["sign", &model, "--key", "release.key"]);
    assert!(said.contains("on the registry and") && said.contains("[status 1]"), "{said}");
    let gone = place.fails(&["sign", &scene.server.at("acme/none:v1"), "--key", "release.key"]);
    assert!(gone.contains("neither"), "{gone}");
}

#[test]
fn keys_are_never_replaced_or_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.says(&["key", "generate", "--out", "a"]);
    let mode = fs::metadata(place.path("a.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(place.path("a.key")).unwrap();
    assert!(place.fails(&["key", "generate", "--out", "a"]).contains("is there already"));
    assert_eq!(fs::read(place.path("a.key")).unwrap(), before);
    let public = fs::read_to_string(place.path("a.pub")).unwrap();
    for file in ["a.key", "a.pub"] {
        assert_eq!(place.says(&["key", "public", file]), public);
    }
    let listed = super::json(&place, &["key", "list"]);
    assert_eq!(listed[0]["kind"], "private, encrypted");
    assert_eq!(listed[1]["fingerprint"].as_str().unwrap().len(), 64);
    let mut wrong = place.command();
    let said =
        wrong.env("MDL_KEY_PASSPHRASE", "wrong").args(["key", "public", "a.key"]).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("does not open with this passphrase"));
    let mut unasked = place.command();
    unasked.env_remove("MDL_KEY_PASSPHRASE").stdin(std::process::Stdio::null());
    let said = unasked.args(["key", "public", "a.key"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{}", String::from_utf8_lossy(&said.stderr));
}
