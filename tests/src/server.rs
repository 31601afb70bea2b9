//! A registry that a test starts, asks, stops and kills.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    http::{self, Answer},
    mdl,
};

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `mdl registry serve`, or a peer's registry; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Server {
    /// Ours, on a free port, with its data in `root` and no access log.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(root: &Path) -> Self {
        Self::with(root, "127.0.0.1:0", "")
    }

    /// Ours at an address, with more settings in the form of `registry.toml`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn with(root: &Path, listen: &str, settings: &str) -> Self {
        Self::try_with(root, listen, settings).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Ours with settings that say where its access log goes.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn logging(root: &Path, settings: &str) -> Self {
        let program = mdl(&root.with_extension("home"));
        Self::configured(program, root, "127.0.0.1:0", settings)
            .unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same where it may not start: then what it says.
    ///
    /// # Errors
    /// Its own words.
    pub fn try_with(root: &Path, listen: &str, settings: &str) -> Result<Self, String> {
        Self::ours(mdl(&root.with_extension("home")), root, listen, settings)
    }

    /// Ours with its data on a file system of its own, in memory, that holds so many MiB. Nobody else sees it, and it is
    /// gone with the server.
    ///
    /// # Panics
    /// Where it does not start, or where this user may make no mount namespace.
    pub fn on_small_disk(root: &Path, mebibytes: u32) -> Self {
        let program = mdl(root).get_program().to_owned();
        let mut command = Command::new("unshare");
        let mount = r#"mount -t tmpfs -o size="$0m" tmpfs "$1" && shift && exec "$@""#;
        command.args(["--map-root-user", "--mount", "sh", "-c", mount, &mebibytes.to_string()]);
        command.arg(root).arg(program).env("MDL_HOME", root.with_extension("home"));
        Self::ours(command, root, "127.0.0.1:0", "").unwrap_or_else(|said| panic!("{said}"))
    }

    fn ours(command: Command, root: &Path, listen: &str, settings: &str) -> Result<Self, String> {
        let quiet = format!("{settings}\n[access_log]\nto = \"off\"\n");
        Self::configured(command, root, listen, &quiet)
    }

    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    fn configured(
        mut command: Command,
        root: &Path,
        listen: &str,
        settings: &str,
    ) -> Result<Self, String> {
        fs::create_dir_all(root).unwrap();
        let config = root.with_extension("toml");
        fs::write(&config, settings).unwrap();
        command.args(["registry", "serve", "--listen", listen, "--root"]).arg(root);
        command.arg("--config").arg(&config);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let host = loop {
            let mut line = String::new();
            if errors.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                return Err(said);
            }
            said += &line;
            if let Some((_, host)) = line.trim_end().rsplit_once("://") {
                break host.to_owned();
            }
        };
        // What it says further is read, so that it never waits for us.
        thread::spawn(move || errors.read_to_string(&mut String::new()));
        Ok(Self { child, host })
    }

    /// The CNCF distribution registry, with its data in `root`; `auth` is its section of that name, or nothing.
    ///
    /// # Panics
    /// Where it does not start.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn distribution(program: &Path, root: &Path, auth: &str) -> Self {
        fs::create_dir_all(root).unwrap();
        let host = format!("127.0.0.1:{}", free_port());
        let config = root.with_extension("yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
             enabled: true\nhttp:\n  addr: {host}\n{auth}",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        Self::other(command, host, "/v2/")
    }

    /// Any server that answers at `host` once it is up.
    ///
    /// # Panics
    /// Where it does not.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn other(mut command: Command, host: String, path: &str) -> Self {
        let mut server = Self { child: command.spawn().unwrap(), host };
        let started = Instant::now();
        while http::try_get(&server.host, path).is_none_or(|answer| answer.status == 503) {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ends: {ended:?}");
            assert!(started.elapsed() < PATIENCE * 3, "{command:?} does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// `host/name`.
    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// `http://host/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// One request with GET.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// One request.
    ///
    /// # Panics
    /// Where no answer comes.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        http::ask(&self.host, method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// Where it ended on its own before.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it ended on its own");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    ///
    /// # Panics
    /// Where there is no program `kill`.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Asks it to stop, and waits; how long that took, and how it ended.
    ///
    /// # Panics
    /// Where it does not stop.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn stop(mut self) -> (Duration, ExitStatus) {
        self.signal("TERM");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (started.elapsed(), status);
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Most memory that it had, in KiB.
    ///
    /// # Panics
    /// Where it has ended.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
///
/// # Panics
/// Where loopback does not work.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
