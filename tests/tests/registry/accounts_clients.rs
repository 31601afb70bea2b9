//! Real clients on a registry with accounts and TLS of one's own authority.

use std::{fs, path::Path, process::Command};

use mdl_tests::{Place, client, installed, need, output, python, server::Server};

use super::{accounts::user_add, tokens::certificates};

const POLICY: &str = "
[[policy]]
repositories = [\"acme/**\"]
subjects = [\"alice\"]
actions = [\"pull\", \"push\", \"delete\"]
[[policy]]
repositories = [\"acme/**\"]
subjects = [\"bob\"]
actions = [\"pull\"]
";

/// A registry with TLS and accounts, and `acme/tiny:v1`, pushed by mdl as `alice`.
struct Scene {
    place: Place,
    server: Server,
    host: String,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        certificates(&place);
        for name in ["alice", "bob", "carol"] {
            user_add(&place, name, &[]);
        }
        let tls = format!(
            "{POLICY}[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            place.path("server.pem").display(),
            place.path("server.key").display()
        );
        let server = Server::with(&place.path("root"), "127.0.0.1:0", &tls);
        // To oras `localhost` always speaks plain HTTP.
        let host = server.host.clone();
        let scene = Self { place, server, host };
        assert!(scene.mdl("", &["push", "data/tiny", &scene.at("acme/tiny:v1")]).is_err());
        scene.login("alice");
        scene.mdl("alice", &["push", "data/tiny", &scene.at("acme/tiny:v1")]).unwrap();
        scene
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// `mdl` with a home of its own for each account.
    fn mdl(&self, account: &str, arguments: &[&str]) -> Result<String, String> {
        let home = format!("home-{account}");
        let mut command = self.place.command();
        command
            .env("MDL_CA", self.place.path("ca.pem"))
            .env("DOCKER_CONFIG", self.place.path("none"));
        let done = command.args(arguments).args(["--quiet", "--home", &home]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    fn login(&self, account: &str) {
        use std::io::Write as _;
        let mut command = self.place.command();
        command
            .env("MDL_CA", self.place.path("ca.pem"))
            .env("DOCKER_CONFIG", self.place.path("none"));
        command.args(["login", &self.host, "-u", account, "--password-stdin"]);
        command.args(["--home", &format!("home-{account}")]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let password = format!("password-{account}");
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A client with a home of its own for each account, who trusts our authority.
    fn client(&self, program: &Path, account: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.place.folder())
            .env("HOME", self.place.path(&format!("of-{account}")));
        // skopeo keeps what it knows beside the system's, whatever its home.
        let known = self.place.path(&format!("of-{account}.json"));
        command.env("REGISTRY_AUTH_FILE", known);
        command.env("SSL_CERT_FILE", self.place.path("ca.pem")).env("COSIGN_PASSWORD", "secret");
        command.env_remove("DOCKER_CONFIG").env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn fails(command: &mut Command) {
        assert!(!command.output().unwrap().status.success(), "{command:?}");
    }
}

#[test]
fn mdl_with_accounts() {
    let scene = Scene::new();
    let model = scene.at("acme/tiny:v1");
    for (account, may_read) in [("bob", true), ("carol", false)] {
        scene.login(account);
        let out = format!("out-{account}");
        assert_eq!(
            scene.mdl(account, &["pull", &model, "--to", &out]).is_ok(),
            may_read,
            "{account}"
        );
        let refused =
            scene.mdl(account, &["push", "data/tiny", &scene.at("acme/mine:v1")]).unwrap_err();
        assert!(refused.contains("refuses"), "{refused}");
    }
    // A password that is not the account's is told at login, though nobody else is let in either.
    let mut wrong = scene.place.command();
    wrong.env("MDL_CA", scene.place.path("ca.pem")).args([
        "login",
        &scene.host,
        "-u",
        "bob",
        "--password-stdin",
    ]);
    wrong.args(["--home", "home-wrong"]).stdin(std::process::Stdio::null());
    assert!(!wrong.output().unwrap().status.success());
    // Copies within the registry mount; a certificate and a key that are replaced are taken at SIGHUP (tokens.rs).
    scene.mdl("alice", &["copy", &model, &scene.at("acme/copy:v1")]).unwrap();
    let large = scene.mdl("alice", &["pull", &scene.at("acme/copy:v1"), "--to", "out-copy"]);
    assert!(large.is_ok(), "{large:?}");
    drop(scene.server);
}

#[test]
fn oras_crane_skopeo_and_cosign_log_in() {
    let (oras, crane) = (need!(client("oras")), need!(client("crane")));
    let (cosign, skopeo) = (need!(client("cosign")), need!(installed("skopeo")));
    let scene = Scene::new();
    let model = scene.at("acme/tiny:v1");
    for account in ["alice", "bob"] {
        let login = ["login", &scene.host, "-u", account, "-p", &format!("password-{account}")];
        output(scene.client(&oras, account).args(login));
        output(scene.client(&crane, account).arg("auth").args(login));
        output(scene.client(&skopeo, account).args(login));
        output(scene.client(&cosign, account).args(login));
    }
    let wrong = ["login", &scene.host, "-u", "alice", "-p", "wrong"];
    Scene::fails(scene.client(&oras, "wrong").args(wrong));
    Scene::fails(scene.client(&skopeo, "wrong").args(wrong));

    output(scene.client(&oras, "bob").args(["pull", &model, "-o", "by-oras"]));
    Scene::fails(scene.client(&oras, "nobody").args(["pull", &model, "-o", "no"]));
    fs::write(scene.place.path("new.txt"), "new").unwrap();
    let push = ["push", &scene.at("acme/by-oras:v1"), "new.txt"].map(str::to_owned);
    Scene::fails(scene.client(&oras, "bob").args(&push));
    output(scene.client(&oras, "alice").args(&push));

    output(scene.client(&crane, "alice").args(["copy", &model, &scene.at("acme/by-crane:v1")]));
    Scene::fails(scene.client(&crane, "bob").args(["copy", &model, &scene.at("acme/bobs:v1")]));
    assert!(
        output(scene.client(&crane, "bob").args(["catalog", &scene.host]))
            .contains("acme/by-crane")
    );

    let from = format!("docker://{model}");
    output(scene.client(&skopeo, "bob").args([
        "--insecure-policy",
        "copy",
        &from,
        "oci:by-skopeo:v1",
    ]));
    let to = format!("docker://{}", scene.at("acme/by-skopeo:v1"));
    let copy = ["--insecure-policy", "copy", "oci:by-skopeo:v1", &to];
    Scene::fails(scene.client(&skopeo, "bob").args(copy));
    output(scene.client(&skopeo, "alice").args(copy));

    output(scene.client(&cosign, "alice").args(["generate-key-pair"]));
    let digest = output(scene.client(&crane, "bob").args(["digest", &model]));
    let by_digest = scene.at(&format!("acme/tiny@{}", digest.trim()));
    let sign = [
        "sign",
        "--key",
        "cosign.key",
        "--tlog-upload=false",
        "--use-signing-config=false",
        "-y",
        &by_digest,
    ];
    Scene::fails(scene.client(&cosign, "bob").args(sign));
    output(scene.client(&cosign, "alice").args(sign));
    let verify = ["verify", "--key", "cosign.pub", "--private-infrastructure", &model];
    output(scene.client(&cosign, "bob").args(verify));
    Scene::fails(scene.client(&cosign, "nobody").args(verify));
    scene.login("bob");
    scene.mdl("bob", &["verify", &model, "--key", "cosign.pub"]).unwrap();
}

#[test]
fn huggingface_hub_sends_an_api_key() {
    let python = need!(python());
    let scene = Scene::new();
    let arguments = ["registry", "key", "add", "bob", "--root", "root", "--action", "pull"];
    let key = super::json(&scene.place, &arguments)["key"].as_str().unwrap().to_owned();
    let script = "import huggingface_hub, pathlib\n\
        snapshot = pathlib.Path(huggingface_hub.snapshot_download('acme/tiny'))\n\
        print((snapshot / 'config.json').stat().st_size)\n";
    let run = |token: Option<&str>, cache: &str| {
        let mut command = Command::new(&python);
        command.current_dir(scene.place.folder()).args(["-c", script]).env_remove("HF_TOKEN");
        command
            .env("HF_ENDPOINT", format!("https://{}", scene.host))
            .env("HF_HOME", scene.place.path(cache));
        command.env("SSL_CERT_FILE", scene.place.path("ca.pem")).env("HF_HUB_DISABLE_XET", "1");
        command.envs(token.map(|token| ("HF_TOKEN", token)));
        command.output().unwrap()
    };
    let done = run(Some(&key), "hf-bob");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for token in [None, Some("hf_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
        let refused = run(token, "hf-nobody");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("401"), "{said}");
    }
}
