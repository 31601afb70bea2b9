//! What a model argument means: a path or a reference.

use std::path::{Path, PathBuf};

use mdl_artifact::ModelRef;

use crate::failure::Failure;

/// A model argument.
#[derive(Debug)]
pub(crate) enum Argument {
    /// A file or folder that is there.
    Path(PathBuf),
    /// A package.
    Reference(ModelRef),
}

/// What an argument means.
///
/// An argument that begins with `.`, `/` or `~`, or that exists as a file or folder, is a path; anything
/// else is a reference (`[host[:port]/]name[/name][:tag|@digest]`).
pub(crate) fn read(argument: &str) -> Result<Argument, Failure> {
    let path = expand_home(argument);
    if path.exists() {
        return Ok(Argument::Path(path));
    }
    if argument.starts_with(['.', '/', '~']) {
        return Err(Failure::new(format!("{}: no such file or folder", path.display())));
    }
    argument
        .parse()
        .map(Argument::Reference)
        .map_err(|error| Failure::new(format!("{argument}: no such file or folder, and {error}")))
}

/// The path behind a model argument of the commands that work on files.
pub(crate) fn path(argument: &str) -> Result<PathBuf, Failure> {
    match read(argument) {
        Ok(Argument::Path(path)) => Ok(path),
        Err(failure) if argument.starts_with(['.', '/', '~']) => Err(failure),
        _ => Err(Failure::new(format!("{argument}: no such file or folder"))
            .hint("models are given by path: a GGUF file, a safetensors file or a Hugging Face folder; `mdl pull REF --to DIR` makes files of a package")),
    }
}

/// A path in which `~` is the home folder.
pub(crate) fn expand_home(argument: &str) -> PathBuf {
    match (argument.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(argument),
    }
}
