//! A registry that demands trust: what does not satisfy its policy is there for those who may push it, and for no one
//! else, whatever way they come.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use mdl_store::Digest;
use mdl_tests::{
    Place,
    http::{Answer, ask},
    server::Server,
};
use serde_json::{Value, json};

use super::accounts::{basic, user_add};

const SETTINGS: &str = r#"
[[policy]]
repositories = ["acme/**"]
subjects = ["alice"]
actions = ["pull", "push"]
[[policy]]
repositories = ["acme/**"]
subjects = ["bob"]
actions = ["pull"]
[[policy]]
repositories = ["bobs/**"]
subjects = ["bob"]
actions = ["pull", "push"]
[trust]
policy = "trust.toml"
"#;

/// A registry that shows of `acme` what `release` signed, with `alice`, who may push there, and `bob`, who may not.
struct Scene {
    place: Place,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        for name in ["release", "other"] {
            place.says(&["key", "generate", "--out", name]);
        }
        fs::write(place.path("trust.toml"), trust("")).unwrap();
        for name in ["alice", "bob"] {
            user_add(&place, name, &[]);
        }
        let server = Server::with(&place.path("root"), "127.0.0.1:0", SETTINGS);
        let scene = Self { place, server };
        scene.login();
        scene
    }

    fn login(&self) {
        for name in ["alice", "bob"] {
            let mut command = self.of(name);
            command.args(["login", &self.server.host, "-u", name, "--password-stdin"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let password = format!("password-{name}\n");
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }

    /// `mdl` with what an account has.
    fn of(&self, account: &str) -> Command {
        let mut command = self.place.command();
        command.env("MDL_HOME", self.place.path(account));
        command
    }

    fn run(&self, account: &str, arguments: &[&str]) -> (bool, String) {
        let done = self.of(account).args(arguments).output().unwrap();
        let text = [&done.stdout[..], &done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The same of a command that has to succeed.
    fn says(&self, account: &str, arguments: &[&str]) -> String {
        let (good, said) = self.run(account, arguments);
        assert!(good, "{arguments:?}: {said}");
        said
    }

    fn at(&self, name: &str) -> String {
        self.server.at(name)
    }

    fn push(&self, source: &str, name: &str) -> String {
        self.says("alice", &["push", source, &self.at(name)])
    }

    fn sign(&self, name: &str, key: &str) {
        self.says("alice", &["sign", &self.at(name), "--key", key, "--quiet"]);
    }

    fn get(&self, account: &str, path: &str) -> Answer {
        self.ask(account, "GET", path, &[], b"")
    }

    fn ask(
        &self,
        account: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let basic = basic(account, &format!("password-{account}"));
        let mut headers = more.to_vec();
        headers.push(("Authorization", &basic));
        ask(&self.server.host, method, path, &headers, body).unwrap()
    }

    fn tag(&self, account: &str, name: &str, tag: &str) -> u16 {
        self.get(account, &format!("/v2/{name}/manifests/{tag}")).status
    }

    /// Waits until an account gets this status for a tag: a signal takes a moment.
    fn becomes(&self, name: &str, tag: &str, status: u16) {
        for _ in 0..200 {
            if self.tag("bob", name, tag) == status {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("{name}:{tag} does not become {status}");
    }
}

fn trust(more: &str) -> String {
    format!("[[rule]]\nrepositories = [\"acme/**\"]\nkeys = [\"release.pub\"]\n{more}")
}

/// Every way to something in a repository, with what it answers to someone who may not see it.
fn ways(name: &str, manifest: &Value, digest: &str) -> Vec<(&'static str, String)> {
    let blob = |at: &Value| format!("/v2/{name}/blobs/{}", at["digest"].as_str().unwrap());
    let weights = manifest["layers"].as_array().unwrap();
    let weights = weights.iter().find(|it| it["size"].as_u64() > Some(1 << 20)).unwrap();
    vec![
        ("GET", format!("/v2/{name}/manifests/v1")),
        ("HEAD", format!("/v2/{name}/manifests/{digest}")),
        ("GET", format!("/v2/{name}/manifests/{digest}")),
        ("GET", blob(weights)),
        ("HEAD", blob(weights)),
        ("GET", blob(&manifest["config"])),
        ("GET", format!("/v2/{name}/tags/list")),
        ("GET", format!("/api/models/{name}")),
        ("GET", format!("/api/models/{name}/tree/main")),
        ("GET", format!("/{name}/resolve/main/model.safetensors")),
        ("GET", format!("/{name}/resolve/{}/config.json", &digest[7..47])),
        ("GET", format!("/{name}")),
        ("GET", format!("/{name}:v1")),
    ]
}

#[test]
fn what_nobody_signed_is_there_for_those_who_push_alone() {
    let scene = Scene::new();
    let said = scene.push("data/tiny", "acme/tiny:v1");
    assert!(said.contains("others see this when it has a signature by release.pub"), "{said}");
    let answer = scene.get("alice", "/v2/acme/tiny/manifests/v1");
    let digest = answer.header("docker-content-digest").unwrap().to_owned();
    let manifest = answer.json();
    let weights = manifest["layers"].as_array().unwrap().iter();
    let weights = weights.max_by_key(|it| it["size"].as_u64()).unwrap()["digest"].clone();
    let weights = weights.as_str().unwrap();
    for (method, path) in ways("acme/tiny", &manifest, &digest) {
        let of = |account| scene.ask(account, method, &path, &[], b"").status;
        assert_eq!((of("alice"), of("bob")), (200, 404), "{method} {path}");
    }
    let lists = |account: &str| {
        let catalog = scene.get(account, "/v2/_catalog").text();
        let home = scene.get(account, "/").text();
        let models = scene.get(account, "/api/models?search=tiny").text();
        [catalog, home, models].map(|text| text.contains("acme/tiny"))
    };
    assert_eq!((lists("alice"), lists("bob")), ([true; 3], [false; 3]));
    let pages = ["acme/tiny", "acme/none"];
    let pages = pages.map(|name| scene.get("bob", &format!("/v2/{name}/tags/list?last=a")).status);
    assert_eq!(pages, [404; 2], "nothing tells one from the other");
    let referrers = format!("/v2/acme/tiny/referrers/{digest}");
    assert_eq!(scene.get("bob", &referrers).json()["manifests"], json!([]));
    // Neither by Ollama's way to a blob, nor by a mount, with and without a name.
    for agent in ["ollama/0.17.4", "ollama-transfer/1.0"] {
        let path = format!("/v2/acme/tiny/blobs/{weights}");
        let answer = scene.ask("bob", "GET", &path, &[("User-Agent", agent)], b"");
        assert_eq!(answer.status, 404, "{agent}");
        assert!(answer.header("location").is_none(), "{agent}");
    }
    for from in ["", "&from=acme/tiny"] {
        let path = format!("/v2/bobs/x/blobs/uploads/?mount={weights}{from}");
        assert_eq!(scene.ask("bob", "POST", &path, &[], b"").status, 202, "{from}");
    }
    // Another's signature changes nothing; the right one shows it all.
    scene.sign("acme/tiny:v1", "other.key");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404);
    scene.sign("acme/tiny:v1", "release.key");
    for (method, path) in ways("acme/tiny", &manifest, &digest) {
        assert_eq!(scene.ask("bob", method, &path, &[], b"").status, 200, "{method} {path}");
    }
    assert_eq!(lists("bob"), [true; 3]);
    assert_eq!(scene.get("bob", &referrers).json()["manifests"].as_array().unwrap().len(), 4);
    let to = ["pull", &scene.at("acme/tiny:v1"), "--to", "out", "--trust", "trust.toml"];
    scene.says("bob", &to);
    assert!(scene.place.path("out/model.safetensors").exists());
    // A repository that no rule is for shows nothing to those who only pull; its own people see it.
    scene.says("bob", &["push", "data/tiny/config.json", &scene.at("bobs/c:v1")]);
    assert_eq!((scene.tag("bob", "bobs/c", "v1"), scene.tag("alice", "bobs/c", "v1")), (200, 404));
}

#[test]
fn what_is_signed_lends_nothing_to_what_is_not() {
    let scene = Scene::new();
    scene.push("data/tiny", "acme/tiny:v1");
    scene.sign("acme/tiny:v1", "release.key");
    let signed = scene.get("bob", "/v2/acme/tiny/manifests/v1");
    let digest = signed.header("docker-content-digest").unwrap().to_owned();
    // A manifest that only claims to be about the signed one, under a tag and under that of attachments.
    let evil = Digest::of(b"evil");
    for blob in [&b"evil"[..], b"{}"] {
        let path = format!("/v2/acme/tiny/blobs/uploads/?digest={}", Digest::of(blob));
        assert_eq!(scene.ask("alice", "POST", &path, &[], blob).status, 201);
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": [{ "mediaType": "application/vnd.cncf.model.weight.v1.raw", "digest": evil.to_string(), "size": 4 }],
        "subject": { "mediaType": media_type, "digest": digest, "size": signed.body.len() },
    })
    .to_string();
    let put = |tag: &str| {
        let headers = [("Content-Type", media_type)];
        let path = format!("/v2/acme/tiny/manifests/{tag}");
        let answer = scene.ask("alice", "PUT", &path, &headers, manifest.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    put("v1");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404, "the tag leads to what is not signed");
    assert_eq!(scene.tag("alice", "acme/tiny", "v1"), 200);
    assert_eq!(scene.get("bob", "/acme/tiny/resolve/v1/weights").status, 404);
    let tags = scene.get("bob", "/v2/acme/tiny/tags/list");
    assert_eq!(tags.status, 404, "{}", tags.text());
    // By its digest it is there as what it says to be, something about the signed one.
    assert_eq!(scene.tag("bob", "acme/tiny", &digest), 200);
    assert_eq!(scene.tag("bob", "acme/tiny", &Digest::of(manifest.as_bytes()).to_string()), 200);
    // Not as a model of a hub, whatever it is called there, nor by way of an index that claims the same.
    let attached = format!("sha256-{}", &digest[7..]);
    put(&attached);
    let evil_digest = Digest::of(manifest.as_bytes());
    for revision in [&attached, &evil_digest.hex()[..40]] {
        let path = format!("/acme/tiny/resolve/{revision}/model.bin");
        assert_eq!(scene.get("bob", &path).status, 404, "{revision}");
        assert_eq!(
            scene.get("bob", &format!("/api/models/acme/tiny/revision/{revision}")).status,
            404
        );
    }
    let hidden = manifest.replace("\"subject\"", "\"former\"");
    let hidden_digest = Digest::of(hidden.as_bytes()).to_string();
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({
        "schemaVersion": 2, "mediaType": index_type,
        "manifests": [{ "mediaType": media_type, "digest": hidden_digest, "size": hidden.len() }],
        "subject": { "mediaType": media_type, "digest": digest, "size": signed.body.len() },
    })
    .to_string();
    let index_digest = Digest::of(index.as_bytes()).to_string();
    for (body, digest, kind) in
        [(&hidden, &hidden_digest, media_type), (&index, &index_digest, index_type)]
    {
        let path = format!("/v2/acme/tiny/manifests/{digest}");
        let answer = scene.ask("alice", "PUT", &path, &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(scene.tag("bob", "acme/tiny", &hidden_digest), 404);
    scene.push("data/tiny", "acme/moved:v1");
    move_signatures(&scene, &digest);
    assert_eq!(scene.tag("bob", "acme/moved", "v1"), 404, "signed for another repository");
}

/// Moves what refers to a manifest of `acme/tiny` over to `acme/moved`.
fn move_signatures(scene: &Scene, digest: &str) {
    let list = scene.get("alice", &format!("/v2/acme/tiny/referrers/{digest}")).json();
    let is_bundle = |it: &&Value| {
        it["artifactType"]
            .as_str()
            .is_some_and(|it| it.starts_with("application/vnd.dev.sigstore."))
    };
    for it in list["manifests"].as_array().unwrap().iter().filter(is_bundle) {
        let at = it["digest"].as_str().unwrap();
        let referrer = scene.get("alice", &format!("/v2/acme/tiny/manifests/{at}"));
        let document = referrer.json();
        for blob in document["layers"].as_array().unwrap().iter().chain([&document["config"]]) {
            let blob = blob["digest"].as_str().unwrap();
            let path = format!("/v2/acme/moved/blobs/uploads/?mount={blob}&from=acme/tiny");
            assert_eq!(scene.ask("alice", "POST", &path, &[], b"").status, 201);
        }
        let headers = [("Content-Type", referrer.header("content-type").unwrap())];
        let path = format!("/v2/acme/moved/manifests/{at}");
        assert_eq!(scene.ask("alice", "PUT", &path, &headers, &referrer.body).status, 201);
    }
}

#[test]
fn a_tag_is_not_led_back_and_the_policy_is_read_again() {
    let scene = Scene::new();
    scene.push("data/tiny", "acme/tiny:v1");
    scene.sign("acme/tiny:v1", "release.key");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 200);
    thread::sleep(Duration::from_millis(1100));
    // Who only pushes cannot make others believe in something newer: `v1` is led to what is signed for another tag, and back.
    let first = scene.get("alice", "/v2/acme/tiny/manifests/v1");
    scene.push("data/tiny/tokenizer.json", "acme/tiny:v2");
    scene.sign("acme/tiny:v2", "release.key");
    let second = scene.get("alice", "/v2/acme/tiny/manifests/v2");
    for manifest in [second, first] {
        let headers = [("Content-Type", manifest.header("content-type").unwrap())];
        let path = "/v2/acme/tiny/manifests/v1";
        assert_eq!(scene.ask("alice", "PUT", path, &headers, &manifest.body).status, 201);
        assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 200);
    }
    scene.push("data/tiny/config.json", "acme/tiny:v1");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404, "not yet signed");
    scene.sign("acme/tiny:v1", "release.key");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 200);
    // Everything about the old one is in order, but it is old: now, and after a restart.
    let said = scene.push("data/tiny", "acme/tiny:v1");
    assert!(said.contains("nothing older than what was seen"), "{said}");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404);
    let Scene { place, server } = scene;
    drop(server);
    let server = Server::with(&place.path("root"), "127.0.0.1:0", SETTINGS);
    let scene = Scene { place, server };
    scene.login();
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404);
    // Whoever may sign says so by signing again.
    thread::sleep(Duration::from_millis(1100));
    scene.sign("acme/tiny:v1", "release.key");
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 200);
    // A key that is revoked, and a policy with a mistake, which changes nothing.
    fs::write(scene.place.path("trust.toml"), trust("[[revoked]]\nkey = \"release.pub\"\n"))
        .unwrap();
    scene.server.signal("HUP");
    scene.becomes("acme/tiny", "v1", 404);
    fs::write(scene.place.path("trust.toml"), trust("theshold = 2\n")).unwrap();
    scene.server.signal("HUP");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(scene.tag("bob", "acme/tiny", "v1"), 404);
    let said = scene.place.fails(&["registry", "check-config", "root.toml"]);
    assert!(said.contains("theshold"), "{said}");
    // Nor does it keep anybody in who was sent away.
    user_add(&scene.place, "carol", &["--admin"]);
    assert_eq!(scene.get("carol", "/v2/").status, 200);
    scene.place.says(&["registry", "user", "remove", "carol", "--root", "root"]);
    assert_eq!(scene.get("carol", "/v2/").status, 401);
    fs::write(scene.place.path("trust.toml"), trust("")).unwrap();
    scene.server.signal("HUP");
    scene.becomes("acme/tiny", "v1", 200);
    // It is seen too when nobody looks in between.
    for (source, signed) in
        [("data/tiny", true), ("data/tiny/config.json", true), ("data/tiny", false)]
    {
        scene.push(source, "acme/unseen:v1");
        if signed {
            scene.sign("acme/unseen:v1", "release.key");
        }
        thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(scene.tag("bob", "acme/unseen", "v1"), 404);
    // With a mistake it does not start.
    fs::write(scene.place.path("trust.toml"), trust("theshold = 2\n")).unwrap();
    let Scene { place, server } = scene;
    drop(server);
    let said = Server::try_with(&place.path("root"), "127.0.0.1:0", SETTINGS).unwrap_err();
    assert!(said.contains("trust.toml") && said.contains("theshold"), "{said}");
}
