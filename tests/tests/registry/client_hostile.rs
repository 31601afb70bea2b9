//! Registries and hubs that lie to `mdl`: each is found out with a clear error, and nothing of it is kept.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mdl_store::Digest;
use mdl_tests::{
    Place,
    liar::{Liar, Reply, Request},
    mdl,
};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The content of the one file of an honest package.
const CONTENT: &[u8] = b"an honest file, as it was pushed";

/// A manifest with one file of this name, size and digest.
fn manifest(name: &str, size: u64, digest: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.cncf.model.weight.v1.raw", "digest": digest, "size": size,
            "annotations": { "org.cncf.model.filepath": name, "org.opencontainers.image.title": name },
        }],
    })
}

fn honest() -> Value {
    manifest("weights.bin", CONTENT.len() as u64, &Digest::of(CONTENT).to_string())
}

/// What an honest registry that holds this manifest answers.
fn truthful(request: &Request, manifest: &Value) -> Reply {
    let text = manifest.to_string();
    let path = request.path.split('?').next().unwrap_or_default();
    if path.contains("/manifests/") {
        let digest = Digest::of(text.as_bytes()).to_string();
        return Reply::new(200, text)
            .with("Content-Type", MANIFEST)
            .with("Docker-Content-Digest", digest);
    }
    if path.contains("/referrers/") {
        let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
        return Reply::new(200, index.to_string())
            .with("Content-Type", "application/vnd.oci.image.index.v1+json");
    }
    if path.ends_with(&Digest::of(b"{}").to_string()) {
        return Reply::new(200, "{}");
    }
    if path.contains("/blobs/") {
        return Reply::new(200, CONTENT);
    }
    Reply::new(200, "{}")
}

/// What `mdl` says, bounded in memory and time; nothing but what was there is in its folder afterwards.
fn refused(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let program = mdl(&place.path("home"));
    let began = Instant::now();
    // An endless answer that is gathered would end here.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -v 4000000; exec \"$0\" \"$@\""]).arg(program.get_program());
    command.args(arguments).current_dir(place.folder()).env("MDL_HOME", place.path("home"));
    command.env("NO_COLOR", "1").envs(variables.iter().copied());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code().is_some_and(|it| it > 0), "{arguments:?}: {:?} {said}", done.status);
    assert!(said.contains("error: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        began.elapsed() < Duration::from_mins(1),
        "{arguments:?}: {:?}: {said}",
        began.elapsed()
    );
    assert!(!place.path("escaped").exists(), "{arguments:?} wrote outside its folder");
    for file in fs::read_dir(place.path("out")).into_iter().flatten().flatten() {
        let name = file.file_name().into_string().unwrap();
        assert!(name.starts_with('.') || name.contains("part"), "{name} was kept: {said}");
    }
    // The next case begins anew.
    let _ = fs::remove_dir_all(place.path("out"));
    said
}

/// A pull from a registry that tells the truth but where `lie` answers; what `mdl` says.
fn pulled(
    manifest: &Value,
    lie: impl Fn(&Request, &str) -> Option<Reply> + Send + Sync + 'static,
) -> String {
    let manifest = Arc::new(manifest.clone());
    let liar = Liar::start(move |request, host| {
        lie(request, host).unwrap_or_else(|| truthful(request, &manifest))
    });
    let place = Place::new();
    refused(
        &place,
        &["pull", &format!("{}/team/model:v1", liar.host), "--to", "out", "--quiet"],
        &[],
    )
}

fn is_blob(request: &Request) -> bool {
    request.path.contains(&format!("/blobs/{}", Digest::of(CONTENT)))
}

#[test]
fn the_honest_one_is_believed() {
    let liar = Liar::start(|request, _| truthful(request, &honest()));
    let place = Place::new();
    place.says(&["pull", &format!("{}/team/model:v1", liar.host), "--to", "out", "--quiet"]);
    assert_eq!(fs::read(place.path("out/weights.bin")).unwrap(), CONTENT);
    place.says(&["pull", &format!("{}/team/model:v1", liar.host), "--quiet"]);
}

#[test]
fn blobs_that_are_not_what_they_should_be() {
    let blob = |body: Vec<u8>| {
        move |request: &Request, _: &str| is_blob(request).then(|| Reply::new(200, body.clone()))
    };
    let mut other = CONTENT.to_vec();
    other[3] ^= 1;
    let said = pulled(&honest(), blob(other));
    assert!(said.contains("digest"), "{said}");
    let said = pulled(&honest(), blob([CONTENT, b"more"].concat()));
    assert!(said.contains("bytes") || said.contains("longer"), "{said}");
    let said = pulled(&honest(), blob(CONTENT[..9].to_vec()));
    assert!(said.contains("bytes") || said.contains("short"), "{said}");
    let endless = |request: &Request, _: &str| {
        is_blob(request).then(|| Reply::endless(200, vec![7; 1 << 16]))
    };
    let said = pulled(&honest(), endless);
    assert!(said.contains("bytes") || said.contains("longer") || said.contains("more"), "{said}");
    // A size that no disk has.
    let huge = manifest("weights.bin", 1 << 60, &Digest::of(CONTENT).to_string());
    let said = pulled(&huge, |_, _| None);
    assert!(said.contains("needs") || said.contains("bytes"), "{said}");
    let said = pulled(&honest(), |request, _| is_blob(request).then(|| Reply::new(404, "")));
    assert!(said.contains("has no blob"), "{said}");
}

#[test]
fn manifests_that_are_not_what_they_should_be() {
    let reply = |reply: Reply| {
        move |request: &Request, _: &str| {
            request.path.contains("/manifests/").then(|| reply.clone())
        }
    };
    let typed = |body: &str| Reply::new(200, body).with("Content-Type", MANIFEST);
    let wrong =
        typed(&honest().to_string()).with("Docker-Content-Digest", Digest::of(b"x").to_string());
    let said = pulled(&honest(), reply(wrong));
    assert!(said.contains("digest"), "{said}");
    for body in ["", "no JSON", "[]", &format!("{{\"a\":{}", "[".repeat(100_000))] {
        let said = pulled(&honest(), reply(typed(body)));
        assert!(said.contains("manifest"), "{said}");
    }
    let endless = Reply::endless(200, vec![b' '; 1 << 16]).with("Content-Type", MANIFEST);
    let said = pulled(&honest(), reply(endless));
    assert!(said.contains("more than") || said.contains("larger"), "{said}");
}

#[test]
fn file_names_that_lead_elsewhere() {
    let digest = Digest::of(CONTENT).to_string();
    for name in [
        "../escaped",
        "a/../../escaped",
        "/tmp/mdl-escaped",
        "..",
        ".",
        "a//b",
        "a/./b",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "C:\\x",
    ] {
        let said = pulled(&manifest(name, CONTENT.len() as u64, &digest), |_, _| None);
        assert!(said.contains("name") || said.contains("file"), "{name:?}: {said}");
        assert!(!std::path::Path::new("/tmp/mdl-escaped").exists());
    }
    // Two layers of one name.
    let mut twice = honest();
    let layer = twice["layers"][0].clone();
    twice["layers"].as_array_mut().unwrap().push(layer);
    twice["layers"][1]["digest"] = json!(Digest::of(b"{}").to_string());
    twice["layers"][1]["size"] = json!(2);
    let said = pulled(&twice, |_, _| None);
    assert!(said.contains("weights.bin"), "{said}");
}

#[test]
fn redirects_and_challenges_that_lead_astray() {
    let around = |request: &Request, host: &str| {
        is_blob(request)
            .then(|| Reply::new(307, "").with("Location", format!("http://{host}{}", request.path)))
    };
    let said = pulled(&honest(), around);
    assert!(said.contains("redirect"), "{said}");
    let open = |request: &Request, _: &str| {
        is_blob(request).then(|| Reply::new(302, "").with("Location", "http://203.0.113.1/x"))
    };
    let said = pulled(&honest(), open);
    assert!(said.contains("without TLS"), "{said}");
    let file = |request: &Request, _: &str| {
        is_blob(request).then(|| Reply::new(302, "").with("Location", "file:///etc/passwd"))
    };
    let said = pulled(&honest(), file);
    assert!(said.contains("file"), "{said}");
    for realm in ["file:///etc/passwd", "http://203.0.113.1/token", "", &"x".repeat(100_000)] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let said = pulled(&honest(), move |_, _| {
            Some(Reply::new(401, "").with("WWW-Authenticate", &*challenge))
        });
        assert!(!said.contains("root:"), "{said}");
    }
    let later = |_: &Request, _: &str| Some(Reply::new(503, "").with("Retry-After", "99999999"));
    let said = pulled(&honest(), later);
    assert!(said.contains("503"), "{said}");
    let said = pulled(&honest(), |_, _| Some(Reply::endless(400, vec![b'x'; 1 << 16])));
    assert!(said.contains("400") && said.len() < 20_000, "{}", said.len());
    let control = |_: &Request, _: &str| Some(Reply::new(400, "\x1b[2Jgone\x07"));
    let said = pulled(&honest(), control);
    assert!(!said.contains('\x1b'), "{said:?}");
}

/// A password goes to the registry that it is for, and to nobody whom that one names.
#[test]
fn a_password_stays_with_its_registry() {
    let thief = Liar::start(|_, _| Reply::new(200, CONTENT));
    let away = thief.host.clone();
    let registry = Liar::start(move |request, _| {
        if request.header("authorization").is_none() {
            return Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if is_blob(request) {
            return Reply::new(307, "").with("Location", format!("http://{away}/stolen"));
        }
        if request.method == "POST" {
            return Reply::new(202, "").with("Location", format!("http://{away}/upload"));
        }
        if request.method == "HEAD" {
            return Reply::new(404, "");
        }
        truthful(request, &honest())
    });
    let place = Place::new();
    let auth = json!({ "auths": { &registry.host: { "username": "me", "password": "secret" } } });
    fs::create_dir(place.path("docker")).unwrap();
    fs::write(place.path("docker/config.json"), auth.to_string()).unwrap();
    let docker = place.path("docker");
    let run = |arguments: &[&str]| {
        mdl(&place.path("home"))
            .args(arguments)
            .arg("--quiet")
            .env("DOCKER_CONFIG", &docker)
            .current_dir(place.folder())
            .output()
            .unwrap()
    };
    let name = format!("{}/team/model:v1", registry.host);
    let done = run(&["pull", &name, "--to", "out"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::write(place.path("file.bin"), "a file").unwrap();
    run(&["push", "file.bin", &name]);
    let asked = thief.asked();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
}

/// What answers a push with lies.
#[test]
fn registries_that_take_nothing() {
    let pushed = |lie: fn(&Request, &str) -> Reply| {
        let liar = Liar::start(move |request, host| {
            if request.method == "HEAD" { Reply::new(404, "") } else { lie(request, host) }
        });
        let place = Place::new();
        fs::write(place.path("file.bin"), "a file").unwrap();
        refused(
            &place,
            &["push", "file.bin", &format!("{}/team/model:v1", liar.host), "--quiet"],
            &[],
        )
    };
    let said = pushed(|_, _| Reply::new(202, ""));
    assert!(said.contains("Location"), "{said}");
    let said = pushed(|_, _| Reply::new(202, "").with("Location", "file:///etc/passwd"));
    assert!(said.contains("file"), "{said}");
    // It says that it has the manifest, under another digest.
    let other = |request: &Request, host: &str| {
        let there = format!("http://{host}/v2/team/model/blobs/uploads/x");
        match request.method.as_str() {
            "POST" => Reply::new(202, "").with("Location", there),
            _ => Reply::new(201, "")
                .with("Docker-Content-Digest", Digest::of(b"x").to_string())
                .with("Location", "/x"),
        }
    };
    let said = pushed(other);
    assert!(said.contains("it stored the manifest"), "{said}");
    let said = pushed(|_, _| Reply::new(413, "too large"));
    assert!(said.contains("413"), "{said}");
}

/// A hub with one file that lies about it.
fn hub(lie: impl Fn(&Request, &str) -> Option<Reply> + Send + Sync + 'static) -> String {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let liar = Liar::start(move |request, host| {
        if let Some(reply) = lie(request, host) {
            return reply;
        }
        let path = request.path.as_str();
        let file = json!({
            "type": "file", "path": "weights.bin", "size": CONTENT.len(), "oid": "0".repeat(40),
            "lfs": { "oid": Digest::of(CONTENT).hex(), "size": CONTENT.len(), "pointerSize": 130 },
        });
        if path.contains("/tree/") {
            return Reply::new(200, json!([file]).to_string())
                .with("Content-Type", "application/json");
        }
        if path.starts_with("/api/models/") {
            let info = json!({ "id": "team/model", "sha": commit, "siblings": [{ "rfilename": "weights.bin" }] });
            return Reply::new(200, info.to_string()).with("Content-Type", "application/json");
        }
        Reply::new(200, CONTENT)
            .with("X-Repo-Commit", commit)
            .with("ETag", format!("\"{}\"", Digest::of(CONTENT).hex()))
    });
    let place = Place::new();
    let endpoint = format!("http://{}", liar.host);
    refused(
        &place,
        &["pull", "hf://team/model", "--to", "out", "--quiet"],
        &[("HF_ENDPOINT", &endpoint)],
    )
}

/// A tag that moves between the manifest that a policy looked at and the one that is fetched.
#[test]
fn what_is_fetched_is_what_was_judged() {
    for (scheme, says) in [("", "digest"), ("ollama://", "what was judged was")] {
        let asked = AtomicBool::new(false);
        let liar = Liar::start(move |request, _| {
            let mut shown = honest();
            if request.path.contains("/manifests/") && asked.fetch_xor(true, Ordering::Relaxed) {
                shown["annotations"] = json!({ "org.opencontainers.image.licenses": "other" });
            }
            truthful(request, &shown)
        });
        let place = Place::new();
        fs::create_dir_all(place.path("home")).unwrap();
        let policy = "[[rule]]\nrepositories = [\"team/*\"]\nthreshold = 0\n";
        fs::write(place.path("home/trust.toml"), policy).unwrap();
        let name = format!("{scheme}{}/team/model:v1", liar.host);
        let said = refused(&place, &["pull", &name, "--to", "out", "--quiet"], &[]);
        assert!(said.contains(says), "{said}");
        let said = refused(&place, &["pull", &name, "--quiet"], &[]);
        assert!(said.contains(says), "{said}");
        assert!(place.fails(&["list"]).contains("holds no such package"));
    }
}

#[test]
fn hubs_that_lie() {
    let tree = |file: Value| {
        move |request: &Request, _: &str| {
            request.path.contains("/tree/").then(|| {
                Reply::new(200, json!([file]).to_string()).with("Content-Type", "application/json")
            })
        }
    };
    let file = |name: &str, size: u64, oid: &str| {
        json!({ "type": "file", "path": name, "size": size, "oid": "0".repeat(40),
            "lfs": { "oid": oid, "size": size, "pointerSize": 130 } })
    };
    let (right, length) = (Digest::of(CONTENT), CONTENT.len() as u64);
    let said = hub(tree(file("weights.bin", length, Digest::of(b"x").hex())));
    assert!(said.contains("digest"), "{said}");
    let said = hub(tree(file("weights.bin", length + 5, right.hex())));
    assert!(said.contains("bytes") || said.contains("size"), "{said}");
    for name in ["../escaped", "/tmp/mdl-escaped", "a/../../escaped", "a\nb"] {
        let said = hub(tree(file(name, length, right.hex())));
        assert!(said.contains("name") || said.contains("file"), "{name}: {said}");
    }
    let said = hub(tree(file("weights.bin", length, "zz")));
    assert!(said.contains("SHA-256"), "{said}");
    let said = hub(|request, _| {
        request.path.contains("/tree/").then(|| Reply::endless(200, vec![b'['; 1 << 16]))
    });
    assert!(!said.is_empty());
    // Pages of a listing without end.
    let pages = |request: &Request, host: &str| {
        request.path.contains("/tree/").then(|| {
            let next = format!("<http://{host}{}>; rel=\"next\"", request.path);
            Reply::new(200, "[]").with("Link", next).with("Content-Type", "application/json")
        })
    };
    let said = hub(pages);
    assert!(said.contains("page") || said.contains("list"), "{said}");
    let said = hub(|request, _| {
        request.path.starts_with("/api/models/").then(|| Reply::new(200, "{\"sha\": \"../..\"}"))
    });
    assert!(said.contains("commit") || said.contains("revision"), "{said}");
}
