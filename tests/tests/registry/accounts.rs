//! Accounts: who may do what, and the ways around it that are closed, each by name.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Instant,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use mdl_store::Digest;
use mdl_tests::{
    Place,
    http::{Answer, ask},
    server::Server,
};
use serde_json::{Value, json};

const POLICY: &str = r#"
[[policy]]
repositories = ["acme/**"]
subjects = ["alice"]
actions = ["pull", "push"]
[[policy]]
repositories = ["acme/**"]
subjects = ["bob"]
actions = ["pull"]
[[policy]]
repositories = ["bobs/*"]
subjects = ["bob"]
actions = ["pull", "push", "delete"]
[[policy]]
repositories = ["public/**"]
subjects = ["anonymous", "*"]
actions = ["pull"]
"#;

/// A registry with accounts `alice`, `bob`, `carol` and `root` (whose passwords are `password-NAME`), and a manifest with
/// one blob in `acme/secret:v1` and `public/model:v1`.
pub(super) struct Scene {
    pub(super) place: Place,
    pub(super) server: Server,
}

pub(super) const SECRET: &[u8] = b"what is secret";

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(POLICY)
    }

    pub(super) fn with(settings: &str) -> Self {
        let place = Place::new();
        for name in ["alice", "bob", "carol", "root"] {
            let admin: &[&str] = if name == "root" { &["--admin"] } else { &[] };
            user_add(&place, name, admin);
        }
        let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
        let scene = Self { place, server };
        for repository in ["acme/secret", "public/model"] {
            scene.fill(repository, SECRET);
        }
        scene
    }

    /// Puts a manifest with one blob into a repository, as the administrator.
    pub(super) fn fill(&self, repository: &str, content: &[u8]) -> Digest {
        for blob in [content, b"{}"] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", Digest::of(blob));
            assert_eq!(self.ask("root", "POST", &path, blob).status, 201);
        }
        let manifest = manifest(content);
        let path = format!("/v2/{repository}/manifests/v1");
        let put =
            self.with_headers("root", "PUT", &path, &[("Content-Type", OCI)], manifest.as_bytes());
        assert_eq!(put.status, 201, "{}", put.text());
        Digest::of(manifest.as_bytes())
    }

    /// A request with the password of an account; with none for `""`.
    pub(super) fn ask(&self, account: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        self.with_headers(account, method, path, &[], body)
    }

    pub(super) fn with_headers(
        &self,
        account: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let basic = basic(account, &format!("password-{account}"));
        let mut headers = more.to_vec();
        if !account.is_empty() {
            headers.push(("Authorization", &basic));
        }
        ask(&self.server.host, method, path, &headers, body).unwrap()
    }

    pub(super) fn bearer(&self, token: &str, method: &str, path: &str) -> Answer {
        let header = format!("Bearer {token}");
        ask(&self.server.host, method, path, &[("Authorization", &header)], b"").unwrap()
    }

    /// A token that an account is given for some scopes.
    pub(super) fn token(&self, account: &str, scope: &str) -> String {
        let answer = self.ask(account, "GET", &format!("/-/token?service=x&scope={scope}"), b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn key(&self, user: &str, more: &[&str]) -> (String, String) {
        let arguments = ["registry", "key", "add", user, "--root", "root"];
        let made = super::json(&self.place, &[&arguments, more].concat());
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("identifier"), text("key"))
    }
}

pub(super) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) fn manifest(content: &[u8]) -> String {
    json!({
        "schemaVersion": 2, "mediaType": OCI, "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": [{ "mediaType": "application/vnd.cncf.model.weight.v1.raw", "digest": Digest::of(content).to_string(),
            "size": content.len(), "annotations": { "org.cncf.model.filepath": "weights.bin" } }],
    })
    .to_string()
}

pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// Makes an account whose password is `password-NAME`.
pub(super) fn user_add(place: &Place, name: &str, more: &[&str]) {
    let mut command = place.command();
    command
        .args(["registry", "user", "add", name, "--password-stdin", "--root", "root"])
        .args(more);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("password-{name}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_table_of_who_may_do_what() {
    let scene = Scene::new();
    let blob = Digest::of(SECRET);
    let secret = "/v2/acme/secret";
    for (account, method, path, status) in [
        ("", "GET", "/v2/".to_owned(), 401),
        ("alice", "GET", "/v2/".to_owned(), 200),
        ("nobody", "GET", "/v2/".to_owned(), 401),
        ("", "GET", format!("{secret}/manifests/v1"), 401),
        ("", "HEAD", format!("{secret}/blobs/{blob}"), 401),
        ("", "GET", "/v2/public/model/manifests/v1".to_owned(), 200),
        ("", "POST", "/v2/public/model/blobs/uploads/".to_owned(), 401),
        ("carol", "GET", format!("{secret}/manifests/v1"), 404),
        ("carol", "GET", format!("{secret}/blobs/{blob}"), 404),
        ("carol", "GET", format!("{secret}/tags/list"), 404),
        ("carol", "GET", format!("{secret}/referrers/{blob}"), 404),
        ("carol", "POST", format!("{secret}/blobs/uploads/"), 403),
        ("carol", "GET", "/v2/acme/none/tags/list".to_owned(), 404),
        ("bob", "GET", format!("{secret}/blobs/{blob}"), 200),
        ("bob", "POST", format!("{secret}/blobs/uploads/"), 403),
        ("bob", "PUT", format!("{secret}/manifests/v2"), 403),
        ("bob", "DELETE", format!("{secret}/manifests/v1"), 403),
        ("alice", "POST", format!("{secret}/blobs/uploads/"), 202),
        ("alice", "DELETE", format!("{secret}/manifests/v1"), 403),
        ("alice", "DELETE", format!("{secret}/blobs/{blob}"), 403),
        ("root", "POST", "/v2/any/where/blobs/uploads/".to_owned(), 202),
        ("", "GET", "/metrics".to_owned(), 401),
        ("bob", "GET", "/metrics".to_owned(), 200),
        ("", "GET", "/healthz".to_owned(), 200),
        ("", "GET", "/acme/secret:v1".to_owned(), 401),
        ("bob", "GET", "/acme/secret:v1".to_owned(), 200),
        ("carol", "GET", "/acme/secret:v1".to_owned(), 404),
        ("", "GET", "/public/model:v1".to_owned(), 200),
        ("", "GET", "/api/models/acme/secret".to_owned(), 401),
        ("carol", "GET", "/acme/secret/resolve/main/weights.bin".to_owned(), 404),
        ("bob", "GET", "/acme/secret/resolve/main/weights.bin".to_owned(), 200),
    ] {
        let answer = scene.ask(account, method, &path, b"");
        assert_eq!(answer.status, status, "{account} {method} {path}: {}", answer.text());
        if status == 401 {
            assert!(answer.header("www-authenticate").is_some(), "{path}");
        }
    }
}

#[test]
fn lists_show_what_may_be_read() {
    let scene = Scene::new();
    for (account, secret, public) in
        [("", false, true), ("carol", false, true), ("bob", true, true), ("root", true, true)]
    {
        for path in [
            "/v2/_catalog",
            "/",
            "/?q=model",
            "/?q=secret",
            "/api/models",
            "/api/models?search=secret",
        ] {
            let text = scene.ask(account, "GET", path, b"").text();
            if path.ends_with("secret") {
                assert_eq!(text.contains("acme/secret"), secret, "{account} {path}");
            } else if path.ends_with("model") || !path.contains('?') {
                assert_eq!(text.contains("public/model"), public, "{account} {path}: {text}");
                assert!(secret || !text.contains("acme/secret"), "{account} {path}");
            }
        }
    }
    // A page of the catalogue is filled with what may be seen, and says whether more follows.
    for name in ["acme/a", "acme/b", "public/a", "public/z"] {
        scene.fill(name, b"x");
    }
    let first = scene.ask("carol", "GET", "/v2/_catalog?n=2", b"");
    assert_eq!(first.json()["repositories"], json!(["public/a", "public/model"]));
    assert!(first.header("link").is_some());
    let rest = scene.ask("carol", "GET", "/v2/_catalog?n=2&last=public/model", b"");
    assert_eq!(rest.json()["repositories"], json!(["public/z"]));
    assert!(rest.header("link").is_none());
}

#[test]
fn a_digest_that_is_known_opens_nothing() {
    let scene = Scene::new();
    let blob = Digest::of(SECRET);
    // By another repository that may be read or written.
    for path in [format!("/v2/public/model2/blobs/{blob}"), format!("/v2/bobs/own/blobs/{blob}")] {
        assert_eq!(scene.ask("bob", "GET", &path, b"").status, 404);
    }
    scene.fill("acme/more", b"more that is secret");
    let more = Digest::of(b"more that is secret");
    // A mount from where carol may not read, and one that names no repository: both become uploads.
    let carols = "[[policy]]\nrepositories = [\"carols/*\"]\nsubjects = [\"carol\"]\nactions = [\"pull\", \"push\"]\n";
    let scene2 = Scene::with(&format!("{POLICY}{carols}"));
    scene2.fill("acme/more", b"more that is secret");
    for query in [format!("mount={more}&from=acme/more"), format!("mount={more}")] {
        let answer =
            scene2.ask("carol", "POST", &format!("/v2/carols/own/blobs/uploads/?{query}"), b"");
        assert_eq!(answer.status, 202, "{query}");
        assert_eq!(
            scene2.ask("carol", "GET", &format!("/v2/carols/own/blobs/{more}"), b"").status,
            404
        );
    }
    // A manifest that names it makes it no more readable.
    let manifest = manifest(b"more that is secret");
    let put = scene2.with_headers(
        "carol",
        "PUT",
        "/v2/carols/own/manifests/v1",
        &[("Content-Type", OCI)],
        manifest.as_bytes(),
    );
    assert_eq!(put.status, 201);
    assert_eq!(
        scene2.ask("carol", "GET", &format!("/v2/carols/own/blobs/{more}"), b"").status,
        404
    );
    let resolve = scene2.ask("carol", "GET", "/carols/own/resolve/main/weights.bin", b"");
    assert_ne!(resolve.status, 200, "{}", resolve.text());
    // Who may read both mounts.
    let ok = scene2.ask(
        "root",
        "POST",
        &format!("/v2/carols/own/blobs/uploads/?mount={more}&from=acme/more"),
        b"",
    );
    assert_eq!(ok.status, 201);
}

#[test]
fn tokens_are_for_what_they_say() {
    let scene = Scene::new();
    let token = scene.token("alice", "repository:acme/secret:pull,push");
    assert_eq!(scene.bearer(&token, "GET", "/v2/acme/secret/manifests/v1").status, 200);
    // On another repository, for another action, for more than the account may.
    assert_eq!(scene.bearer(&token, "GET", "/v2/public/model/manifests/v1").status, 401);
    assert_eq!(scene.bearer(&token, "DELETE", "/v2/acme/secret/manifests/v1").status, 401);
    let pull = scene.token("alice", "repository:acme/secret:pull");
    assert_eq!(scene.bearer(&pull, "POST", "/v2/acme/secret/blobs/uploads/").status, 401);
    let bobs = scene.token("bob", "repository:acme/secret:pull,push,delete");
    assert_eq!(scene.bearer(&bobs, "POST", "/v2/acme/secret/blobs/uploads/").status, 401);
    let anonymous = scene.token("", "repository:acme/secret:pull");
    assert_eq!(scene.bearer(&anonymous, "GET", "/v2/acme/secret/manifests/v1").status, 401);
    let anonymous = scene.token("", "repository:public/model:pull");
    assert_eq!(scene.bearer(&anonymous, "GET", "/v2/public/model/manifests/v1").status, 200);
    // Altered in any letter of what it says, or of its code; made of the parts of two; of another kind.
    let (payload, code) = token.strip_prefix("mdlt1.").unwrap().split_once('.').unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let forged = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        format!("mdlt1.{}.{code}", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let (bobs_payload, _) = bobs.strip_prefix("mdlt1.").unwrap().split_once('.').unwrap();
    for forged in [
        forged(&|it| it["account"] = "root".into()),
        forged(&|it| it["expires"] = 9_999_999_999_u64.into()),
        forged(&|it| it["scopes"]["acme/secret"] = json!(["pull", "push", "delete", "admin"])),
        format!("mdlt1.{bobs_payload}.{code}"),
        format!("mdlt1.{payload}."),
        format!("mdlt1.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 32])),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{code}"),
        "mdlt1.".to_owned(),
        "hf_".to_owned(),
        format!("hf_{}", "a".repeat(40)),
        String::new(),
    ] {
        let answer = scene.bearer(&forged, "GET", "/v2/acme/secret/manifests/v1");
        assert_eq!(answer.status, 401, "{forged}");
    }
    // The account goes, and its tokens with it.
    scene.place.says(&["registry", "user", "remove", "alice", "--root", "root"]);
    assert_eq!(scene.bearer(&token, "GET", "/v2/acme/secret/manifests/v1").status, 401);
    assert_eq!(scene.ask("alice", "GET", "/v2/", b"").status, 401);
}

#[test]
fn keys_expire_are_revoked_and_are_for_some_things() {
    let scene = Scene::new();
    let secret = "/v2/acme/secret/manifests/v1";
    let (identifier, key) = scene.key("alice", &[]);
    assert!(key.starts_with("hf_") && key.len() >= 37);
    let stored = fs::read_to_string(scene.place.path("root/accounts.json")).unwrap();
    assert!(!stored.contains(&key) && !stored.contains("password-"));
    let as_password = basic("whoever", &key);
    let with = |header: &str, path: &str, method: &str| {
        ask(&scene.server.host, method, path, &[("Authorization", header)], b"").unwrap().status
    };
    assert_eq!(scene.bearer(&key, "GET", secret).status, 200);
    assert_eq!(with(&as_password, secret, "GET"), 200);
    let (_, narrow) = scene.key("alice", &["--repository", "acme/other", "--action", "pull"]);
    assert_eq!(scene.bearer(&narrow, "GET", secret).status, 404);
    let (_, reading) = scene.key("alice", &["--action", "pull"]);
    assert_eq!(scene.bearer(&reading, "GET", secret).status, 200);
    assert_eq!(scene.bearer(&reading, "POST", "/v2/acme/secret/blobs/uploads/").status, 403);
    // An administrator's key that is limited is no administrator.
    let (_, limited) = scene.key("root", &["--repository", "public/*", "--action", "pull"]);
    assert_eq!(scene.bearer(&limited, "GET", secret).status, 404);
    let (_, short) = scene.key("alice", &["--expires", "1s"]);
    assert_eq!(scene.bearer(&short, "GET", secret).status, 200);
    // A token that was had for a key ends with the key.
    let exchanged = ask(
        &scene.server.host,
        "GET",
        "/-/token?scope=repository:acme/secret:pull",
        &[("Authorization", &as_password)],
        b"",
    )
    .unwrap();
    let token = exchanged.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(scene.bearer(&token, "GET", secret).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(scene.bearer(&short, "GET", secret).status, 401);
    scene.place.says(&["registry", "key", "revoke", &identifier, "--root", "root"]);
    assert_eq!(scene.bearer(&key, "GET", secret).status, 401);
    assert_eq!(with(&as_password, secret, "GET"), 401);
    assert_eq!(scene.bearer(&token, "GET", secret).status, 401);
}

#[test]
fn an_upload_is_its_owners() {
    let shared = "[[policy]]\nrepositories = [\"shared/*\"]\nsubjects = [\"*\"]\nactions = [\"pull\", \"push\"]\n";
    let scene = Scene::with(&format!("{POLICY}{shared}"));
    let begun = scene.ask("alice", "POST", "/v2/shared/x/blobs/uploads/", b"");
    let location = begun.location();
    let bare = location.split('?').next().unwrap().to_owned();
    let bobs = scene.ask("bob", "POST", "/v2/shared/x/blobs/uploads/", b"").location();
    let (_, bobs_mark) = bobs.split_once('?').unwrap();
    for path in
        [location.clone(), bare.clone(), format!("{bare}?{bobs_mark}"), format!("{bare}?owner=")]
    {
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = scene.ask("bob", method, &path, b"xyz");
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert_eq!(
        scene.ask("alice", "PATCH", &bare, b"xyz").status,
        404,
        "its address says whose it is"
    );
    // By a repository of his own.
    let moved = location.replace("/shared/x/", "/bobs/x/");
    assert_eq!(scene.ask("bob", "PATCH", &moved, b"xyz").status, 404);
    assert_eq!(scene.ask("alice", "PATCH", &location, b"xyz").status, 202);
    let digest = Digest::of(b"xyz");
    let put = scene.ask("alice", "PUT", &format!("{location}&digest={digest}"), b"");
    assert_eq!(put.status, 201, "{}", put.text());
}

#[test]
fn credentials_that_are_smuggled() {
    let scene = Scene::new();
    let host = &scene.server.host;
    let path = "/v2/acme/secret/manifests/v1";
    let (bob, carol) = (basic("bob", "password-bob"), basic("carol", "password-carol"));
    let two =
        ask(host, "GET", path, &[("Authorization", &carol), ("Authorization", &bob)], b"").unwrap();
    assert_eq!(two.status, 400);
    for header in [
        "Basic".to_owned(),
        "Basic !".to_owned(),
        format!("Basic {}", STANDARD.encode("bob")),
        format!("Basic {}", STANDARD.encode([0xff, 0xfe])),
        format!("Digest {}", bob.trim_start_matches("Basic ")),
        "Bearer".to_owned(),
        format!("Bearer {}", "a".repeat(9_000)),
    ] {
        let answer = ask(host, "GET", path, &[("Authorization", &header)], b"").unwrap();
        assert!(answer.status == 400 || answer.status == 401, "{header}: {}", answer.status);
    }
    for (name, value) in [
        ("X-Forwarded-User", "root"),
        ("X-Remote-User", "root"),
        ("Proxy-Authorization", bob.as_str()),
        ("X-Original-URL", "/v2/public/model/manifests/v1"),
        ("X-HTTP-Method-Override", "GET"),
    ] {
        assert_eq!(ask(host, "GET", path, &[(name, value)], b"").unwrap().status, 401, "{name}");
    }
    // Names that are another when they are decoded once more, or in another case.
    for path in [
        "/v2/public/../acme/secret/manifests/v1",
        "/v2/public%2f..%2facme/secret/manifests/v1",
        "/v2/acme%2fsecret/manifests/v1",
        "/v2/Acme/Secret/manifests/v1",
        "/v2//acme/secret/manifests/v1",
        "/acme%2Fsecret:v1",
        "/ACME/secret:v1",
    ] {
        let answer = scene.ask("carol", "GET", path, b"");
        assert!(answer.status != 200 && !answer.text().contains("weights"), "{path}");
        let ollama = [("User-Agent", "ollama/0.17.4 (amd64 linux) Go/go1.26")];
        let answer = scene.with_headers("carol", "GET", path, &ollama, b"");
        assert!(answer.status != 200, "{path} as Ollama");
    }
}

#[test]
fn the_time_of_a_refusal_tells_no_account() {
    let scene = Scene::new();
    let median = |name: &str| {
        let mut times: Vec<_> = (0..7)
            .map(|at| {
                let header = basic(name, &format!("wrong-{at}"));
                let began = Instant::now();
                let answer =
                    ask(&scene.server.host, "GET", "/v2/", &[("Authorization", &header)], b"");
                assert_eq!(answer.unwrap().status, 401);
                began.elapsed()
            })
            .collect();
        times.sort();
        times[3]
    };
    let (known, unknown) = (median("alice"), median("nobody-here"));
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.4..2.5).contains(&ratio), "{known:?} against {unknown:?}");
}

#[test]
fn mistakes_in_policies_are_named_when_they_are_read() {
    let place = Place::new();
    for (text, says) in [
        (
            "[[policy]]\nrepositories = []\nsubjects = [\"a\"]\nactions = [\"pull\"]",
            "`repositories` is empty",
        ),
        (
            "[[policy]]\nrepositories = [\"Acme/*\"]\nsubjects = [\"a\"]\nactions = [\"pull\"]",
            "matches no repository",
        ),
        (
            "[[policy]]\nrepositories = [\"a\"]\nsubjects = [\"a\"]\nactions = [\"write\"]",
            "unknown variant",
        ),
        (
            "[[policy]]\nrepositories = [\"a\"]\nsubjects = [\"anonymous\"]\nactions = [\"push\"]",
            "more than pull",
        ),
        (
            "[[policy]]\nrepositories = [\"a\"]\nsubject = [\"a\"]\nactions = [\"pull\"]",
            "unknown field",
        ),
        ("[auth]\nldap = 1", "unknown field"),
    ] {
        fs::write(place.path("registry.toml"), text).unwrap();
        let said = place.fails(&["registry", "check-config", "registry.toml"]);
        assert!(said.contains(says), "{text}: {said}");
    }
    for (name, says) in [("an admin", "no name"), ("anonymous", "no name"), ("", "no name")] {
        let said =
            place.fails(&["registry", "user", "add", name, "--no-password", "--root", "root"]);
        assert!(said.contains(says), "{said}");
    }
    fs::create_dir_all(place.path("root")).unwrap();
    fs::write(place.path("root/accounts.json"), "{").unwrap();
    let said = Server::try_with(&place.path("root"), "127.0.0.1:0", "").unwrap_err();
    assert!(said.contains("accounts.json"), "what cannot be read is not taken for none: {said}");
}

#[test]
fn a_registry_without_accounts_stays_on_this_machine() {
    let place = Place::new();
    let said = Server::try_with(&place.path("root"), "0.0.0.0:0", "").unwrap_err();
    assert!(said.contains("without accounts"), "{said}");
    let server = Server::with(&place.path("root"), "127.0.0.1:0", "");
    assert_eq!(ask(&server.host, "GET", "/v2/", &[], b"").unwrap().status, 200);
    // The first account: from now on somebody is asked, with no restart.
    user_add(&place, "root", &["--admin"]);
    assert_eq!(ask(&server.host, "GET", "/v2/", &[], b"").unwrap().status, 401);
    drop(server);
    let open = Server::with(&place.path("root"), "0.0.0.0:0", "");
    let port = open.host.rsplit_once(':').unwrap().1;
    let host = format!("127.0.0.1:{port}");
    assert_eq!(ask(&host, "GET", "/v2/", &[], b"").unwrap().status, 401);
    let basic = basic("root", "password-root");
    assert_eq!(ask(&host, "GET", "/v2/", &[("Authorization", &basic)], b"").unwrap().status, 200);
}

#[test]
fn the_last_account_that_goes_opens_nothing() {
    let place = Place::new();
    user_add(&place, "root", &["--admin"]);
    let server = Server::with(&place.path("root"), "127.0.0.1:0", "");
    let status = || ask(&server.host, "GET", "/v2/_catalog", &[], b"").unwrap().status;
    assert_eq!(status(), 401);
    place.says(&["registry", "user", "remove", "root", "--root", "root"]);
    assert_eq!(status(), 401);
    fs::remove_file(place.path("root/accounts.json")).unwrap();
    assert_eq!(status(), 401);
    // One that comes then is let in, and stays an administrator with another password.
    user_add(&place, "root", &["--admin"]);
    user_add(&place, "root", &[]);
    let listed = super::json(&place, &["registry", "user", "list", "--root", "root"]);
    assert_eq!(listed[0]["admin"], true);
    let basic = basic("root", "password-root");
    let with = ask(&server.host, "GET", "/v2/_catalog", &[("Authorization", &basic)], b"");
    assert_eq!(with.unwrap().status, 200);
}

#[test]
fn who_may_only_push_reads_nothing() {
    let only =
        "[[policy]]\nrepositories = [\"acme/*\"]\nsubjects = [\"carol\"]\nactions = [\"push\"]\n";
    let scene = Scene::with(&format!("{POLICY}{only}"));
    let blob = Digest::of(SECRET);
    for path in [
        format!("/v2/acme/secret/blobs/{blob}"),
        "/v2/acme/secret/manifests/v1".to_owned(),
        "/v2/acme/secret/tags/list".to_owned(),
        "/acme/secret:v1".to_owned(),
        "/acme/secret/resolve/main/weights.bin".to_owned(),
        "/api/models/acme/secret".to_owned(),
    ] {
        assert_ne!(scene.ask("carol", "GET", &path, b"").status, 200, "{path}");
    }
    for path in ["/v2/_catalog", "/", "/api/models"] {
        assert!(!scene.ask("carol", "GET", path, b"").text().contains("acme/secret"), "{path}");
    }
    let begun = scene.ask("carol", "POST", "/v2/acme/secret/blobs/uploads/", b"");
    assert_eq!(begun.status, 202);
}

#[test]
fn a_backup_takes_accounts_along() {
    let scene = Scene::new();
    scene.place.says(&["registry", "backup", "--root", "root", "copy"]);
    scene.place.says(&["registry", "restore", "--root", "restored", "copy"]);
    let restored = Server::with(&scene.place.path("restored"), "127.0.0.1:0", POLICY);
    let secret = "/v2/acme/secret/manifests/v1";
    let status = |account: &str| {
        let basic = basic(account, &format!("password-{account}"));
        ask(&restored.host, "GET", secret, &[("Authorization", &basic)], b"").unwrap().status
    };
    assert_eq!((status("bob"), status("carol"), status("nobody")), (200, 404, 401));
    assert_eq!(ask(&restored.host, "GET", secret, &[], b"").unwrap().status, 401);
}

#[test]
fn accounts_of_an_htpasswd_file() {
    // `htpasswd -B` of apache2-utils: `dora` with the password `of-htpasswd`.
    let place = Place::new();
    let hash = bcrypt_hash("of-htpasswd");
    fs::write(place.path("htpasswd"), format!("# accounts\ndora:{hash}\n")).unwrap();
    let server =
        Server::with(&place.path("root"), "127.0.0.1:0", "[auth]\nhtpasswd = \"htpasswd\"\n");
    let status = |password: &str| {
        ask(&server.host, "GET", "/v2/", &[("Authorization", &basic("dora", password))], b"")
            .unwrap()
            .status
    };
    assert_eq!((status("of-htpasswd"), status("of-htpassw")), (200, 401));
    fs::write(place.path("htpasswd"), "dora:{SHA}abc\n").unwrap();
    let said =
        Server::try_with(&place.path("other"), "127.0.0.1:0", "[auth]\nhtpasswd = \"htpasswd\"\n")
            .unwrap_err();
    assert!(said.contains("line 1") && said.contains("bcrypt"), "{said}");
}

/// As `htpasswd -B` makes it, by the program itself where it is there, else by ours.
fn bcrypt_hash(password: &str) -> String {
    match Command::new("htpasswd").args(["-bnBC", "5", "x", password]).output() {
        Ok(done) if done.status.success() => {
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            text.trim().strip_prefix("x:").unwrap().to_owned()
        }
        _ => {
            let place = Place::new();
            let mut command = place.command();
            command.args(["registry", "user", "add", "x", "--password-stdin", "--root", "root"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
            let accounts: Value =
                serde_json::from_slice(&fs::read(place.path("root/accounts.json")).unwrap())
                    .unwrap();
            accounts["users"]["x"]["password"].as_str().unwrap().to_owned()
        }
    }
}
