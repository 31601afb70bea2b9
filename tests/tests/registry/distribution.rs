//! The CNCF distribution registry as the other side of `mdl`: no account, an account, and copies between it and ours.

use std::{fs, io::Write as _, process::Stdio};

use mdl_tests::{Place, client, mdl, need, server::Server};

/// `me:abc`, by bcrypt.
const ACCOUNTS: &str = "me:$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i\n";

fn quantized() -> Place {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    place
}

#[test]
fn packages_go_there_and_back() {
    let program = need!(client("registry"));
    let place = quantized();
    let theirs = Server::distribution(&program, &place.path("theirs"), "");
    let ours = Server::start(&place.path("ours"));
    let (there, second) = (theirs.at("team/tiny:q4"), theirs.at("other/tiny:q4"));
    let pushed = super::json(&place, &["push", "q4.gguf", &there]);
    assert_eq!(pushed["referrers"], 1, "{pushed}");
    let shown = super::json(&place, &["inspect", &there]);
    assert_eq!(shown["digest"], pushed["digest"]);
    // It has no referrers of its own: the tag that stands for them is read.
    assert_eq!(shown["referrers"].as_array().unwrap().len(), 1, "{shown}");
    // Within it blobs are mounted; to ours they are sent, referrers and all.
    let copied = super::json(&place, &["copy", &there, &second]);
    assert!(copied["mounted"].as_u64().unwrap() >= 2, "{copied}");
    super::json(&place, &["copy", &second, &ours.at("team/tiny:q4")]);
    let here = super::json(&place, &["inspect", &ours.at("team/tiny:q4")]);
    assert_eq!((&here["digest"], &here["referrers"]), (&shown["digest"], &shown["referrers"]));
    for (from, to) in [(&there, "a"), (&second, "b"), (&ours.at("team/tiny:q4"), "c")] {
        place.says(&["pull", from, "--to", to, "--quiet"]);
        let pulled = fs::read(place.path(to).join("q4.gguf")).unwrap();
        assert!(pulled == fs::read(place.path("q4.gguf")).unwrap(), "{from}");
    }
    // By way of the local store.
    place.says(&["pull", &there, "--quiet"]);
    let listed = super::json(&place, &["list"]).to_string();
    assert!(listed.contains(&there), "{listed}");
    let third = theirs.at("third/tiny:q4");
    let pushed = super::json(&place, &["push", &there, &third]);
    assert_eq!(pushed["digest"], shown["digest"]);
    // Again: nothing is sent.
    let again = super::json(&place, &["push", &there, &third]);
    assert_eq!((&again["sent"], &again["sent_bytes"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn a_large_blob_goes_in_pieces_and_comes_in_ranges() {
    let program = need!(client("registry"));
    let place = Place::new();
    let theirs = Server::distribution(&program, &place.path("theirs"), "");
    let bytes: Vec<u8> =
        (0..80_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(place.path("weights.bin"), &bytes).unwrap();
    let name = theirs.at("team/large:v1");
    place.says(&["push", "weights.bin", &name, "--quiet"]);
    place.says(&["pull", &name, "--to", "out", "--quiet"]);
    assert!(fs::read(place.path("out/weights.bin")).unwrap() == bytes);
}

#[test]
fn an_account_is_asked_for_kept_and_forgotten() {
    let program = need!(client("registry"));
    let place = quantized();
    fs::write(place.path("accounts"), ACCOUNTS).unwrap();
    let accounts = place.path("accounts");
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", accounts.display());
    let theirs = Server::distribution(&program, &place.path("theirs"), &auth);
    let name = theirs.at("team/tiny:q4");
    let refused = place.fails(&["push", "q4.gguf", &name, "--quiet"]);
    assert!(refused.contains("mdl login"), "{refused}");
    let login = |password: &str| {
        let mut command = mdl(&place.path("home"));
        command.args(["login", &theirs.host, "-u", "me", "--password-stdin"]);
        command.env("DOCKER_CONFIG", place.path("docker")).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let wrong = login("abd");
    assert!(!wrong.status.success());
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains("abd"));
    assert!(login("abc\n").status.success());
    place.says(&["push", "q4.gguf", &name, "--quiet"]);
    place.says(&["pull", &name, "--to", "out", "--quiet"]);
    place.says(&["logout", &theirs.host, "--quiet"]);
    assert!(place.fails(&["pull", &name, "--to", "again", "--quiet"]).contains("mdl login"));
    // As Docker keeps it, in a file or by a helper.
    fs::create_dir_all(place.path("docker")).unwrap();
    let helper = place.path("docker-credential-test");
    let script =
        "#!/bin/sh\necho '{\"ServerURL\": \"x\", \"Username\": \"me\", \"Secret\": \"abc\"}'\n";
    fs::write(&helper, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&helper, mode).unwrap();
    let path = std::env::var("PATH").unwrap();
    for (number, config) in [
        format!(r#"{{ "auths": {{ "{}": {{ "auth": "bWU6YWJj" }} }} }}"#, theirs.host),
        format!(r#"{{ "credHelpers": {{ "{}": "test" }} }}"#, theirs.host),
        r#"{ "credsStore": "test" }"#.to_owned(),
    ]
    .iter()
    .enumerate()
    {
        fs::write(place.path("docker/config.json"), config).unwrap();
        let mut command = mdl(&place.path("home"));
        command.current_dir(place.folder()).env("DOCKER_CONFIG", place.path("docker"));
        command.env("PATH", format!("{}:{path}", place.folder().display()));
        command.args(["pull", &name, "--quiet", "--to", &format!("by-docker-{number}")]);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{config}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
