//! What a model argument means: a path or a reference.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The path behind a model argument.
///
/// An argument that begins with `.`, `/` or `~`, or that exists as a file or folder, is a path; anything
/// else is a reference (`[host[:port]/]name[/name][:tag|@digest]`).
pub(crate) fn path(argument: &str) -> Result<PathBuf, Failure> {
    let path = expand_home(argument);
    if path.exists() {
        return Ok(path);
    }
    if argument.starts_with(['.', '/', '~']) {
        return Err(Failure::new(format!("{}: no such file or folder", path.display())));
    }
    Err(Failure::new(format!("{argument}: no such file or folder"))
        .hint("models are given by path: a GGUF file, a safetensors file or a Hugging Face folder"))
}

fn expand_home(argument: &str) -> PathBuf {
    match (argument.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(argument),
    }
}
