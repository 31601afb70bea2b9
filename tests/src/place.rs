//! A folder to run `mdl` in.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{data, mdl};

/// `mdl` in an empty folder, which `tests/data` is linked into as `data`, so that messages name no machine's paths.
#[derive(Debug)]
pub struct Place(tempfile::TempDir);

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A fresh one.
    ///
    /// # Panics
    /// Where there is no room for temporary files.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(data(), dir.path().join("data")).unwrap();
        Self(dir)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `mdl`, whose home is the folder's `home`.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// `mdl`, whose home is the folder's `home`, before its arguments. Keys made in a place open with `secret`.
    ///
    /// # Panics
    /// As [`Place::run`].
    pub fn command(&self) -> Command {
        let mut command = mdl(&self.path("home"));
        command.current_dir(self.folder()).env_remove("COLUMNS");
        command.env("MDL_KEY_PASSPHRASE", "secret");
        command
    }

    /// Standard output of a command that succeeds and says nothing else.
    ///
    /// # Panics
    /// Where it does not.
    pub fn says(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && stderr.is_empty(), "{arguments:?}: {stderr}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// The command, its status and its standard error; nothing may be on standard output.
    ///
    /// # Panics
    /// Where something is, or a signal ended it.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(String::from_utf8_lossy(&done.stdout), "", "{arguments:?}");
        let status = done.status.code().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        format!("$ mdl {}\n{stderr}[status {status}]\n\n", arguments.join(" "))
    }
}
