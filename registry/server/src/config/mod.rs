//! The registry's configuration: `registry.toml`, all of it optional.

mod explain;
mod public_url;
mod rates;
mod rules;
mod units;

pub use explain::explain;
pub use public_url::PublicUrl;
pub use rates::{Net, Often, Rate, Rates};
pub use rules::{Immutable, QuotaLine, Retaining, Retention};
pub use units::{Bytes, Every, Span};

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mdl_store::Keep;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    access::{Auth, PolicyLine, accounts::Accounts, oidc::Oidc},
};

/// Where a registry listens unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:5050";

/// How a registry runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Host and port to listen on.
    pub listen: String,
    /// The folder with its data.
    pub root: Option<PathBuf>,
    /// How clients reach it, where that is not how they came: behind a proxy.
    pub public_url: Option<PublicUrl>,
    /// Certificate and key, for TLS.
    pub tls: Option<Tls>,
    /// Who is asked who they are.
    pub auth: Option<Auth>,
    /// Issuers whose tokens are taken.
    pub oidc: Vec<Oidc>,
    /// Who may do what.
    pub policy: Vec<PolicyLine>,
    /// What packages must show before others than those who push see them.
    pub trust: Option<Trust>,
    /// Tags that stay where they are.
    pub immutable: Vec<Immutable>,
    /// How much may be held.
    pub quota: Vec<QuotaLine>,
    /// Which tags go after a while.
    pub retention: Vec<Retention>,
    /// What is too often.
    pub rates: Rates,
    /// What is too much.
    pub limits: Limits,
    /// What is too long.
    pub timeouts: Timeouts,
    /// For how long things are kept that nothing refers to.
    pub keep: Keeping,
    /// The collection of garbage.
    pub collect: Collect,
    /// The log of requests.
    pub access_log: AccessLog,
    /// The log of who did what.
    pub audit: Option<AuditLog>,
    /// SHA-256 of the file, in hex.
    #[serde(skip)]
    pub sha256: Option<String>,
}

/// Certificate and key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What packages must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The policy: a `trust.toml`.
    pub policy: PathBuf,
}

impl Trust {
    /// Reads the policy.
    ///
    /// # Errors
    /// [`Error::Config`] with what is wrong in it.
    pub(crate) fn read(&self) -> Result<mdl_artifact::trust::Policy> {
        mdl_artifact::trust::Policy::read(&self.policy)
            .map_err(|error| Error::Config { path: self.policy.clone(), what: error.to_string() })
    }
}

/// What is too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Requests at once.
    pub requests: u32,
    /// Uploads that are being received at once.
    pub uploads: u32,
    /// Uploads that were begun and are not finished.
    pub sessions: u32,
    /// Bytes of a manifest.
    pub manifest: Bytes,
    /// Bytes of a blob.
    pub blob: Bytes,
}

/// What is too long. None limits how long a transfer takes as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until a request begins: a connection without one, or with half of its head.
    pub head: Span,
    /// Without a byte sent or taken in the middle of a request.
    pub idle: Span,
    /// For requests to end when the registry stops.
    pub stop: Span,
}

/// For how long things are kept that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keeping {
    /// A blob that was just uploaded, mounted or found.
    pub lease: Span,
    /// An upload that nobody continues.
    pub upload: Span,
    /// A manifest without a tag.
    pub untagged: Every,
}

/// The collection of garbage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// How often.
    pub interval: Every,
}

/// The log of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// Where it goes: `stdout`, `stderr`, `off`, or a file.
    pub to: PathBuf,
    /// How a line looks.
    pub format: LogFormat,
}

/// The log of who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditLog {
    /// A file, or `off`; without it a file in the folder with the data.
    pub to: Option<PathBuf>,
    /// Whether manifests that are read are recorded too.
    pub pulls: bool,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A JSON object.
    Json,
    /// The combined format of web servers, and how long it took.
    Common,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LISTEN.to_owned(),
            root: None,
            public_url: None,
            tls: None,
            auth: None,
            oidc: Vec::new(),
            policy: Vec::new(),
            trust: None,
            immutable: Vec::new(),
            quota: Vec::new(),
            retention: Vec::new(),
            rates: Rates::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            keep: Keeping::default(),
            collect: Collect::default(),
            access_log: AccessLog::default(),
            audit: None,
            sha256: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let store = mdl_store::Limits::default();
        Self {
            connections: 1024,
            requests: 1024,
            uploads: 128,
            sessions: store.uploads as u32,
            manifest: Bytes(store.manifest_bytes),
            blob: Bytes(store.blob_bytes),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self { head: seconds(60), idle: seconds(60), stop: seconds(10) }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        let keep = Keep::default();
        let span = Duration::from_secs;
        Self {
            lease: Span(span(keep.lease)),
            upload: Span(span(keep.upload)),
            untagged: Every(keep.untagged.map(span)),
        }
    }
}

impl Default for Collect {
    fn default() -> Self {
        Self { interval: Every(Some(Duration::from_hours(6))) }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: "stdout".into(), format: LogFormat::Json }
    }
}

impl Default for AuditLog {
    fn default() -> Self {
        Self { to: None, pulls: true }
    }
}

impl AuditLog {
    /// Whether there is none.
    pub(crate) fn is_off(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.as_os_str() == "off")
    }
}

impl Config {
    /// Reads a file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Config`] with the line, [`Error::Io`]; also for a file with an issuer's keys.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        let wrong = |what| Error::Config { path: path.to_owned(), what };
        let mut config: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        config.check().map_err(wrong)?;
        config.place(path.parent().unwrap_or(Path::new("")))?;
        if let Some(trust) = &config.trust {
            trust.read()?;
        }
        config.sha256 = Some(mdl_store::Digest::of(text.as_bytes()).hex().to_owned());
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.policy.iter().try_for_each(PolicyLine::check)?;
        self.immutable.iter().try_for_each(Immutable::check)?;
        self.quota.iter().try_for_each(QuotaLine::check)?;
        self.retention.iter().try_for_each(Retention::check)?;
        QuotaLine::check_all(&self.quota)?;
        Oidc::check_all(&self.oidc, !self.policy.is_empty())?;
        let limits = &self.limits;
        let counts = [
            ("connections", limits.connections),
            ("requests", limits.requests),
            ("uploads", limits.uploads),
            ("sessions", limits.sessions),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("limits.{name} is 0: nothing could be served"));
        }
        // The specification asks for four, and clients count on it.
        if limits.manifest.0 < 4 << 20 || limits.manifest.0 > 64 << 20 {
            return Err(format!(
                "limits.manifest is {}: between 4 MiB and 64 MiB serve",
                limits.manifest
            ));
        }
        if self.timeouts.stop.0 > Duration::from_secs(15) {
            let stop = self.timeouts.stop;
            return Err(format!("timeouts.stop is {stop}: at most 15s, to be over in 20"));
        }
        match self.listen.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
            _ => Err(format!("listen is `{}`: write HOST:PORT", self.listen)),
        }
    }

    /// Whether the files that it names can be used: certificates, `htpasswd`. The others were read with it.
    ///
    /// # Errors
    /// [`Error::Tls`], [`Error::Config`], [`Error::Io`].
    pub fn check_files(&self) -> Result<()> {
        if let Some(file) = self.auth.as_ref().and_then(|auth| auth.htpasswd.as_deref()) {
            Accounts::default().add_htpasswd(file)?;
        }
        crate::serve::check_tls(self.tls.as_ref())
    }

    fn place(&mut self, folder: &Path) -> Result<()> {
        let beside = |path: &mut PathBuf| *path = folder.join(&*path);
        self.root.iter_mut().for_each(beside);
        if let Some(tls) = &mut self.tls {
            beside(&mut tls.certificate);
            beside(&mut tls.key);
        }
        if let Some(htpasswd) = self.auth.as_mut().and_then(|auth| auth.htpasswd.as_mut()) {
            beside(htpasswd);
        }
        if let Some(trust) = &mut self.trust {
            beside(&mut trust.policy);
        }
        if self.access_log.file().is_some() {
            beside(&mut self.access_log.to);
        }
        if let Some(audit) = self.audit.as_mut().filter(|audit| !audit.is_off()) {
            audit.to.iter_mut().for_each(beside);
        }
        self.oidc.iter_mut().try_for_each(|oidc| oidc.place(folder))
    }

    /// What the store is to take.
    pub(crate) fn store_limits(&self) -> mdl_store::Limits {
        let mut limits = mdl_store::Limits::default();
        limits.manifest_bytes = self.limits.manifest.0;
        limits.blob_bytes = self.limits.blob.0;
        limits.uploads = self.limits.sessions as usize;
        limits
    }

    /// What the store is to keep.
    pub(crate) fn store_keep(&self) -> Keep {
        let mut keep = Keep::default();
        keep.lease = self.keep.lease.0.as_secs();
        keep.upload = self.keep.upload.0.as_secs();
        keep.untagged = self.keep.untagged.0.map(|span| span.as_secs());
        keep
    }
}

impl AccessLog {
    /// The file it goes to; `None` where it goes elsewhere or nowhere.
    pub(crate) fn file(&self) -> Option<&Path> {
        let words = ["stdout", "stderr", "off"];
        (!words.iter().any(|word| self.to.as_os_str() == *word)).then_some(&self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn nothing_is_needed() {
        let sha256 = Some(mdl_store::Digest::of(b"").hex().to_owned());
        assert_eq!(read("").unwrap(), Config { sha256, ..Config::default() });
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = "root = 'data'\nlisten = '[::1]:80'\n[tls]\ncertificate = 'c'\nkey = '/k'\n\
                    [access_log]\nto = 'log'\n[audit]\nto = 'who'";
        let config = read(text).unwrap();
        assert!(config.root.as_ref().unwrap().is_absolute());
        assert!(config.root.unwrap().ends_with("data"));
        let tls = config.tls.unwrap();
        assert!(tls.certificate.is_absolute());
        assert_eq!(tls.key, Path::new("/k"));
        assert!(config.access_log.to.ends_with("log") && config.access_log.to.is_absolute());
        let audit = config.audit.unwrap();
        assert!(audit.pulls && audit.to.is_some_and(|to| to.is_absolute() && to.ends_with("who")));
        assert!(read("[audit]\nto = 'off'").unwrap().audit.unwrap().is_off());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, what) in [
            ("lisen = 'x:1'", "line 1"),
            ("\n[limits]\nuploads = 'many'", "line 3"),
            ("[keep]\nlease = '6 weeks'", "no span of time"),
            ("listen = 'x'", "write HOST:PORT"),
            ("[limits]\nmanifest = '1 KiB'", "between 4 MiB"),
            ("[limits]\nrequests = 0", "nothing could be served"),
            ("public_url = 'ftp://x'", "http:// or https://"),
            ("[access_log]\nformat = 'xml'", "line 2"),
            ("[rates]\naddress = '5'", "line 2"),
            ("[rates]\nfailures = '5/d'", "no rate"),
            ("[rates]\nproxies = ['proxy']", "no address"),
            ("[rates]\nproxies = [\n'10.0.0.1',\n'0.0.0.0/0']", "line 2"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
            assert!(error.contains("registry.toml"), "{error}");
        }
    }
}
