//! The clients that people have: each fetches what mdl pushed, and pushes what mdl then pulls.

use std::{fs, path::Path, process::Command};

use mdl_tests::{Place, client, installed, need, output, server::Server};

/// A registry of ours with `team/tiny:q4`, a quantized model with its recipe; and the file.
struct Scene {
    place: Place,
    server: Server,
    digest: String,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
        let server = Server::start(&place.path("root"));
        let report = super::json(&place, &["push", "q4.gguf", &server.at("team/tiny:q4")]);
        Self { digest: report["digest"].as_str().unwrap().to_owned(), place, server }
    }

    /// A client in the scene's folder, with credentials of nobody.
    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.place.folder()).env("HOME", self.place.path("elsewhere"));
        command.env_remove("DOCKER_CONFIG").env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn file(&self) -> Vec<u8> {
        fs::read(self.place.path("q4.gguf")).unwrap()
    }

    /// What another put at a name is what was pushed, and mdl lays it out as files.
    fn pulled_alike(&self, name: &str) {
        let folder = name.replace(['/', ':'], "-");
        let pulled = ["pull", &self.server.at(name), "--to", &folder, "--quiet"];
        self.place.says(&pulled);
        assert_eq!(fs::read(self.place.path(&folder).join("q4.gguf")).unwrap(), self.file());
    }
}

#[test]
fn oras() {
    let oras = need!(client("oras"));
    let scene = Scene::new();
    let from = scene.server.at("team/tiny:q4");
    output(scene.client(&oras).args(["pull", "--plain-http", &from, "-o", "by-oras"]));
    assert_eq!(fs::read(scene.place.path("by-oras/q4.gguf")).unwrap(), scene.file());
    let tree = output(scene.client(&oras).args(["discover", "--plain-http", &from]));
    assert!(tree.contains("application/vnd.mdl.recipe"), "{tree}");
    // What it makes itself is no ModelPack, but has names.
    let to = scene.server.at("team/by-oras:v1");
    output(scene.client(&oras).args(["push", "--plain-http", &to, "q4.gguf"]));
    scene.pulled_alike("team/by-oras:v1");
    let to = scene.server.at("team/copied-by-oras:q4");
    let copied = ["cp", "-r", "--from-plain-http", "--to-plain-http", &from, &to];
    output(scene.client(&oras).args(copied));
    scene.pulled_alike("team/copied-by-oras:q4");
    let report = super::json(&scene.place, &["inspect", &to]);
    assert_eq!(report["referrers"].as_array().unwrap().len(), 1);
    assert_eq!(report["digest"], scene.digest);
    output(scene.client(&oras).args(["manifest", "delete", "--plain-http", "-f", &to]));
    assert!(scene.place.fails(&["inspect", &to]).contains("has no manifest"));
}

#[test]
fn crane() {
    let crane = need!(client("crane"));
    let scene = Scene::new();
    let (from, to) = (scene.server.at("team/tiny:q4"), scene.server.at("team/by-crane:q4"));
    let run = |arguments: &[&str]| output(scene.client(&crane).arg("--insecure").args(arguments));
    assert_eq!(run(&["digest", &from]).trim(), scene.digest);
    let manifest: serde_json::Value = serde_json::from_str(&run(&["manifest", &from])).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let blob = scene.server.at(&format!("team/tiny@{layer}"));
    let got = scene.client(&crane).args(["--insecure", "blob", &blob]).output().unwrap();
    assert_eq!(got.stdout, scene.file());
    run(&["copy", &from, &to]);
    scene.pulled_alike("team/by-crane:q4");
    run(&["tag", &to, "second"]);
    assert_eq!(run(&["ls", &scene.server.at("team/by-crane")]), "q4\nsecond\n");
    assert!(run(&["catalog", &scene.server.host]).contains("team/by-crane\n"));
    run(&["delete", &scene.server.at(&format!("team/by-crane@{}", scene.digest))]);
    assert!(scene.place.fails(&["inspect", &to]).contains("has no manifest"));
}

#[test]
fn regctl() {
    let regctl = need!(client("regctl"));
    let scene = Scene::new();
    let (from, to) = (scene.server.at("team/tiny:q4"), scene.server.at("team/by-regctl:q4"));
    let run = |arguments: &[&str]| output(scene.client(&regctl).args(arguments));
    run(&["registry", "set", "--tls", "disabled", &scene.server.host]);
    assert_eq!(run(&["image", "digest", &from]).trim(), scene.digest);
    run(&["image", "copy", "--referrers", &from, &to]);
    scene.pulled_alike("team/by-regctl:q4");
    assert!(run(&["artifact", "list", &to]).contains("application/vnd.mdl.recipe"));
    fs::create_dir(scene.place.path("by-regctl")).unwrap();
    run(&["artifact", "get", &from, "--output", "by-regctl"]);
    assert_eq!(fs::read(scene.place.path("by-regctl/q4.gguf")).unwrap(), scene.file());
    assert_eq!(run(&["tag", "ls", &scene.server.at("team/by-regctl")]).trim(), "q4");
    run(&["tag", "delete", &to]);
    assert!(scene.place.fails(&["inspect", &to]).contains("has no manifest"));
}

#[test]
fn skopeo() {
    let skopeo = need!(installed("skopeo"));
    let scene = Scene::new();
    let from = format!("docker://{}", scene.server.at("team/tiny:q4"));
    let to = format!("docker://{}", scene.server.at("team/by-skopeo:q4"));
    let run =
        |arguments: &[&str]| output(scene.client(&skopeo).arg("--insecure-policy").args(arguments));
    run(&["copy", "--src-tls-verify=false", &from, "oci:by-skopeo:q4"]);
    let (_, hex) = scene.digest.split_once(':').unwrap();
    assert!(scene.place.path("by-skopeo/blobs/sha256").join(hex).is_file());
    run(&["copy", "--dest-tls-verify=false", "oci:by-skopeo:q4", &to]);
    scene.pulled_alike("team/by-skopeo:q4");
    run(&["delete", "--tls-verify=false", &to]);
    let gone = scene.place.fails(&["inspect", &scene.server.at("team/by-skopeo:q4")]);
    assert!(gone.contains("has no manifest"), "{gone}");
}
