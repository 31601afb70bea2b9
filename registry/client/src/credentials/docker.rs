//! Docker's file of credentials, and the helper programs that it names.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Credential, canonical};
use crate::{Error, Result, error::shown};

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Clone, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What a helper prints.
#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Bytes of the file, and of what a helper prints.
const LIMIT: u64 = 4 << 20;
/// A helper may ask the user to unlock something.
const HELPER_TIME: Duration = Duration::from_mins(2);

/// What Docker knows for a registry. A file that is not there knows nothing.
pub(super) fn find(path: &Path, host: &str) -> Result<Option<Credential>> {
    let mut text = Vec::new();
    match fs::File::open(path) {
        Ok(file) => {
            file.take(LIMIT).read_to_end(&mut text).map_err(Error::io(path, "read"))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "read")(error)),
    }
    let file: File = serde_json::from_slice(&text).map_err(|error| {
        Error::refused(
            format!("{} cannot be read: {error}", path.display()),
            "it is Docker's file of credentials; DOCKER_CONFIG names another folder for it",
        )
    })?;
    let wanted = canonical(host);
    let named = file.helpers.iter().find(|(key, _)| of_key(key) == wanted).map(|(_, name)| name);
    if let Some(name) = named.or(file.store.as_ref()).filter(|name| !name.is_empty())
        && let Some(found) = ask(name, &server_of(&wanted))?
    {
        return Ok(Some(found));
    }
    let entry = file.auths.iter().find(|(key, _)| of_key(key) == wanted).map(|(_, entry)| entry);
    Ok(entry.and_then(Entry::credential))
}

impl Entry {
    fn credential(&self) -> Option<Credential> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.registrytoken) {
            return Some(Credential::Bearer(token));
        }
        if let Some(token) = set(&self.identitytoken) {
            return Some(Credential::Identity(token));
        }
        if let Some(auth) = set(&self.auth) {
            let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            let password = password.trim_end_matches('\0').to_owned();
            return Some(Credential::Password { user: user.to_owned(), password });
        }
        let (user, password) = (set(&self.username)?, set(&self.password)?);
        Some(Credential::Password { user, password })
    }
}

/// The host in a key: `host`, `https://host`, `https://host/v1/`.
fn of_key(key: &str) -> String {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    canonical(bare.split('/').next().unwrap_or_default())
}

/// What Docker's helpers call a registry.
fn server_of(host: &str) -> String {
    if host == "docker.io" { "https://index.docker.io/v1/".to_owned() } else { host.to_owned() }
}

/// Asks `docker-credential-NAME get`.
fn ask(name: &str, server: &str) -> Result<Option<Credential>> {
    let failed = |what: &str| {
        Error::refused(
            format!("docker-credential-{}: {what}", shown(name)),
            "Docker's config.json names this helper; DOCKER_CONFIG names another folder",
        )
    };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(failed("not a name that a helper can have"));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its question answers nothing.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is not an answer either.
        let _ = output.map(|output| output.take(LIMIT).read_to_end(&mut text));
        text
    });
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < HELPER_TIME => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed("it does not end"));
            }
        }
    };
    let text = reader.join().unwrap_or_default();
    if !status.success() {
        let said = String::from_utf8_lossy(&text);
        if said.contains("not found") {
            return Ok(None);
        }
        return Err(failed(&format!("{status}: {}", shown(&said))));
    }
    let Helped { user, secret } = serde_json::from_slice(&text)
        .map_err(|error| failed(&format!("its answer is not what it should be: {error}")))?;
    Ok(match user.as_str() {
        _ if secret.is_empty() => None,
        "<token>" => Some(Credential::Identity(secret)),
        _ => Some(Credential::Password { user, password: secret }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn entries_as_docker_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(find(&path, "a.example").unwrap(), None);
        let text = r#"{ "auths": {
            "a.example:5000": { "auth": "bWU6c2VjOnJldA==" },
            "https://index.docker.io/v1/": { "username": "hub", "password": "pw" },
            "https://b.example": { "identitytoken": "refresh" },
            "c.example": { "registrytoken": "ready" },
            "d.example": { "auth": "not base64!" }
        }, "HttpHeaders": {} }"#;
        fs::write(&path, text).unwrap();
        assert_eq!(find(&path, "a.example:5000").unwrap(), password("me", "sec:ret"));
        assert_eq!(find(&path, "a.example").unwrap(), None, "another port is another registry");
        assert_eq!(find(&path, "docker.io").unwrap(), password("hub", "pw"));
        let identity = Some(Credential::Identity("refresh".to_owned()));
        assert_eq!(find(&path, "b.example").unwrap(), identity);
        let bearer = Some(Credential::Bearer("ready".to_owned()));
        assert_eq!(find(&path, "c.example").unwrap(), bearer);
        assert_eq!(find(&path, "d.example").unwrap(), None);
        fs::write(&path, "{").unwrap();
        assert!(find(&path, "a.example").is_err());
    }

    #[test]
    fn a_helper_that_is_not_there_or_cannot_be_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for name in ["mdl-test-of-none", "../../bin/sh"] {
            fs::write(&path, format!(r#"{{ "credHelpers": {{ "a.example": "{name}" }} }}"#))
                .unwrap();
            let error = find(&path, "a.example").unwrap_err().to_string();
            assert!(error.contains("docker-credential-"), "{error}");
            assert_eq!(find(&path, "b.example").unwrap(), None);
        }
    }
}
