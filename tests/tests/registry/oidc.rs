//! Tokens of CI systems: what an account of theirs may do, and what is passed off as such a token and is none.

use std::{
    fs,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mdl_store::Digest;
use mdl_tests::{
    Place,
    http::{Answer, ask},
    issuer::{Issuer, claims, claims_with, hmac_token, now, signed},
    liar::{Liar, Reply},
    need,
    server::Server,
};
use serde_json::{Value, json};

use super::accounts::{OCI, SECRET, basic, manifest, user_add};

const POLICY: &str = r#"
[[policy]]
repositories = ["acme/**"]
subjects = ["ci"]
actions = ["pull", "push"]
[[policy]]
repositories = ["public/**"]
subjects = ["anonymous", "*"]
actions = ["pull"]
"#;

const SECRET_MANIFEST: &str = "/v2/acme/secret/manifests/v1";

/// The sections for one issuer; `claims` is what the account `ci` has to have.
fn section(jwks: &str, claims: &str) -> String {
    format!(
        "[[oidc]]\nissuer = \"https://ci.example.org\"\naudience = \"models.example.org\"\njwks = \"{jwks}\"\n\
         [[oidc.account]]\nname = \"ci\"\nclaims = {claims}\n"
    )
}

fn settings(jwks: &str) -> String {
    let claims = r#"{ repository = "acme/models", ref = "refs/heads/*" }"#;
    format!("{}{POLICY}", section(jwks, claims))
}

/// A registry that takes an issuer's tokens for `ci`, with a manifest in `acme/secret`, `other/secret` and `public/model`,
/// and two local accounts, `root` and another `ci`, both administrators.
struct Scene {
    place: Place,
    server: Server,
    issuer: Issuer,
}

impl Scene {
    fn new() -> Self {
        let (place, issuer) = (Place::new(), Issuer::new("a"));
        fs::write(place.path("keys.json"), issuer.jwks()).unwrap();
        Self::with(place, issuer, &settings("keys.json"))
    }

    fn with(place: Place, issuer: Issuer, settings: &str) -> Self {
        for name in ["root", "ci"] {
            user_add(&place, name, &["--admin"]);
        }
        let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
        let scene = Self { place, server, issuer };
        let root = basic("root", "password-root");
        for repository in ["acme/secret", "other/secret", "public/model"] {
            assert_eq!(scene.push(&root, repository), 201);
        }
        scene
    }

    fn ask(&self, authorization: &str, method: &str, path: &str) -> Answer {
        self.server.ask(method, path, &[("Authorization", authorization)], b"")
    }

    fn bearer(&self, token: &str, method: &str, path: &str) -> Answer {
        self.ask(&format!("Bearer {token}"), method, path)
    }

    /// Pushes two blobs and a manifest; the last status.
    fn push(&self, authorization: &str, repository: &str) -> u16 {
        let headers = [("Authorization", authorization), ("Content-Type", OCI)];
        for blob in [SECRET, b"{}"] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", Digest::of(blob));
            let put = self.server.ask("POST", &path, &headers, blob);
            if put.status != 201 {
                return put.status;
            }
        }
        let path = format!("/v2/{repository}/manifests/v1");
        self.server.ask("PUT", &path, &headers, manifest(SECRET).as_bytes()).status
    }

    /// What the token endpoint answers.
    fn exchange(&self, authorization: &str, scopes: &[&str]) -> Answer {
        let scopes = scopes.join("&scope=");
        self.ask(authorization, "GET", &format!("/-/token?service=x&scope={scopes}"))
    }
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_may_what_its_account_may_and_nothing_else() {
    let scene = Scene::new();
    for jwt in [scene.issuer.token(&claims()), scene.issuer.ec_token(&claims())] {
        let exchanged = token_of(&scene.exchange(
            &basic("whoever", &jwt),
            &[
                "repository:acme/secret:pull,push,delete",
                "repository:acme/new:pull,push",
                "repository:other/secret:pull,push,delete",
                "repository:public/model:pull,push",
                "registry:catalog:*",
            ],
        ));
        let ways = [format!("Bearer {jwt}"), basic("whoever", &jwt), format!("Bearer {exchanged}")];
        for (way, authorization) in ways.iter().enumerate() {
            // A token of ours that is for too little asks for another one.
            let (hidden, forbidden) = if way == 2 { (401, 401) } else { (404, 403) };
            for (method, path, status) in [
                ("GET", "/v2/", 200),
                ("GET", SECRET_MANIFEST, 200),
                ("DELETE", SECRET_MANIFEST, forbidden),
                ("GET", "/v2/public/model/manifests/v1", 200),
                ("POST", "/v2/public/model/blobs/uploads/", forbidden),
                ("GET", "/v2/other/secret/manifests/v1", hidden),
                ("POST", "/v2/other/secret/blobs/uploads/", forbidden),
                ("DELETE", "/v2/other/secret/manifests/v1", forbidden),
                ("GET", "/acme/secret:v1", 200),
                ("GET", "/other/secret:v1", 404),
                ("GET", "/acme/secret/resolve/main/weights.bin", 200),
                ("GET", "/other/secret/resolve/main/weights.bin", 404),
            ] {
                let answer = scene.ask(authorization, method, path);
                assert_eq!(answer.status, status, "{way} {method} {path}: {}", answer.text());
            }
            assert_eq!(scene.push(authorization, "acme/new"), 201);
            let listed = scene.ask(authorization, "GET", "/v2/_catalog").text();
            assert!(listed.contains("acme/secret") && !listed.contains("other"), "{listed}");
        }
    }
    // An upload of the local account that is called the same is not its own.
    let begun = scene.ask(&basic("ci", "password-ci"), "POST", "/v2/acme/x/blobs/uploads/");
    let jwt = scene.issuer.token(&claims());
    assert_eq!(scene.bearer(&jwt, "GET", &begun.location()).status, 404);
    let own = scene.bearer(&jwt, "POST", "/v2/acme/x/blobs/uploads/").location();
    assert_eq!(scene.bearer(&jwt, "GET", &own).status, 204);
}

#[test]
fn an_administrator_of_the_same_name_lends_nothing() {
    let scene = Scene::new();
    let (local, jwt) = (basic("ci", "password-ci"), scene.issuer.token(&claims()));
    let secret = "/v2/other/secret/manifests/v1";
    assert_eq!(scene.ask(&local, "GET", secret).status, 200);
    assert_eq!(scene.bearer(&jwt, "GET", secret).status, 404);
    assert_eq!(scene.ask(&basic("ci", &jwt), "GET", secret).status, 404);
    let scope = ["repository:other/secret:pull,push,delete"];
    let mine = token_of(&scene.exchange(&basic("ci", &jwt), &scope));
    assert_eq!(scene.bearer(&mine, "GET", secret).status, 401);
    // What was pushed by it and is read by it needs no local account either.
    scene.place.says(&["registry", "user", "remove", "ci", "--root", "root"]);
    assert_eq!(scene.ask(&local, "GET", secret).status, 401);
    assert_eq!(scene.bearer(&jwt, "GET", SECRET_MANIFEST).status, 200);
}

/// What looks like a token and is none, by name.
fn tricks(issuer: &Issuer) -> Vec<(&'static str, String)> {
    let good = claims().to_string();
    let head = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let parts: Vec<String> = issuer.token(&claims()).split('.').map(str::to_owned).collect();
    let (first, second, third) = (&parts[0], &parts[1], &parts[2]);
    let altered = signed(&json!({}), &claims_with("sub", json!("x")).to_string(), |_| Vec::new());
    let altered = altered.split('.').nth(1).unwrap();
    let twice = good.replacen('{', "{\"repository\":\"evil/x\",", 1);
    let changed = |name, value: Value| issuer.token(&claims_with(name, value));
    let mut all = vec![
        ("alg none", signed(&head("none", "a-rsa"), &good, |_| Vec::new())),
        ("alg None without a key", signed(&json!({ "alg": "None" }), &good, |_| Vec::new())),
        ("alg none with a signature", issuer.rsa(&head("none", "a-rsa"), &good)),
        ("ES256 with an RSA key's name", issuer.ec(&head("ES256", "a-rsa"), &good)),
        ("RS256 with an EC key's name", issuer.rsa(&head("RS256", "a-ec"), &good)),
        ("RS512 where the key is for RS256", issuer.rsa(&head("RS512", "a-rsa"), &good)),
        ("unknown kid", issuer.rsa(&head("RS256", "b-rsa"), &good)),
        ("another's key", Issuer::new("a").token(&claims())),
        ("no signature", format!("{first}.{second}.")),
        ("altered payload", format!("{first}.{altered}.{third}")),
        ("two parts", format!("{first}.{second}")),
        ("four parts", format!("{first}.{second}.{third}.{third}")),
        ("crit", issuer.rsa(&json!({ "alg": "RS256", "kid": "a-rsa", "crit": ["exp"] }), &good)),
        ("claims that stand twice", issuer.rsa(&head("RS256", "a-rsa"), &twice)),
        ("wrong audience", changed("aud", json!("models.example.org.evil"))),
        ("no audience", changed("aud", Value::Null)),
        ("wrong issuer", changed("iss", json!("https://ci.example.org/"))),
        ("no issuer", changed("iss", Value::Null)),
        ("expired", changed("exp", json!(now() - 1))),
        ("exp as text", changed("exp", json!((now() + 300).to_string()))),
        ("no exp", changed("exp", Value::Null)),
        ("not yet", changed("nbf", json!(now() + 120))),
        ("issued later", changed("iat", json!(now() + 120))),
        ("a repository that begins so", changed("repository", json!("acme/models-evil"))),
        ("a repository that ends so", changed("repository", json!("evil/acme/models"))),
        ("no repository", changed("repository", Value::Null)),
        ("a branch with a slash", changed("ref", json!("refs/heads/a/b"))),
        ("huge", changed("pad", json!("x".repeat(12 << 10)))),
    ];
    for secret in issuer.written() {
        for kid in ["a-rsa", "a-ec"] {
            all.push(("key confusion", hmac_token(&head("HS256", kid), &good, &secret)));
            all.push(("key confusion", hmac_token(&head("RS256", kid), &good, &secret)));
        }
        all.push(("key confusion", hmac_token(&json!({ "alg": "HS256" }), &good, &secret)));
    }
    all
}

#[test]
fn what_is_passed_off_as_a_token_holds_for_nobody() {
    let place = Place::new();
    let issuer = Issuer::new("a");
    fs::write(place.path("keys.json"), issuer.jwks()).unwrap();
    let settings = format!("{}[rates]\nfailures = \"never\"\n", settings("keys.json"));
    let scene = Scene::with(place, issuer, &settings);
    for (what, token) in tricks(&scene.issuer) {
        for authorization in [format!("Bearer {token}"), basic("ci", &token)] {
            for path in [SECRET_MANIFEST, "/v2/", "/v2/public/model/manifests/v1"] {
                let answer = scene.ask(&authorization, "GET", path);
                assert_eq!(answer.status, 401, "{what}: {path}: {}", answer.text());
            }
            let given = scene.exchange(&authorization, &["repository:acme/secret:pull"]);
            assert_eq!(given.status, 401, "{what}");
        }
    }
    assert_eq!(
        scene.bearer(&scene.issuer.token(&claims()), "GET", SECRET_MANIFEST).status,
        200,
        "while a good one still holds"
    );
    // More than a head may have.
    let huge = format!("Bearer eyJ{}", "x".repeat(40 << 10));
    assert!([400, 431].contains(&scene.ask(&huge, "GET", "/v2/").status));
}

#[test]
fn a_token_of_ours_outlives_nothing() {
    let scene = Scene::new();
    let expires = now() + 4;
    let jwt = scene.issuer.token(&claims_with("exp", json!(expires)));
    let scope = ["repository:acme/secret:pull"];
    let answer = scene.exchange(&basic("x", &jwt), &scope);
    assert!(answer.json()["expires_in"].as_u64().unwrap() <= 4, "{}", answer.text());
    let first = token_of(&answer);
    // Another one, for the first.
    let answer = scene.exchange(&format!("Bearer {first}"), &scope);
    assert!(answer.json()["expires_in"].as_u64().unwrap() <= 4, "{}", answer.text());
    let second = token_of(&answer);
    for token in [&jwt, &first, &second] {
        assert_eq!(scene.bearer(token, "GET", SECRET_MANIFEST).status, 200);
    }
    while now() <= expires {
        thread::sleep(Duration::from_millis(50));
    }
    for token in [&jwt, &first, &second] {
        assert_eq!(scene.bearer(token, "GET", SECRET_MANIFEST).status, 401);
        assert_eq!(scene.exchange(&format!("Bearer {token}"), &scope).status, 401);
    }
    // The account gets other claims while a token of ours for it is about.
    let jwt = scene.issuer.token(&claims());
    let token = token_of(&scene.exchange(&basic("x", &jwt), &scope));
    let narrower = section("keys.json", r#"{ repository = "acme/models", ref = "refs/tags/*" }"#);
    let quiet = "[access_log]\nto = \"off\"\n";
    fs::write(scene.place.path("root.toml"), format!("{narrower}{POLICY}{quiet}")).unwrap();
    scene.server.signal("HUP");
    let began = Instant::now();
    while scene.bearer(&token, "GET", SECRET_MANIFEST).status != 401 {
        assert!(began.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(scene.bearer(&jwt, "GET", SECRET_MANIFEST).status, 401);
    let tagged = scene.issuer.token(&claims_with("ref", json!("refs/tags/v1")));
    assert_eq!(scene.bearer(&tagged, "GET", SECRET_MANIFEST).status, 200);
}

/// A server with keys that can be changed.
fn key_server(keys: &Arc<Mutex<Option<String>>>) -> Liar {
    let keys = Arc::clone(keys);
    Liar::start(move |request, host| match (request.path.as_str(), &*keys.lock().unwrap()) {
        ("/jwks", Some(keys)) => Reply::new(200, keys.clone()),
        ("/moved", _) => Reply::new(302, "").with("Location", format!("http://{host}/jwks")),
        ("/endless", _) => Reply::endless(200, " ".repeat(1 << 16)),
        _ => Reply::new(503, ""),
    })
}

#[test]
fn keys_at_an_address_are_kept_and_asked_for_when_they_change() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let keys = Arc::new(Mutex::new(Some(old.jwks())));
    let liar = key_server(&keys);
    let place = Place::new();
    let scene = Scene::with(place, old, &settings(&format!("http://{}/jwks", liar.host)));
    let status = |token: &str| scene.bearer(token, "GET", SECRET_MANIFEST).status;
    let (first, second) = (scene.issuer.token(&claims()), new.token(&claims()));
    assert_eq!((liar.asked().len(), status(&first), status(&first)), (0, 200, 200));
    assert_eq!(liar.asked().len(), 1);
    // Another key: whoever comes first makes the registry ask, and the others wait for the same answer.
    *keys.lock().unwrap() = Some(new.jwks());
    let good = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let host = &scene.server.host;
                let header = format!("Bearer {second}");
                let headers = [("Authorization", header.as_str())];
                let answer = ask(host, "GET", SECRET_MANIFEST, &headers, b"").unwrap();
                good.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
            });
        }
    });
    assert_eq!((good.into_inner(), liar.asked().len()), (8, 2));
    assert_eq!(status(&first), 401, "its key is gone");
    // Names of keys that nobody has, while the server is down: it is not asked again so soon, and what it said stays.
    *keys.lock().unwrap() = None;
    let began = Instant::now();
    for at in 0..9 {
        let stranger = Issuer::new(&format!("stranger{at}")).token(&claims());
        assert_eq!(status(&stranger), 401);
        assert_eq!(status(&second), 200);
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(liar.asked().len(), 2);
}

#[test]
fn an_address_that_misbehaves_gives_no_keys_and_stops_nobody() {
    let issuer = Issuer::new("a");
    let keys = Arc::new(Mutex::new(Some(issuer.jwks())));
    let liar = key_server(&keys);
    let nobody = format!("127.0.0.1:{}", mdl_tests::server::free_port());
    let host = &liar.host;
    for address in
        [format!("{host}/moved"), format!("{host}/endless"), format!("{host}/none"), nobody]
    {
        let stranger = Issuer::new("b");
        let scene = Scene::with(Place::new(), stranger, &settings(&format!("http://{address}")));
        let began = Instant::now();
        for _ in 0..3 {
            let token = issuer.token(&claims());
            assert_eq!(scene.bearer(&token, "GET", SECRET_MANIFEST).status, 401, "{address}");
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{address}");
        assert_eq!(scene.ask(&basic("ci", "password-ci"), "GET", SECRET_MANIFEST).status, 200);
    }
    assert!(liar.asked().iter().all(|request| request.path != "/jwks"), "it followed");
}

#[test]
fn mistakes_are_named_when_they_are_read() {
    let place = Place::new();
    let good = Issuer::new("a").jwks();
    let symmetric = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }] });
    fs::create_dir(place.path("folder.json")).unwrap();
    for (name, text, says) in [
        ("garbage.json", "<html>".to_owned(), "no JSON Web Key Set"),
        ("empty.json", "{\"keys\":[]}".to_owned(), "no key"),
        ("symmetric.json", symmetric.to_string(), "no key"),
        ("large.json", " ".repeat(1 << 20) + &good, "more than 1048576 bytes"),
        ("folder.json", String::new(), "no file"),
        ("missing.json", String::new(), "cannot read"),
    ] {
        if !text.is_empty() {
            fs::write(place.path(name), text).unwrap();
        }
        let said = Server::try_with(&place.path("root"), "127.0.0.1:0", &settings(name));
        let said = said.err().unwrap();
        assert!(said.contains(name) && said.contains(says), "{name}: {said}");
    }
    fs::write(place.path("keys.json"), &good).unwrap();
    let check = |text: &str| {
        fs::write(place.path("registry.toml"), text).unwrap();
        place.fails(&["registry", "check-config", "registry.toml"])
    };
    let sound = settings("keys.json");
    let alone = section("keys.json", "{ repository = \"acme/models\" }");
    for (text, says) in [
        (alone.clone(), "needs a [[policy]]"),
        (section("keys.json", "{}") + POLICY, "has no `claims`"),
        (section("keys.json", "{ ok = true }") + POLICY, "line 7"),
        (format!("{alone}{alone}{POLICY}"), "stands twice"),
        (sound.replace("\"ci\"\nclaims", "\"*\"\nclaims"), "line 6"),
        (sound.replace("\"ci\"\nclaims", "\"anonymous\"\nclaims"), "no name"),
        (sound.replace("\"ci\"\nclaims", "\"\"\nclaims"), "no name"),
        (sound.replace("\"ci\"\nclaims", "\"c i\"\nclaims"), "no name"),
        (sound.replace("keys.json", "http://ci.example.org/keys"), "line 4"),
        (sound.replace("keys.json", "ftp://ci.example.org/keys"), "https://"),
        (sound.replace("https://ci.example.org", ""), "`issuer` has to have"),
        (sound.replace("audience =", "audiences ="), "unknown field"),
    ] {
        let said = check(&text);
        assert!(said.contains(says) && said.contains("registry.toml"), "{text}: {said}");
    }
    fs::write(place.path("registry.toml"), &sound).unwrap();
    let told = place.says(&["registry", "check-config", "registry.toml"]);
    for line in [
        "takes tokens of https://ci.example.org for models.example.org",
        "ci is whose ref is refs/heads/* and repository is acme/models",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

/// `config.json` of Docker's clients, with a token as the password.
fn log_in(place: &Place, host: &str, token: &str) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("oidc:{token}"));
    fs::create_dir_all(place.path("docker")).unwrap();
    let text = json!({ "auths": { host: { "auth": auth } } }).to_string();
    fs::write(place.path("docker/config.json"), text).unwrap();
}

#[test]
fn clients_take_a_token_for_a_password() {
    let scene = Scene::new();
    let place = &scene.place;
    log_in(place, &scene.server.host, &scene.issuer.token(&claims()));
    let run = |arguments: &[&str]| {
        let mut command = place.command();
        command.env("DOCKER_CONFIG", place.path("docker")).args(arguments).output().unwrap()
    };
    let pushed = run(&["push", "data/tiny", &scene.server.at("acme/tiny:v1"), "--quiet"]);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let pulled = run(&["pull", &scene.server.at("acme/tiny:v1"), "--to", "out", "--quiet"]);
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert!(!run(&["push", "data/tiny", &scene.server.at("other/tiny:v1")]).status.success());
    let crane = need!(mdl_tests::client("crane"));
    let manifest = mdl_tests::output(
        Command::new(crane)
            .args(["manifest", "--insecure", &scene.server.at("acme/tiny:v1")])
            .env("DOCKER_CONFIG", place.path("docker")),
    );
    assert!(manifest.contains("layers"), "{manifest}");
    let oras = need!(mdl_tests::client("oras"));
    let tags = mdl_tests::output(
        Command::new(oras)
            .args(["repo", "tags", "--plain-http", &scene.server.at("acme/tiny")])
            .env("DOCKER_CONFIG", place.path("docker")),
    );
    assert_eq!(tags.trim(), "v1");
}
