//! The trust policy at the gates: what it refuses does not become visible anywhere.

use std::fs;

use mdl_tests::{Place, server::Server};

struct Scene {
    place: Place,
    server: Server,
}

impl Scene {
    /// A registry with `acme/tiny:v1`, signed by `release`, and `acme/bare:v1`, signed by nobody; and a policy that lets
    /// `release` sign for `acme`.
    fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place.path("root"));
        for name in ["release", "other"] {
            place.says(&["key", "generate", "--out", name]);
        }
        for name in ["acme/tiny:v1", "acme/bare:v1"] {
            place.says(&["push", "data/tiny", &server.at(name), "--quiet"]);
        }
        place.says(&["sign", &server.at("acme/tiny:v1"), "--key", "release.key"]);
        fs::create_dir_all(place.path("home")).unwrap();
        let scene = Self { place, server };
        scene.policy("");
        scene
    }

    fn policy(&self, more: &str) {
        let text = format!(
            "[[rule]]\nrepositories = [\"acme/*\", \"mirror/acme/*\"]\nkeys = [\"../release.pub\"]\n{more}"
        );
        fs::write(self.place.path("home/trust.toml"), text).unwrap();
    }

    /// The status and the words of a command, without what differs from run to run.
    fn refused(&self, arguments: &[&str]) -> String {
        let text = self.place.fails(arguments).replace(&self.server.host, "HOST");
        let home = self.place.path("home");
        text.replace(&home.display().to_string(), "HOME")
    }

    fn stored(&self) -> usize {
        super::json(&self.place, &["list"])["packages"].as_array().unwrap().len()
    }
}

#[test]
fn a_pull_is_refused_before_anything_is_there() {
    let scene = Scene::new();
    let (bare, tiny) = (scene.server.at("acme/bare:v1"), scene.server.at("acme/tiny:v1"));
    let mut said = scene.refused(&["pull", &bare]);
    said += &scene.refused(&["pull", &bare, "--to", "out"]);
    said += &scene.refused(&["copy", &bare, &scene.server.at("mirror/acme/bare:v1")]);
    // A rule for another name, and the name that a copy is to have.
    said += &scene.refused(&["copy", &tiny, &scene.server.at("elsewhere/tiny:v1")]);
    said += &scene.refused(&["pull", "hf://acme/tiny"]);
    assert!(!scene.place.path("out").exists());
    assert_eq!(scene.stored(), 0);
    for name in ["mirror/acme/bare:v1", "elsewhere/tiny:v1"] {
        assert!(
            scene.place.fails(&["inspect", &scene.server.at(name)]).contains("has no manifest")
        );
    }
    insta::assert_snapshot!("trust_refusals", said);

    let report = super::json(&scene.place, &["pull", &tiny]);
    assert_eq!((&report["verified"], scene.stored()), (&true.into(), 1));
    assert_eq!(report["signers"].as_array().unwrap().len(), 2);
    let report = super::json(&scene.place, &["pull", &tiny, "--to", "out"]);
    assert_eq!(report["verified"], true);
    assert!(scene.place.path("out/model.sig").exists());
    scene.place.says(&["verify", "out"]);
    scene.place.says(&["copy", &tiny, &scene.server.at("mirror/acme/tiny:v1"), "--quiet"]);
}

#[test]
fn without_a_policy_it_is_said_that_nothing_was_verified() {
    let scene = Scene::new();
    fs::remove_file(scene.place.path("home/trust.toml")).unwrap();
    let bare = scene.server.at("acme/bare:v1");
    let done = scene.place.run(&["pull", &bare]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.contains("nothing is verified"), "{said}");
    let said = scene.place.fails(&["verify", &bare]);
    assert!(said.contains("[status 2]") && said.contains("--key FILE"), "{said}");
    let said = scene.place.fails(&["pull", &bare, "--trust", "none.toml"]);
    assert!(said.contains("none.toml") && said.contains("[status 1]"), "{said}");
    // A policy with a mistake lets nothing in.
    scene.policy("theshold = 2\n");
    let said = scene.place.fails(&["pull", &bare]);
    assert!(said.contains("theshold"), "{said}");
}

#[test]
fn an_older_model_is_not_taken_for_a_tag() {
    let scene = Scene::new();
    let tiny = scene.server.at("acme/tiny:v1");
    scene.place.says(&["pull", &tiny, "--quiet"]);
    // A newer one under the same tag, signed a second later at least.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scene.place.says(&["push", "data/tiny/config.json", &tiny, "--quiet"]);
    let elsewhere = ["--home", "publisher", "--quiet"];
    scene.place.says(&[&["sign", &tiny, "--key", "release.key"], &elsewhere[..]].concat());
    scene.place.says(&["pull", &tiny, "--quiet"]);
    // Somebody moves the tag back: everything about the old one is in order, but it is old.
    scene.place.says(&["push", "data/tiny", &tiny, "--quiet"]);
    let said = scene.refused(&["pull", &tiny]);
    assert!(
        said.contains("[status 3]") && said.contains("nothing older than what was seen"),
        "{said}"
    );
    let report = scene.place.run(&["verify", &tiny, "--json"]);
    assert_eq!(report.status.code(), Some(3));
    scene.place.says(&["pull", &tiny, "--allow-older", "--quiet"]);
    // Then that is what is known.
    scene.place.says(&["pull", &tiny, "--quiet"]);
}

#[test]
fn a_policy_is_explained() {
    let scene = Scene::new();
    scene.policy(
        "threshold = 1\nnot_before = 2026-01-01\nbound = true\nrequire = [\"bom\"]\nmax_kld = 0.05\n\
         licenses = [\"MIT\"]\nopenness = \"II\"\n[[rule]]\nrepositories = [\"lab/**\"]\nthreshold = 0\n\
         [[revoked]]\nkey = \"../other.pub\"\nsince = 2026-02-03\n",
    );
    let done = scene.place.run(&["trust", "check"]);
    let text =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    let home = scene.place.path("home").display().to_string();
    insta::assert_snapshot!("trust_check", super::masked(&text.replace(&home, "HOME")));
    let report = super::json_with_warnings(&scene.place, &["trust", "check"]);
    assert_eq!(report["rules"][0]["keys"][0]["name"], "../release.pub");
    let report = scene.place.run(&["verify", &scene.server.at("acme/tiny:v1")]);
    let text = String::from_utf8_lossy(&report.stdout).replace(&scene.server.host, "HOST");
    let text = super::masked(&text);
    let text = without_times(&text);
    insta::assert_snapshot!("trust_verify", text);
    assert_eq!(report.status.code(), Some(3));
}

/// Times replaced, as they differ from run to run.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        word.len() == 20 && word.starts_with("20") && word.ends_with('Z') && word.contains('T')
    };
    let words = text.split_inclusive([' ', '\n']);
    words
        .map(|word| {
            let bare = word.trim_end();
            if is_time(bare) { word.replace(bare, "2026-00-00T00:00:00Z") } else { word.to_owned() }
        })
        .collect()
}
