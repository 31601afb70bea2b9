//! Secrets that commands ask for: passphrases of keys, and the keys themselves.

use std::{
    env,
    fs::File,
    io::{IsTerminal as _, Read as _, stdin},
    path::Path,
};

use mdl_artifact::keys::{KEY_BYTES, PrivateKey};

use crate::failure::Failure;

/// The variable that holds a key's passphrase, for those who cannot be asked.
const VARIABLE: &str = "MDL_KEY_PASSPHRASE";

/// The passphrase of a key that is there.
pub(crate) fn passphrase() -> Result<Vec<u8>, Failure> {
    match env::var_os(VARIABLE) {
        Some(text) => Ok(text.into_encoded_bytes()),
        None => asked("passphrase of the key: "),
    }
}

/// A passphrase for a new key; typed twice where it is typed.
pub(crate) fn new_passphrase() -> Result<Vec<u8>, Failure> {
    if let Some(text) = env::var_os(VARIABLE) {
        return Ok(text.into_encoded_bytes());
    }
    let first = asked("passphrase for the new key: ")?;
    if asked("once more: ")? != first {
        return Err(Failure::new("the two passphrases differ: no key is made"));
    }
    Ok(first)
}

fn asked(prompt: &str) -> Result<Vec<u8>, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask for the key's passphrase")
            .hint(format!("put it into {VARIABLE}"))
            .status(Failure::USAGE));
    }
    rpassword::prompt_password(prompt)
        .map(String::into_bytes)
        .map_err(|error| Failure::new(format!("cannot read the passphrase: {error}")))
}

/// The text of a key file.
pub(crate) fn key_text(path: &Path) -> Result<String, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(KEY_BYTES).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    String::from_utf8(bytes)
        .map_err(|_| failed(&"it is no key in PEM").hint("`mdl key generate` makes one"))
}

/// A key to sign with; its passphrase is asked for where it has one.
pub(crate) fn signing_key(path: &Path) -> Result<PrivateKey, Failure> {
    let text = key_text(path)?;
    let what = path.display().to_string();
    // What went wrong with the passphrase is more than what can be said of the key then.
    let mut failure = None;
    let key = PrivateKey::from_pem(&text, &what, || {
        passphrase().map_err(|error| {
            failure = Some(error);
            mdl_artifact::Error::Signature(String::new())
        })
    });
    match failure {
        Some(failure) => Err(failure),
        None => Ok(key?),
    }
}
