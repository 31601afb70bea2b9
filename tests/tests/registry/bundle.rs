//! Bundles: packages carried to a site that no network reaches.

use std::{fs, path::Path, process::Command};

use mdl_tests::{Place, client, installed, need, output, server::Server};
use serde_json::Value;

/// A registry with `acme/tiny:v1`, signed, and a site that trusts its key and has nothing.
pub(super) struct Scene {
    pub(super) place: Place,
    pub(super) server: Server,
}

impl Scene {
    pub(super) fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place.path("root"));
        for name in ["release", "site"] {
            place.says(&["key", "generate", "--out", name]);
        }
        let model = server.at("acme/tiny:v1");
        place.says(&["push", "data/tiny", &model, "--quiet"]);
        place.says(&["sign", &model, "--key", "release.key"]);
        fs::create_dir(place.path("there")).unwrap();
        let policy = "[[rule]]\nrepositories = [\"**\"]\nkeys = [\"../release.pub\"]\n";
        fs::write(place.path("there/trust.toml"), policy).unwrap();
        Self { place, server }
    }

    pub(super) fn model(&self) -> String {
        self.server.at("acme/tiny:v1")
    }

    /// Makes a bundle of the model in `bundle`.
    pub(super) fn bundle(&self, more: &[&str]) -> Value {
        let model = self.model();
        let arguments = [&["bundle", "create", &model, "--out", "bundle"], more].concat();
        super::json(&self.place, &arguments)
    }

    /// `mdl` at the site: its status, its report, its words.
    pub(super) fn there(&self, arguments: &[&str]) -> (i32, String, String) {
        let home = ["--home", "there", "--quiet"];
        let done = self.place.run(&[arguments, &home].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
    }

    pub(super) fn import(&self, folder: &str, more: &[&str]) -> (i32, String, String) {
        self.there(&[&["bundle", "import", folder], more].concat())
    }

    /// How many packages the site's local store shows.
    pub(super) fn visible(&self) -> usize {
        let (_, text, _) = self.there(&["list", "--json"]);
        serde_json::from_str::<Value>(&text).unwrap()["packages"].as_array().unwrap().len()
    }
}

#[test]
fn a_set_of_media_comes_in_any_order() {
    let scene = Scene::new();
    let made =
        scene.bundle(&["--volume-size", "3M", "--file-size", "900K", "--key", "release.key"]);
    let volumes: Vec<&str> =
        made["volumes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(volumes.len() >= 3, "{made}");
    for volume in &volumes {
        let folder = scene.place.path(volume);
        output(
            Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS"]).current_dir(&folder),
        );
        let sizes = walk(&folder).into_iter().map(|path| fs::metadata(path).unwrap().len());
        assert!(sizes.sum::<u64>() <= 3 << 20, "{volume}");
    }
    let (status, said, _) = scene.there(&["bundle", "verify", "bundle", "--key", "release.pub"]);
    assert!(status == 0 && said.contains("(trusted)"), "{said}");
    // The last first; each comes twice, as people do it.
    for (at, volume) in volumes.iter().rev().enumerate() {
        for again in [false, true] {
            let (status, _, said) = scene.import(volume, &[]);
            if at + 1 < volumes.len() {
                assert!(status == 1 && said.contains("still to come"), "{volume} {again}: {said}");
                assert_eq!(scene.visible(), 0);
            } else {
                assert_eq!(status, 0, "{said}");
            }
        }
    }
    assert_eq!(scene.visible(), 1);
    // Everything is there, the signatures too, and nothing is left over.
    let (status, said, _) = scene.there(&["verify", "acme/tiny:v1", "--local"]);
    assert_eq!(status, 0, "{said}");
    let (_, said, _) = scene.there(&["prune", "--dry-run"]);
    assert!(said.starts_with("would delete 0 blobs"), "{said}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_volume_is_read_by_ordinary_tools() {
    let (oras, skopeo) = (need!(client("oras")), need!(installed("skopeo")));
    let scene = Scene::new();
    scene.bundle(&[]);
    let layout = scene.place.path("bundle");
    // To oras a tag holds no colon.
    let digest = &super::json(&scene.place, &["inspect", &scene.model()])["digest"];
    let by_digest = format!("./@{}", digest.as_str().unwrap());
    let mut asking = Command::new(&oras);
    let tree = output(asking.current_dir(&layout).args(["discover", "--oci-layout", &by_digest]));
    assert!(tree.contains("dev.sigstore.bundle"), "{tree}");
    let to = format!("docker://{}", scene.server.at("by/skopeo:v1"));
    let from = format!("oci:{}:acme/tiny:v1", layout.display());
    let mut copying = Command::new(&skopeo);
    output(copying.args(["copy", "--insecure-policy", "--dest-tls-verify=false", &from, &to]));
    let reports = [scene.model(), scene.server.at("by/skopeo:v1")]
        .map(|name| super::json(&scene.place, &["inspect", &name])["digest"].clone());
    assert_eq!(reports[0], reports[1]);
    // In pieces: `cat` makes the file.
    fs::rename(&layout, scene.place.path("whole")).unwrap();
    scene.bundle(&["--file-size", "1M"]);
    let weights = super::json(&scene.place, &["inspect", &scene.model()]);
    let file = weights["files"].as_array().unwrap().iter();
    let file = file.max_by_key(|file| file["size"].as_u64()).unwrap();
    let hex = file["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let cat = format!("cat bundle/blobs/sha256/{hex}.* | sha256sum");
    let found = output(Command::new("sh").current_dir(scene.place.folder()).args(["-c", &cat]));
    assert_eq!(found.split(' ').next().unwrap(), hex);
}

#[test]
fn it_goes_to_a_registry_a_folder_or_the_local_store() {
    let scene = Scene::new();
    scene.bundle(&["--key", "release.key"]);
    let site = Server::start(&scene.place.path("site-root"));
    let (status, said, why) = scene.import(
        "bundle",
        &["--to", &site.at("mirror"), "--key", "site.key", "--receipt", "r.json", "--json"],
    );
    assert_eq!(status, 0, "{why}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let name = site.at("mirror/acme/tiny:v1");
    assert_eq!(report["models"][0]["name"], name);
    assert_eq!(scene.there(&["verify", &name]).0, 0);
    assert_eq!(scene.visible(), 0, "it is in the registry alone");
    // The receipt is signed by the site, over the bundle's index.
    let receipt: Value =
        serde_json::from_slice(&fs::read(scene.place.path("r.json")).unwrap()).unwrap();
    let bundle = mdl_artifact::signing::Bundle::read(receipt.to_string().as_bytes()).unwrap();
    let key = fs::read_to_string(scene.place.path("site.pub")).unwrap();
    let key = mdl_artifact::keys::PublicKey::from_pem(&key, "site.pub").unwrap();
    let statement = bundle.verify(&key).unwrap();
    let index = fs::read(scene.place.path("bundle/mdl-bundle.json")).unwrap();
    assert!(statement.subject_of(&mdl_store::Digest::of(&index)).is_some());
    assert_eq!(statement.predicate["models"][0]["verified"], true);

    let (status, _, why) = scene.import("bundle", &["--to", "./laid"]);
    assert_eq!(status, 0, "{why}");
    let files = scene.place.path("laid/acme/tiny/v1");
    assert_eq!(
        fs::read(files.join("config.json")).unwrap(),
        fs::read(scene.place.path("data/tiny/config.json")).unwrap()
    );
    assert_eq!(scene.there(&["verify", "laid/acme/tiny/v1"]).0, 0);
    assert_eq!(scene.import("bundle", &["--to", "./laid"]).0, 1, "nothing is replaced");
    for wrong in ["nowhere", "HOST/x", "localhost:1/../x"] {
        assert_eq!(scene.import("bundle", &["--to", wrong]).0, 2, "{wrong}");
    }
}

#[test]
fn only_what_the_site_lacks_travels() {
    let scene = Scene::new();
    let site = Server::start(&scene.place.path("site-root"));
    scene.bundle(&[]);
    assert_eq!(scene.import("bundle", &["--to", &site.host]).0, 0);
    fs::rename(scene.place.path("bundle"), scene.place.path("first")).unwrap();
    scene.there(&["bundle", "inventory", "--from", &site.host, "--out", "inventory.txt"]);
    // A new version: another licence file, the same weights.
    scene.place.says(&["pull", &scene.model(), "--to", "next", "--quiet"]);
    fs::remove_file(scene.place.path("next/model.sig")).unwrap();
    fs::write(scene.place.path("next/NOTICE"), "new").unwrap();
    let next = scene.server.at("acme/tiny:v2");
    scene.place.says(&["push", "next", &next, "--quiet"]);
    scene.place.says(&["sign", &next, "--key", "release.key"]);
    let made = super::json(
        &scene.place,
        &["bundle", "create", &next, "--out", "bundle", "--inventory", "inventory.txt"],
    );
    assert!(
        made["bytes"].as_u64().unwrap() < 100_000 && made["absent"].as_u64().unwrap() > 5,
        "{made}"
    );
    // Into another repository too: what the registry has is mounted there.
    let elsewhere = site.at("elsewhere");
    for to in [&site.host, &elsewhere] {
        let (status, _, why) = scene.import("bundle", &["--to", to]);
        assert_eq!(status, 0, "{why}");
    }
    let pulled = site.at("elsewhere/acme/tiny:v2");
    assert_eq!(scene.there(&["pull", &pulled, "--to", "pulled"]).0, 0);
    assert_eq!(scene.there(&["verify", "pulled"]).0, 0);
    // Where the rest is not, it says so.
    let (status, _, why) = scene.import("bundle", &[]);
    assert!(status == 1 && why.contains("which the bundle leaves out"), "{why}");
    assert_eq!(scene.visible(), 0);
}

#[test]
fn an_interrupted_import_goes_on() {
    let scene = Scene::new();
    scene.bundle(&["--file-size", "1M"]);
    let partial = scene.place.path("there/store/partial");
    // Stopped in the middle, again and again: here by a file that vanishes and comes back.
    let mut pieces: Vec<_> = walk(&scene.place.path("bundle/blobs"))
        .into_iter()
        .filter(|path| path.extension().is_some())
        .collect();
    pieces.sort();
    assert!(pieces.len() > 5);
    for piece in &pieces {
        let hidden = piece.with_extension("hidden");
        fs::rename(piece, &hidden).unwrap();
        let (status, _, why) = scene.import("bundle", &[]);
        assert!(status == 1 && scene.visible() == 0, "{why}");
        fs::rename(&hidden, piece).unwrap();
    }
    let (status, said, why) = scene.import("bundle", &["--json"]);
    assert_eq!(status, 0, "{why}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let copied = report["copied"].as_u64().unwrap();
    let bytes = fs::metadata(scene.place.path("data/tiny/model.safetensors")).unwrap().len();
    assert!(copied < bytes, "what was copied before is not copied again: {copied} of {bytes}");
    assert_eq!(walk(&partial), Vec::<std::path::PathBuf>::new());
    assert_eq!(scene.there(&["verify", "acme/tiny:v1", "--local"]).0, 0);
}

#[test]
fn two_networks_without_a_way_between_them() {
    let ip = need!(installed("ip"));
    let place = Place::new();
    let namespaces =
        [format!("mdl-{}-a", std::process::id()), format!("mdl-{}-b", std::process::id())];
    let _gone = Namespaces { ip: ip.clone(), names: namespaces.to_vec() };
    // Who may not name namespaces makes one for each side that has no name.
    let named = namespaces.iter().all(|name| {
        Command::new(&ip).args(["netns", "add", name]).output().unwrap().status.success()
    });
    let alone = |side: usize| {
        let mut command;
        if named {
            command = Command::new(&ip);
            command.args(["netns", "exec", &namespaces[side]]);
        } else {
            command = Command::new("unshare");
            command.args(["--map-root-user", "--net"]);
        }
        command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        command
    };
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    fs::create_dir(place.path("away")).unwrap();
    let sides = [(place.folder().to_owned(), "lab"), (place.path("away"), "site")];
    let run = |side: usize, commands: &str| {
        let program = place.command().get_program().to_owned();
        let folder = Path::new(&program).parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let script = format!("set -e\ntrap 'kill $(jobs -p)' EXIT\n{commands}");
        let mut command = alone(side);
        command.args(["bash", "-c", &script]);
        command.current_dir(&sides[side].0).env("PATH", path).env_remove("MDL_TRUST");
        command.env("MDL_HOME", place.path(sides[side].1)).env("MDL_KEY_PASSPHRASE", "secret");
        output(&mut command)
    };
    run(0, &of_readme("in the lab"));
    for carried in ["carried", "release.pub"] {
        fs::rename(place.path(carried), place.path("away").join(carried)).unwrap();
    }
    let said = run(1, &of_readme("at the site"));
    assert!(said.contains("(verified)") && said.trim_end().ends_with("\ntrusted"), "{said}");
    let there = fs::read(place.path("away/model/q4.gguf")).unwrap();
    assert!(there == fs::read(place.path("q4.gguf")).unwrap());
}

/// Commands of README, after the mark that names this file and a side.
fn of_readme(side: &str) -> String {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = text.split_once(&format!("bundle.rs: {side}. -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Network namespaces that go with the test.
struct Namespaces {
    ip: std::path::PathBuf,
    names: Vec<String>,
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was not made is not there to be deleted.
            let _ = Command::new(&self.ip).args(["netns", "del", name]).output();
        }
    }
}
