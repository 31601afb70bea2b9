//! Tests across crates. The tests themselves are in `tests/`; this holds what they share: where
//! things from outside lie, and how a test says that it did not run.
//!
//! `tests/scripts/cache.sh` fills the cache folder.

pub mod browser;
pub mod hostile;
pub mod http;
pub mod issuer;
pub mod liar;
mod place;
pub mod server;
pub mod strait;

pub use place::Place;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// `tests/data`: what is committed.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// The cache folder for peers, models and reference environments.
fn cache() -> PathBuf {
    env::var_os("MDL_TEST_CACHE").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/mdl-tests"),
        PathBuf::from,
    )
}

/// A file beside the repository that may be used but not copied into it (`../shared/data`).
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    present(root.join(name))
}

/// One of llama.cpp's programs, or one of our probes linked to it.
pub fn peer(name: &str) -> Option<PathBuf> {
    present(cache().join("peers/llama-cpp-python-0.3.36/build/bin").join(name))
}

/// llama.cpp's source tree.
pub fn peer_source() -> Option<PathBuf> {
    present(cache().join("peers/llama-cpp-python-0.3.36/src"))
}

/// A client or peer registry: `cosign`, `oras`, `crane`, `regctl`, `conformance`, `registry` (distribution), `ollama`.
pub fn client(name: &str) -> Option<PathBuf> {
    let folder = match name {
        "cosign" => "cosign-3.1.3",
        "oras" => "oras-1.3.6",
        "crane" => "crane-0.22.1",
        "regctl" => "regctl-0.11.7",
        "conformance" => "conformance-20260831",
        "registry" => "distribution-3.1.2",
        "ollama" => "ollama-0.17.4",
        _ => return None,
    };
    present(cache().join("clients").join(folder).join(name))
}

/// A program that the system has.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A real GGUF model: `SmolLM2-135M-Instruct.Q4_1.gguf`, `gemma-3-270m-q4_k_m.gguf`,
/// `qwen2.5-coder-0.5b-instruct-q4_k_m.gguf`.
pub fn model(name: &str) -> Option<PathBuf> {
    present(cache().join("models").join(name))
}

/// A real `tokenizer.json`'s folder: `llama3_1`, `qwen3`, `gemma3`, `deepseek_v3`, `gptoss`.
pub fn tokenizer(name: &str) -> Option<PathBuf> {
    present(cache().join("tokenizers").join(name))
}

/// The Python of the environment with torch, transformers 5 and gguf.
pub fn python() -> Option<PathBuf> {
    present(cache().join("venv-transformers-5.23.0/bin/python"))
}

/// The Python of the environment for llama.cpp's converter, with transformers 4.
pub fn python_converter() -> Option<PathBuf> {
    present(cache().join("venv-transformers-4.57.6/bin/python"))
}

/// OpenSSF's `model_signing`.
pub fn model_signing() -> Option<PathBuf> {
    present(cache().join("venv-signing-1.1.1-11.12.0/bin/model_signing"))
}

/// The Python of the environment with CycloneDX's schemas.
pub fn python_cyclonedx() -> Option<PathBuf> {
    present(cache().join("venv-signing-1.1.1-11.12.0/bin/python"))
}

/// Tiny models of every family with transformers' logits, committed.
pub fn golden(name: &str) -> PathBuf {
    data().join("golden").join(name)
}

fn present(path: PathBuf) -> Option<PathBuf> {
    path.exists().then_some(path)
}

/// Says loudly that a test did not run, and why.
///
/// With `MDL_TEST_REQUIRE=1` (as our CI sets it) a missing thing is a failure instead.
///
/// # Panics
/// With `MDL_TEST_REQUIRE=1`.
#[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn skipped(test: &str, missing: &str) {
    assert!(env::var_os("MDL_TEST_REQUIRE").is_none(), "{test}: {missing} is missing");
    eprintln!("SKIPPED: {test}: {missing} is missing (see tests/scripts/cache.sh)");
}

/// Unwraps an `Option` that stands for something outside, or skips the test.
#[macro_export]
macro_rules! need {
    ($what:expr) => {
        match $what {
            Some(found) => found,
            None => {
                $crate::skipped(module_path!(), stringify!($what));
                return;
            }
        }
    };
}

/// Runs a command and gives its standard output; a failure shows what it printed.
///
/// # Panics
/// Where the command cannot be started or fails.
pub fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?}: {}\n{}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The `mdl` program, built if need be, with an empty home folder and no settings from outside.
///
/// # Panics
/// Where it does not build.
pub fn mdl(home: &Path) -> Command {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        output(
            Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "mdl"]).current_dir(root),
        );
        // Tests run as target/debug/deps/NAME: the program stands beside that folder.
        let here = env::current_exe().unwrap_or_default();
        here.ancestors().nth(2).unwrap_or(Path::new(".")).join("mdl")
    });
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MDL_")) {
        command.env_remove(name);
    }
    command.env("MDL_HOME", home).env("NO_COLOR", "1");
    command
}
