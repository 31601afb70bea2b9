//! Packages and the registry, end to end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod accounts_clients;
mod attest;
mod audit;
mod bundle;
mod bundle_hostile;
mod client_hostile;
mod clients;
mod conformance;
mod demand;
mod distribution;
mod faults;
mod hub;
mod huggingface;
mod inspect_ref;
mod llama_server;
mod oidc;
mod ollama;
mod ollama_templates;
mod operation;
mod pack;
mod pages;
mod power_loss;
mod rates;
mod readme;
mod rules;
mod server_hostile;
mod signing;
mod stops;
mod tokens;
mod trust;

use mdl_tests::Place;
use serde_json::Value;

/// What a command gives as JSON.
fn json(place: &Place, arguments: &[&str]) -> Value {
    let text = place.says(&[arguments, &["--json", "--quiet"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// As [`json`], of a command that warns.
fn json_with_warnings(place: &Place, arguments: &[&str]) -> Value {
    let done = place.run(&[arguments, &["--json"]].concat());
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Text with every digest, whole or shortened, replaced: those of what this version of the program writes change with
/// its version.
fn masked(text: &str) -> String {
    let is_hex = |word: &str| word.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match word.len() {
            12 | 64 if is_hex(word) => out += &part.replace(word, &"x".repeat(word.len())),
            _ => out += part,
        }
    }
    out
}
