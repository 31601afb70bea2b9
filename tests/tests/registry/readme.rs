//! The commands that README gives for the registry, run as they stand but for the port.

use std::{fs, path::Path, process::Command};

use mdl_tests::{Place, mdl, output, server::free_port};

#[test]
fn its_commands_work() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (_, rest) = text.split_once("tests/tests/registry/readme.rs. -->\n```sh\n").unwrap();
    let (commands, _) = rest.split_once("```").unwrap();
    assert!(commands.lines().count() > 8, "{commands}");
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    let program = mdl(&place.path("home"));
    let folder = Path::new(program.get_program()).parent().unwrap();
    let port = free_port();
    let commands = commands.replace("5050", &port.to_string());
    let serve = "registry serve --root ./registry";
    let commands = commands.replace(serve, &format!("{serve} --listen 127.0.0.1:{port}"));
    let first = commands.split_once('\n').unwrap();
    let script = format!(
        "set -e\n{}\ntrap 'kill %1' EXIT\n\
         until curl -sf -o /dev/null http://localhost:{port}/readyz; do sleep 0.05; done\n{}",
        first.0, first.1
    );
    fs::write(place.path("run.sh"), script).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.arg("run.sh").current_dir(place.folder()).env("PATH", path);
    output(command.env("MDL_HOME", place.path("home")).env_remove("MDL_REGISTRY"));
    let original = fs::read(place.path("q4.gguf")).unwrap();
    assert!(fs::read(place.path("pulled/q4.gguf")).unwrap() == original);
}
