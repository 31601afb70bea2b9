//! The audit log: what real requests and commands leave in it, what hostile ones cannot, and what happens where it cannot
//! be written.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use mdl_store::Digest;
use mdl_tests::{Place, http, server::Server};
use serde_json::Value;

use super::accounts::{OCI, Scene, basic, manifest, user_add};

fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn verified(place: &Place) -> Value {
    super::json(place, &["registry", "audit", "verify", "--root", "root"])
}

/// With times and digests replaced, which are others in every run.
fn masked(text: &str) -> String {
    let mut out = super::masked(text);
    while let Some(at) = out.find("20").filter(|at| out.get(at + 10..at + 11) == Some("T")) {
        out.replace_range(at..at + 24, "TIME");
    }
    out
}

/// Refusals and pulls wait for no line; a token does, and for all before it.
fn all_written(scene: &Scene) {
    scene.token("root", "repository:any/where:pull");
}

/// There is one line of that event that says so.
fn one(lines: &[Value], event: &str, more: &[(&str, &str)]) {
    let fits = |line: &&&Value| {
        let mut all = more.iter();
        all.all(|(name, value)| line[*name] == *value || line[*name] == serde_json::json!([value]))
    };
    let found = of(lines, event);
    assert_eq!(found.iter().filter(fits).count(), 1, "{event} {more:?}: {found:#?}");
}

const CONTENT: &[u8] = b"a blob of alice's";
const PATH: &str = "/v2/acme/new/manifests/v7";
const RESOLVE: &str = "/acme/new/resolve/v7/weights.bin";

/// Alice pushes `acme/new:v7`: one blob is uploaded, the other mounted. Its digest.
fn pushed(scene: &Scene) -> String {
    let post = |query: &str, body: &[u8]| {
        scene.ask("alice", "POST", &format!("/v2/acme/new/blobs/uploads/?{query}"), body).status
    };
    assert_eq!(post(&format!("digest={}", Digest::of(CONTENT)), CONTENT), 201);
    assert_eq!(post(&format!("mount={}&from=public/model", Digest::of(b"{}")), b""), 201);
    let (typed, body) = ([("Content-Type", OCI)], manifest(CONTENT));
    assert_eq!(scene.with_headers("alice", "PUT", PATH, &typed, body.as_bytes()).status, 201);
    Digest::of(body.as_bytes()).to_string()
}

#[test]
fn what_was_pushed_and_pulled_stands_in_it() {
    let scene = Scene::new();
    let (identifier, key) = scene.key("alice", &["--action", "pull"]);
    let (digest, blob) = (pushed(&scene), Digest::of(CONTENT).to_string());
    assert_eq!(scene.ask("bob", "GET", PATH, b"").status, 200);
    assert_eq!(scene.ask("bob", "HEAD", PATH, b"").status, 200);
    assert_eq!(scene.bearer(&key, "GET", &format!("/v2/acme/new/manifests/{digest}")).status, 200);
    for range in ["bytes=0-3", "bytes=4-"] {
        scene.with_headers("bob", "GET", RESOLVE, &[("Range", range)], b"");
    }
    let token = scene.token("bob", "repository:acme/new:pull,push");
    assert_eq!(scene.ask("root", "DELETE", PATH, b"").status, 202);
    let log = scene.place.path("root/audit.jsonl");
    let (found, new) = (lines(&log), ("repository", "acme/new"));
    one(
        &found,
        "upload",
        &[("account", "alice"), new, ("digest", &blob), ("address", "127.0.0.1")],
    );
    one(&found, "mount", &[("account", "alice"), new, ("from", "public/model")]);
    one(&found, "push", &[("account", "alice"), new, ("tags", "v7"), ("digest", &digest)]);
    one(&found, "pull", &[("account", "bob"), new, ("tags", "v7"), ("digest", &digest)]);
    one(&found, "pull", &[("account", "alice"), ("key", &identifier), ("digest", &digest)]);
    one(&found, "pull", &[("account", "bob"), ("file", "weights.bin"), ("digest", &blob)]);
    assert_eq!(of(&found, "pull").len(), 3);
    one(&found, "token", &[("account", "bob"), ("scopes", "repository:acme/new:pull")]);
    one(&found, "delete", &[("account", "root"), new, ("tags", "v7")]);
    assert_eq!(verified(&scene.place)["chain"]["lines"], found.len());
    let text = fs::read_to_string(&log).unwrap();
    for secret in [&key, &token, "password-"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let metrics = scene.ask("bob", "GET", "/metrics", b"").text();
    assert!(metrics.contains("mdl_audit_failing 0"), "{metrics}");
}

#[test]
fn what_was_refused_stands_in_it() {
    let scene = Scene::new();
    pushed(&scene);
    let token = scene.token("bob", "repository:acme/new:pull");
    // A wrong password, what may not be done, what may not be seen; and nothing of who is only told to log in.
    assert_eq!(scene.ask("nobody", "GET", "/v2/", b"").status, 401);
    assert_eq!(scene.ask("bob", "PUT", PATH, b"{}").status, 403);
    assert_eq!(scene.bearer(&token, "PUT", PATH).status, 401);
    assert_eq!(scene.ask("carol", "GET", PATH, b"").status, 404);
    assert_eq!(scene.ask("carol", "GET", "/acme/new:v7", b"").status, 404);
    assert_eq!(scene.ask("carol", "GET", RESOLVE, b"").status, 404);
    assert_eq!(scene.ask("", "GET", "/v2/", b"").status, 401);
    all_written(&scene);
    let found = lines(&scene.place.path("root/audit.jsonl"));
    one(&found, "login", &[("claimed", "nobody"), ("outcome", "refused")]);
    let denied = of(&found, "denied");
    for (account, count) in [("bob", 2), ("carol", 3)] {
        let own = denied.iter().filter(|it| it["account"] == account && it["outcome"] == "refused");
        assert_eq!(own.filter(|it| it["repository"] == "acme/new").count(), count, "{denied:#?}");
    }
    assert_eq!(denied.len(), 5, "{denied:#?}");
    assert_eq!(verified(&scene.place)["holds"], true);
}

#[test]
fn what_commands_do_while_it_serves_stands_in_it() {
    let scene = Scene::new();
    let place = &scene.place;
    let (identifier, _) = scene.key("alice", &["--action", "pull"]);
    user_add(place, "dora", &[]);
    user_add(place, "dora", &["--admin"]);
    place.says(&["registry", "user", "remove", "dora", "--root", "root"]);
    place.says(&["registry", "key", "revoke", &identifier, "--root", "root"]);
    place.says(&["registry", "gc", "--root", "root"]);
    place.says(&["registry", "backup", "--root", "root", "copy"]);
    let log = place.path("root/audit.jsonl");
    scene.server.signal("HUP");
    while of(&lines(&log), "configured").is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    let found = lines(&log);
    one(&found, "account-added", &[("user", "dora")]);
    one(&found, "account-changed", &[("user", "dora"), ("rights", "administrator")]);
    one(&found, "account-removed", &[("user", "dora")]);
    let of_key = [("user", "alice"), ("identifier", identifier.as_str())];
    one(&found, "key-added", &[&of_key[..], &[("actions", "pull")]].concat());
    one(&found, "key-revoked", &of_key);
    for event in ["started", "collected", "backup", "configured"] {
        one(&found, event, &[("outcome", "done")]);
    }
    // The hash of a file that anybody can hash.
    let config = Digest::of(&fs::read(place.path("root.toml")).unwrap());
    one(&found, "configured", &[("configuration", config.hex())]);
    scene.server.stop();
    one(&lines(&log), "stopped", &[]);
    assert_eq!(verified(place)["chain"]["begins"], 1);
    // Another registry goes on from where the backup was made.
    place.says(&["registry", "restore", "--root", "again", "copy"]);
    let restored = lines(&place.path("again/audit.jsonl"));
    let backup = of(&found, "backup")[0]["seq"].as_u64().unwrap();
    assert_eq!(
        (&restored[0]["event"], &restored[0]["seq"]),
        (&"restore".into(), &(backup + 1).into())
    );
    super::json(place, &["registry", "audit", "verify", "--root", "again"]);
}

#[test]
fn hostile_texts_forge_no_line() {
    let scene = Scene::new();
    let forged = "x\n{\"seq\":1,\"event\":\"push\",\"account\":\"root\"}\n\u{1b}[2J\u{202e}";
    let long = "a".repeat(9_000);
    for name in [forged, &long, "\"", "\u{0}"] {
        let header = basic(name, "password");
        let agents = ["\"}\t{\"seq\":2}", &long];
        for agent in agents {
            let headers = [("Authorization", header.as_str()), ("User-Agent", agent)];
            let answer = http::ask(&scene.server.host, "GET", "/v2/", &headers, b"").unwrap();
            assert!([400, 401].contains(&answer.status), "{}", answer.status);
        }
    }
    for path in [
        format!("/v2/acme/secret/manifests/{long}"),
        format!("/v2/{long}/manifests/v1"),
        "/v2/acme/secret%0a%7b%22seq%22/manifests/v1%0a".to_owned(),
        "/-/token?scope=repository:x%0a%22:pull,push".to_owned(),
    ] {
        for account in ["carol", "root"] {
            scene.ask(account, "GET", &path, b"");
            scene.ask(account, "DELETE", &path, b"");
        }
    }
    let said = scene.place.run(&["registry", "key", "add", forged, "--root", "root"]);
    assert!(!said.status.success());
    all_written(&scene);
    let text = fs::read_to_string(scene.place.path("root/audit.jsonl")).unwrap();
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
    assert!(text.lines().all(|line| line.len() < 16 << 10));
    let lines = lines(&scene.place.path("root/audit.jsonl"));
    // A name ends where the password begins.
    let name = forged.split(':').next().unwrap();
    assert!(lines.iter().any(|line| line["claimed"] == name));
    assert_eq!(verified(&scene.place)["chain"]["lines"], lines.len());
}

#[test]
fn killed_in_the_middle_of_pushes_it_has_every_one_that_was_answered() {
    let place = Place::new();
    user_add(&place, "root", &["--admin"]);
    let header = basic("root", "password-root");
    for round in 0..3 {
        let server = Server::start(&place.path("root"));
        let (over, host) = (AtomicBool::new(false), server.host.clone());
        let answered: Vec<String> = thread::scope(|scope| {
            let push = |writer: u32| {
                let mut answered = Vec::new();
                for at in 0.. {
                    let body = manifest(format!("{round} {writer} {at}").as_bytes());
                    let path = format!("/v2/a/b/manifests/t{writer}");
                    let headers = [("Authorization", header.as_str()), ("Content-Type", OCI)];
                    match http::ask(&host, "PUT", &path, &headers, body.as_bytes()) {
                        Ok(answer) if answer.status == 201 => {
                            answered.push(Digest::of(body.as_bytes()).to_string());
                        }
                        _ if over.load(Ordering::SeqCst) => break,
                        Ok(answer) => panic!("{}", answer.text()),
                        Err(_) => {}
                    }
                }
                answered
            };
            let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || push(writer))).collect();
            thread::sleep(Duration::from_millis(400));
            over.store(true, Ordering::SeqCst);
            server.kill();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        assert!(answered.len() > 4, "{}", answered.len());
        assert_eq!(verified(&place)["holds"], true);
        let text = fs::read_to_string(place.path("root/audit.jsonl")).unwrap();
        for digest in answered {
            assert!(text.contains(&digest), "{digest} was answered and is not in the log");
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_lets_nothing_change() {
    let scene = Scene::new();
    let log = scene.place.path("root/audit.jsonl");
    let old = scene.place.path("root/audit.jsonl.1");
    fs::rename(&log, &old).unwrap();
    fs::create_dir(&log).unwrap();
    let typed = [("Content-Type", OCI)];
    let push = |tag: &str| {
        let path = format!("/v2/acme/secret/manifests/{tag}");
        let body = manifest(tag.as_bytes());
        scene.with_headers("alice", "PUT", &path, &typed, body.as_bytes())
    };
    let refused = push("v2");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("audit log") && refused.header("retry-after").is_some());
    for (method, path) in [
        ("POST", "/v2/acme/secret/blobs/uploads/"),
        ("DELETE", "/v2/acme/secret/manifests/v1"),
        ("GET", "/-/token?scope=repository:acme/secret:pull,push,delete"),
    ] {
        assert_eq!(scene.ask("root", method, path, b"").status, 503, "{method} {path}");
    }
    assert_eq!(scene.ask("bob", "GET", "/v2/acme/secret/manifests/v1", b"").status, 200);
    assert_eq!(
        scene.ask("bob", "GET", "/-/token?scope=repository:acme/secret:pull", b"").status,
        200
    );
    let metrics = scene.ask("bob", "GET", "/metrics", b"").text();
    assert!(metrics.contains("mdl_audit_failing 1"), "{metrics}");
    let said = scene.place.fails(&["registry", "user", "remove", "bob", "--root", "root"]);
    assert!(said.contains("audit.jsonl") && said.contains("[status 1]"), "{said}");
    assert_eq!(scene.ask("bob", "GET", "/v2/", b"").status, 200, "he is still there");
    fs::remove_dir(&log).unwrap();
    while push("v3").status != 201 {
        thread::sleep(Duration::from_millis(50));
    }
    let files = [old.to_str().unwrap(), log.to_str().unwrap()];
    scene.place.says(&[&["registry", "audit", "verify"], &files[..]].concat());
    // What was done just then and could not be written is there too, late.
    assert_eq!(of(&lines(&log), "push").iter().filter(|line| line["tags"][0] == "v2").count(), 1);
    drop(scene.server);
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let said = Server::try_with(&scene.place.path("root"), "127.0.0.1:0", "").unwrap_err();
    assert!(said.contains("audit log") && said.contains("audit.jsonl"), "{said}");
}

#[test]
fn it_is_kept_where_and_when_the_configuration_says() {
    let place = Place::new();
    let plain = Server::start(&place.path("plain"));
    let push = |server: &Server| {
        let body = manifest(b"x");
        server.ask("PUT", "/v2/a/b/manifests/v1", &[("Content-Type", OCI)], body.as_bytes()).status
    };
    assert_eq!(push(&plain), 201);
    assert!(!place.path("plain/audit.jsonl").exists(), "without accounts there is none");
    let settings = "[audit]\nto = \"who/did.jsonl\"\npulls = false\n";
    fs::create_dir(place.path("who")).unwrap();
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    assert_eq!(push(&server), 201);
    assert_eq!(server.get("/v2/a/b/manifests/v1").status, 200);
    // Renamed, as logrotate does; told or not.
    let log = place.path("who/did.jsonl");
    fs::rename(&log, place.path("who/did.1")).unwrap();
    server.signal("HUP");
    while !log.exists() {
        thread::sleep(Duration::from_millis(10));
    }
    fs::rename(&log, place.path("who/did.2")).unwrap();
    assert_eq!(push(&server), 201);
    let files = ["who/did.1", "who/did.2", "who/did.jsonl"];
    let all = [&["registry", "audit", "verify"], &files[..]].concat();
    let verdict = super::json(&place, &all);
    assert_eq!(verdict["chain"]["lines"], 4, "{verdict}");
    let events: Vec<Value> = files.iter().flat_map(|it| lines(&place.path(it))).collect();
    let names: Vec<_> = events.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["started", "push", "configured", "push"]);
    assert_eq!(events[1]["account"], Value::Null);
    // A command finds it there.
    user_add(&place, "root", &[]);
    assert_eq!(lines(&log).last().unwrap()["event"], "account-added");
    assert_eq!(verified(&place)["holds"], true);
}

#[test]
fn what_a_user_sees() {
    let place = Place::new();
    let audit = |more: &[&str]| {
        let arguments = [&["registry", "audit"], more, &["--root", "root"]].concat();
        let done = place.run(&arguments);
        let text = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes));
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        let (arguments, status) = (more.join(" "), done.status.code().unwrap());
        format!("$ mdl registry audit {arguments}\n{out}{err}[status {status}]\n\n")
    };
    let mut seen = audit(&["verify"]) + &audit(&["head"]);
    for name in ["root", "alice", "bob"] {
        user_add(&place, name, &[]);
    }
    seen += &audit(&["verify"]);
    seen += &audit(&["verify", "--json"]);
    seen += &audit(&["head", "--out", "head.json"]);
    seen += &audit(&["verify", "--head", "head.json"]);
    let log = place.path("root/audit.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, whole.replace("alice", "mallory")).unwrap();
    seen += &audit(&["verify", "root/audit.jsonl"]);
    seen += &audit(&["verify", "root/audit.jsonl", "--json"]);
    let (short, _) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(&log, format!("{short}\n")).unwrap();
    seen += &audit(&["verify", "root/audit.jsonl"]);
    seen += &audit(&["verify", "root/audit.jsonl", "--head", "head.json"]);
    fs::write(place.path("broken.json"), "{}").unwrap();
    seen += &audit(&["verify", "--head", "broken.json"]);
    insta::assert_snapshot!("audit", seen.replace(place.folder().to_str().unwrap(), "DIR"));
}
