//! Accounts and API keys, in one file of the registry's folder. Passwords are kept as bcrypt hashes; keys are random and
//! long, so that SHA-256 of them is kept.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::policy::{ANONYMOUS, Action, check_pattern};
use crate::{
    Error, Result,
    audit::{self, Event},
};

/// The file.
const NAME: &str = "accounts.json";
/// Bytes of such a file.
const BYTES: u64 = 256 << 20;
/// What keys begin with: Hugging Face's clients send what looks so.
pub(crate) const KEY_PREFIX: &str = "hf_";
/// Letters and digits after that.
const KEY_LETTERS: usize = 40;
/// bcrypt's cost: some 50 ms for a password.
const COST: u32 = 10;
/// Bytes of a password that bcrypt looks at; a longer one is refused, not cut.
const PASSWORD_BYTES: usize = 72;

/// All accounts and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    version: u32,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By identifier, which is public.
    pub keys: BTreeMap<String, Key>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// bcrypt; none of an account that has keys alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether it may do everything.
    #[serde(default)]
    pub admin: bool,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose.
    pub user: String,
    /// SHA-256 of the key, in hex; none of a public key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// The public key of somebody's Ollama, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ollama: Option<String>,
    /// Seconds since 1970; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Patterns of repositories that it is for; none for all of its account's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// What it may do; none for all that its account may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// Writes the file: whole, for its owner alone.
fn write(root: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = root.join(format!("{NAME}.new"));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temporary, root.join(NAME))?;
    File::open(root)?.sync_all()
}

/// Takes the accounts of one folder along to another: into a backup, or out of one. Where there are none, none come.
pub(crate) fn carry(from: &Path, to: &Path) -> io::Result<()> {
    match fs::read(from.join(NAME)) {
        Ok(text) => write(to, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether there are any, or ever were.
pub(crate) fn exist(root: &Path) -> bool {
    root.join(NAME).exists()
}

/// What tells whether the file was changed.
pub(crate) fn mark(root: &Path) -> Option<(SystemTime, u64)> {
    let facts = fs::metadata(root.join(NAME)).ok()?;
    Some((facts.modified().ok()?, facts.ino() ^ facts.len()))
}

impl Key {
    /// Whether it holds at a time, in seconds since 1970.
    pub(crate) fn holds(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Accounts {
    /// Those of a registry; none where its folder has none.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Io`]: what cannot be read is not taken for empty.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(NAME);
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let read = file.take(BYTES).read_to_end(&mut text);
                read.map_err(|source| Error::Io { what: "read", path: path.clone(), source })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(Error::Io { what: "open", path, source }),
        }
        serde_json::from_slice(&text)
            .map_err(|error| Error::Config { path, what: error.to_string() })
    }

    /// Changes the accounts of a registry, one at a time; a server that runs takes notice by itself. What `change` says of
    /// it stands in the audit log before it is so; where it says nothing, nothing is changed.
    ///
    /// # Errors
    /// As [`Accounts::read`], what `change` says, and where the audit log cannot be written: then nothing is changed.
    pub fn change<T>(
        root: &Path,
        change: impl FnOnce(&mut Self) -> Result<(T, Option<Event>)>,
    ) -> Result<T> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { what, path, source }
        };
        fs::create_dir_all(root).map_err(io("create", root))?;
        let (path, lock) = (root.join(NAME), root.join("accounts.lock"));
        let held = File::create(&lock).map_err(io("open", &lock))?;
        held.lock().map_err(io("lock", &lock))?;
        let mut accounts = Self::read(root)?;
        let (done, event) = change(&mut accounts)?;
        let Some(event) = event else { return Ok(done) };
        accounts.version = 1;
        let text = serde_json::to_vec_pretty(&accounts)
            .map_err(|error| Error::Config { path: path.clone(), what: error.to_string() })?;
        audit::note_account(root, &event)?;
        if let Err(error) = write(root, &text) {
            let _ = audit::note_account(root, &event.refused("the accounts could not be written"));
            return Err(io("write", &path)(error));
        }
        Ok(done)
    }

    /// Sets an account's password, or makes the account; an administrator stays one.
    ///
    /// # Errors
    /// [`Error::Account`] for a name or a password that will not do.
    pub fn set_user(&mut self, name: &str, password: Option<&str>, admin: bool) -> Result<()> {
        check_name(name)?;
        let password = password.map(hashed).transpose()?;
        let admin = admin || self.users.get(name).is_some_and(|user| user.admin);
        self.users.insert(name.to_owned(), User { password, admin });
        Ok(())
    }

    /// Takes an account away, with its keys; whether it was there.
    pub fn remove_user(&mut self, name: &str) -> bool {
        self.keys.retain(|_, key| key.user != name);
        self.users.remove(name).is_some()
    }

    /// Makes a key of an account; gives its identifier and the key itself, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Account`] for an account that is not there, [`Error::Io`] where the system gives no randomness.
    pub fn add_key(&mut self, key: Key) -> Result<(String, String)> {
        self.check_key(&key)?;
        let (identifier, secret) = (random(8)?, format!("{KEY_PREFIX}{}", random(KEY_LETTERS)?));
        let sha256 = digest(&secret);
        self.keys.insert(identifier.clone(), Key { sha256, ..key });
        Ok((identifier, secret))
    }

    /// Whose it is, and whether what it is limited to can be anything.
    fn check_key(&self, key: &Key) -> Result<()> {
        if !self.users.contains_key(&key.user) {
            return Err(Error::Account(format!("there is no account `{}`", key.user)));
        }
        key.repositories.iter().try_for_each(|it| check_pattern(it)).map_err(Error::Account)
    }

    /// Identifiers of keys by what is kept of them, so that one is found among many at once.
    pub(crate) fn by_hash(&self) -> BTreeMap<String, String> {
        let secret = self.keys.iter().filter(|(_, key)| !key.sha256.is_empty());
        secret.map(|(identifier, key)| (key.sha256.clone(), identifier.clone())).collect()
    }

    /// Identifiers of Ollama's keys by the keys.
    pub(crate) fn by_ssh(&self) -> BTreeMap<String, String> {
        let all = self.keys.iter();
        all.filter_map(|(identifier, key)| Some((key.ollama.clone()?, identifier.clone())))
            .collect()
    }

    /// Registers the public key of somebody's Ollama, a line as `id_ed25519.pub` has it; gives its identifier.
    ///
    /// # Errors
    /// [`Error::Account`] for an account that is not there, and for what is no such key.
    pub fn add_ollama(&mut self, key: Key, line: &str) -> Result<String> {
        self.check_key(&key)?;
        let ollama = super::ollama::key_of_line(line).ok_or_else(|| {
            let what = "it is no Ed25519 key of OpenSSH's: give Ollama's id_ed25519.pub";
            Error::Account(what.to_owned())
        })?;
        self.keys.retain(|_, known| known.ollama.as_ref() != Some(&ollama));
        let identifier = random(8)?;
        self.keys.insert(identifier.clone(), Key { ollama: Some(ollama), ..key });
        Ok(identifier)
    }

    /// Takes accounts from a file of `htpasswd -B`. Those of our own file come first.
    pub(crate) fn add_htpasswd(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|source| Error::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| Error::Config {
                path: path.to_owned(),
                what: format!("line {}: {what}", at + 1),
            };
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("write name:hash"))?;
            check_name(name).map_err(|error| wrong(&error.to_string()))?;
            if !["$2y$", "$2b$", "$2a$"].iter().any(|kind| hash.starts_with(kind)) {
                return Err(wrong("only bcrypt hashes are taken: `htpasswd -B`"));
            }
            let user = User { password: Some(hash.to_owned()), admin: false };
            self.users.entry(name.to_owned()).or_insert(user);
        }
        Ok(())
    }
}

/// Refuses what cannot be an account's name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(sound) || name == ANONYMOUS {
        return Err(Error::Account(format!(
            "`{}` is no name for an account: letters, digits and . _ @ + - are, 64 at most",
            name.chars().take(80).flat_map(char::escape_default).collect::<String>()
        )));
    }
    Ok(())
}

fn hashed(password: &str) -> Result<String> {
    if password.len() < 8 || password.len() > PASSWORD_BYTES {
        let what = "a password has 8 to 72 bytes; bcrypt looks at no more";
        return Err(Error::Account(what.to_owned()));
    }
    bcrypt::hash(password, COST).map_err(|error| Error::Account(error.to_string()))
}

/// SHA-256 in hex: what is kept of a key.
pub(crate) fn digest(text: &str) -> String {
    mdl_store::Digest::of(text.as_bytes()).hex().to_owned()
}

/// Random letters and digits.
fn random(count: usize) -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let path = Path::new("/dev/urandom");
    let failed = |source| Error::Io { what: "read", path: path.to_owned(), source };
    let mut source = File::open(path).map_err(failed)?;
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let mut bytes = [0; 64];
        source.read_exact(&mut bytes).map_err(failed)?;
        // Those beyond the last whole round are left out, so that every letter is as likely.
        let letters = bytes.iter().filter(|byte| **byte < 248);
        let letters = letters.filter_map(|byte| LETTERS.get(usize::from(byte % 62)));
        text.extend(letters.take(count - text.len()).map(|letter| char::from(*letter)));
    }
    Ok(text)
}
