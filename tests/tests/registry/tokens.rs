//! A registry that wants tokens, a proxy on the way, and TLS of an authority of one's own.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use mdl_store::Digest;
use mdl_tests::{
    Place,
    liar::{Liar, Reply, Request},
    mdl, output,
    server::Server,
};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry with one package, whose token server gives tokens to `me` alone and lets each serve three requests.
fn registry(request: &Request, host: &str, used: &AtomicU32) -> Reply {
    // `me:secret`
    const BASIC: &str = "Basic bWU6c2VjcmV0";
    let authorization = request.header("authorization");
    if request.path.starts_with("/token?") {
        if authorization != Some(BASIC)
            || !request.path.contains("scope=repository%3Ateam%2Fmodel%3Apull")
        {
            return Reply::new(401, "");
        }
        let number = used.fetch_add(1, Ordering::Relaxed) / 3;
        return Reply::new(
            200,
            json!({ "token": format!("t{number}"), "expires_in": 60 }).to_string(),
        );
    }
    let valid = format!("Bearer t{}", used.load(Ordering::Relaxed).saturating_sub(1) / 3);
    if authorization != Some(&valid) {
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"tests\",scope=\"repository:team/model:pull\""
        );
        return Reply::new(401, "").with("WWW-Authenticate", challenge);
    }
    let content = b"behind tokens";
    if request.path.contains("/manifests/") {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
            "layers": [{ "mediaType": "application/vnd.cncf.model.weight.v1.raw", "digest": Digest::of(content).to_string(),
                "size": content.len(), "annotations": { "org.cncf.model.filepath": "weights.bin" } }],
        });
        return Reply::new(200, manifest.to_string()).with("Content-Type", MANIFEST);
    }
    if request.path.contains("/blobs/") {
        let wanted =
            if request.path.contains(Digest::of(content).hex()) { &content[..] } else { b"{}" };
        return Reply::new(200, wanted);
    }
    Reply::new(404, "")
}

#[test]
fn a_token_is_fetched_with_the_account() {
    let used = AtomicU32::new(0);
    let liar = Liar::start(move |request, host| registry(request, host, &used));
    let place = Place::new();
    fs::create_dir(place.path("docker")).unwrap();
    let name = format!("{}/team/model:v1", liar.host);
    let run = || {
        let mut command = mdl(&place.path("home"));
        command.current_dir(place.folder()).env("DOCKER_CONFIG", place.path("docker"));
        command.args(["pull", &name, "--to", "out", "--quiet"]).output().unwrap()
    };
    let refused = run();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("mdl login"), "{said}");
    let auth = json!({ "auths": { &liar.host: { "username": "me", "password": "secret" } } });
    fs::write(place.path("docker/config.json"), auth.to_string()).unwrap();
    let done = run();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read(place.path("out/weights.bin")).unwrap(), b"behind tokens");
    // The password went to the token server alone.
    for request in liar.asked().iter().filter(|it| !it.path.starts_with("/token?")) {
        assert!(
            !request.header("authorization").unwrap_or("").starts_with("Basic"),
            "{}",
            request.path
        );
    }
}

#[test]
fn a_registry_in_trouble_is_asked_again_when_it_says() {
    let asked = AtomicU32::new(0);
    let used = AtomicU32::new(0);
    let liar = Liar::start(move |request, host| {
        if request.path.contains("/manifests/") && asked.fetch_add(1, Ordering::Relaxed) < 2 {
            return Reply::new(429, "").with("Retry-After", "1");
        }
        registry(request, host, &used)
    });
    let place = Place::new();
    fs::create_dir(place.path("docker")).unwrap();
    let auth = json!({ "auths": { &liar.host: { "username": "me", "password": "secret" } } });
    fs::write(place.path("docker/config.json"), auth.to_string()).unwrap();
    let mut command = mdl(&place.path("home"));
    command.current_dir(place.folder()).env("DOCKER_CONFIG", place.path("docker"));
    let began = std::time::Instant::now();
    let name = format!("{}/team/model:v1", liar.host);
    let done = command.args(["pull", &name, "--to", "out", "--quiet"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(began.elapsed() >= std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn plain_http_is_spoken_when_asked_and_a_proxy_is_used() {
    let proxy = Liar::start(registry_behind);
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let mut command = mdl(&place.path("home"));
        command
            .current_dir(place.folder())
            .args(arguments)
            .env("http_proxy", format!("http://{}", proxy.host));
        command.output().unwrap()
    };
    let name = "models.example/team/model:v1";
    let done = run(&["pull", name, "--to", "out", "--plain-http", "--quiet"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(proxy.asked().iter().all(|request| request.path.starts_with("http://models.example/")));
}

fn registry_behind(request: &Request, _: &str) -> Reply {
    let content = b"behind a proxy";
    if request.path.contains("/manifests/") {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
            "layers": [{ "mediaType": "application/octet-stream", "digest": Digest::of(content).to_string(),
                "size": content.len(), "annotations": { "org.opencontainers.image.title": "weights.bin" } }],
        });
        return Reply::new(200, manifest.to_string()).with("Content-Type", MANIFEST);
    }
    if request.path.contains("/blobs/") {
        let wanted =
            if request.path.contains(Digest::of(content).hex()) { &content[..] } else { b"{}" };
        return Reply::new(200, wanted);
    }
    Reply::new(404, "")
}

/// Certificates by openssl: an authority, and a server's.
pub(super) fn certificates(place: &Place) {
    let run = |arguments: &str| {
        output(
            Command::new("openssl").args(arguments.split_whitespace()).current_dir(place.folder()),
        );
    };
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
    run(&format!("req -x509 {curve} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
    run(&format!("req {curve} -keyout server.key -out server.csr -subj /CN=server"));
    fs::write(place.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    run(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

#[test]
fn tls_of_an_authority_of_ones_own() {
    let place = Place::new();
    certificates(&place);
    let tls = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        place.path("server.pem").display(),
        place.path("server.key").display()
    );
    let server = Server::with(&place.path("root"), "127.0.0.1:0", &tls);
    let port = server.host.rsplit_once(':').unwrap().1;
    let name = format!("localhost:{port}/team/tiny:v1");
    let unknown = place.fails(&["push", "data/tiny", &name, "--quiet"]);
    assert!(unknown.contains("--ca FILE"), "{unknown}");
    place.says(&["push", "data/tiny", &name, "--ca", "ca.pem", "--quiet"]);
    place.says(&["pull", &name, "--to", "out", "--ca", "ca.pem", "--quiet"]);
    let pulled = fs::read(place.path("out/model.safetensors")).unwrap();
    assert!(pulled == fs::read(place.path("data/tiny/model.safetensors")).unwrap());
    // HTTP/2 where a client wants it, and 1.1.
    for (version, flag) in [("2", "--http2"), ("1.1", "--http1.1")] {
        let told = output(Command::new("curl").current_dir(place.folder()).args([
            "-sS",
            flag,
            "--cacert",
            "ca.pem",
            "-o",
            "got",
            "-w",
            "%{http_version} %{http_code}",
            &format!("https://localhost:{port}/v2/team/tiny/manifests/v1"),
        ]));
        assert_eq!(told, format!("{version} 200"));
    }
}
