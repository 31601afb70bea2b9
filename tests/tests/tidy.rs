//! Architecture invariants that lints cannot see, checked on the source text itself.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder and name of each crate, the lowest first: an arrow may only point to the left.
const CRATES: [(&str, &str); 9] = [
    ("kernels", "mdl-kernels"),
    ("formats", "mdl-formats"),
    ("infer", "mdl-infer"),
    ("quant", "mdl-quant"),
    ("registry/store", "mdl-store"),
    ("registry/artifact", "mdl-artifact"),
    ("registry/client", "mdl-client"),
    ("registry/server", "mdl-server"),
    ("cli", "mdl"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below `dir` with that extension, build outputs left out.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(extension: &str) -> Vec<(String, String)> {
    let root = root();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    let found: Vec<_> = files(&root, extension).into_iter().map(read).collect();
    assert!(!found.is_empty());
    found
}

fn is_library(name: &str) -> bool {
    CRATES.iter().any(|(part, _)| *part != "cli" && name.starts_with(&format!("{part}/src/")))
}

#[test]
fn unsafe_code_stays_in_its_two_places() {
    for (name, text) in sources("rs") {
        if name.starts_with("kernels/") || name == "formats/src/mapping.rs" {
            continue;
        }
        let found = text.lines().position(|line| {
            let code = line.split("//").next().unwrap_or_default();
            ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word))
                && !code.contains('"')
        });
        assert_eq!(found, None, "{name} has unsafe code (line counted from 0)");
    }
    for (part, _) in CRATES.iter().filter(|(part, _)| !["kernels", "formats"].contains(part)) {
        let main = if *part == "cli" { "main.rs" } else { "lib.rs" };
        let text = fs::read_to_string(root().join(part).join("src").join(main)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{part}");
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (name, text) in sources("rs") {
        assert!(text.starts_with("//!"), "{name} does not begin with a module comment");
    }
}

#[test]
fn files_hold_one_idea() {
    for (name, text) in sources("rs") {
        let lines = text.lines().count();
        assert!(lines <= 800, "{name} has {lines} lines; 500 is the aim, 800 the end");
    }
}

#[test]
fn only_the_printer_prints() {
    for (name, text) in sources("rs") {
        if !is_library(&name) && !name.starts_with("cli/src/") {
            continue;
        }
        for word in ["println!", "eprintln!", "print!(", "io::stdout()", "io::stderr()"] {
            let place = text
                .lines()
                .position(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            let allowed = name == "cli/src/printer.rs";
            assert!(allowed || place.is_none(), "{name}: {word} belongs in cli/src/printer.rs");
        }
    }
}

#[test]
fn dependencies_point_down() {
    for (index, (part, _)) in CRATES.iter().enumerate() {
        let text = fs::read_to_string(root().join(part).join("Cargo.toml")).unwrap();
        for (_, above) in &CRATES[index + 1..] {
            let named = text.lines().any(|line| {
                let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
                key == *above
            });
            assert!(!named, "{part} must not know {above}");
        }
        if ["registry/client", "registry/server", "cli"].contains(part) {
            continue;
        }
        for server in ["tokio", "axum", "hyper", "reqwest"] {
            assert!(!text.contains(&format!("\n{server}")), "{part} must not know {server}");
        }
    }
}

#[test]
fn nothing_names_a_machine() {
    for extension in ["rs", "md", "sh", "py", "toml", "cpp", "c"] {
        for (name, text) in sources(extension) {
            if name == "tests/tests/tidy.rs" || name.starts_with("first-run") {
                continue;
            }
            for word in ["/work/", "/root/", "pypi.org", "crates.io/api"] {
                assert!(!text.contains(word), "{name} names {word}");
            }
        }
    }
}
