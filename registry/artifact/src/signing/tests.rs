//! Statements, bundles and model signatures.

use std::{collections::BTreeMap, fs};

use mdl_formats::digest::Unwatched;
use mdl_store::Digest;

use super::*;
use crate::{
    Error,
    keys::{KeyType, PrivateKey},
    media,
};

fn manifest(text: &str) -> Descriptor {
    let media_type = media::OCI_MANIFEST.to_owned();
    Descriptor { media_type, digest: Digest::of(text.as_bytes()), size: text.len() as u64 }
}

fn signed(key: &PrivateKey) -> Vec<u8> {
    let (name, tag) = ("acme/tiny".parse().unwrap(), "v1".parse().unwrap());
    let statement = manifest_signature(&manifest("m"), &name, Some(&tag), "2026-01-02T03:04:05Z");
    Bundle::sign(&statement, key).unwrap()
}

#[test]
fn a_statement_is_as_cosign_writes_it() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let bundle = Bundle::read(&signed(&key)).unwrap();
    let statement = bundle.verify(key.public()).unwrap();
    let json = serde_json::to_value(statement).unwrap();
    assert_eq!(json["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(json["predicateType"], "https://sigstore.dev/cosign/sign/v1");
    assert_eq!(json["subject"][0]["digest"]["sha256"], Digest::of(b"m").hex());
    assert_eq!(json["subject"][0]["annotations"][REPOSITORY], "acme/tiny");
    let subject = statement.subject_of(&Digest::of(b"m")).unwrap();
    assert_eq!(
        (subject.text(TAG), subject.text(SIGNED)),
        (Some("v1"), Some("2026-01-02T03:04:05Z"))
    );
    assert!(statement.subject_of(&Digest::of(b"n")).is_none());
}

#[test]
fn an_altered_bundle_is_by_nobody() {
    for kind in [KeyType::P256, KeyType::Ed25519] {
        let (key, other) =
            (PrivateKey::generate(kind).unwrap(), PrivateKey::generate(kind).unwrap());
        let bytes = signed(&key);
        let bundle = Bundle::read(&bytes).unwrap();
        assert!(bundle.verify(key.public()).is_some() && bundle.verify(other.public()).is_none());
        // Every letter of the payload and the signature counts: one bit, and it is by nobody or no bundle.
        let text = String::from_utf8(bytes).unwrap();
        let mut verified = 0;
        for (at, letter) in text.char_indices() {
            if !letter.is_ascii_alphanumeric() {
                continue;
            }
            let altered = if letter == 'A' { 'B' } else { 'A' };
            let altered = format!("{}{altered}{}", &text[..at], &text[at + 1..]);
            let Ok(altered) = Bundle::read(altered.as_bytes()) else { continue };
            if let Some(statement) = altered.verify(key.public()) {
                verified += 1;
                assert_eq!(statement, bundle.unverified(), "another statement at {at}");
            }
        }
        // What is outside of the envelope (the hint, names of fields that are not read) may differ.
        assert!(verified > 0 && verified < text.len() / 4, "{verified} of {}", text.len());
    }
}

#[test]
fn what_is_no_bundle_says_so() {
    let bundle = |envelope: &str| {
        format!(
            r#"{{"mediaType":"{}","verificationMaterial":{{}},"dsseEnvelope":{envelope}}}"#,
            media::BUNDLE
        )
    };
    let payload = |text: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        bundle(&format!(
            r#"{{"payload":"{text}","payloadType":"application/vnd.in-toto+json","signatures":[]}}"#
        ))
    };
    for (text, says) in [
        (String::new(), "no Sigstore bundle"),
        ("[]".to_owned(), "no Sigstore bundle"),
        (r#"{"mediaType":"a/b","verificationMaterial":{}}"#.to_owned(), "no Sigstore bundle"),
        (bundle("null"), "no DSSE envelope"),
        (bundle(r#"{"payload":"","payloadType":"text/plain","signatures":[]}"#), "not in-toto's"),
        (
            bundle(
                r#"{"payload":"!","payloadType":"application/vnd.in-toto+json","signatures":[]}"#,
            ),
            "base64",
        ),
        (payload("{}"), "no in-toto statement"),
        (payload(r#"{"_type":"x","subject":[],"predicateType":"y"}"#), "unknown version"),
        (format!("{}{}", r#"{"a":"#.repeat(200), "}".repeat(200)), "no Sigstore bundle"),
    ] {
        let error = Bundle::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let huge = vec![b' '; (16 << 20) + 1];
    assert!(Bundle::read(&huge).unwrap_err().to_string().contains("limit"));
}

fn files(names: &[&str]) -> SignedFiles {
    let digest = |name: &&str| ((*name).to_owned(), Digest::of(name.as_bytes()));
    SignedFiles::of_files(names.iter().map(digest).collect()).unwrap()
}

#[test]
fn files_are_ordered_part_by_part() {
    // As text `a.txt` comes before `a/b`; by parts after it.
    let statement = files(&["a.txt", "a/b", "a/B"]).statement("m");
    let names: Vec<_> = statement.predicate["resources"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a/B", "a/b", "a.txt"]);
    assert_eq!(SignedFiles::read(&statement).unwrap(), files(&["a.txt", "a/b", "a/B"]));
}

#[test]
fn what_git_and_we_keep_there_is_not_signed() {
    let signed =
        files(&["model.gguf", "model.sig", ".gitattributes", ".git/config", "x/model.sig"]);
    let names: Vec<_> = signed.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["model.gguf", "x/model.sig"]);
    assert!(signed.ignores("model.sig") && signed.ignores(".git/a") && !signed.ignores(".gitx"));
    let none = SignedFiles::of_files(BTreeMap::new());
    assert!(matches!(none, Err(Error::Unsignable(_))));
}

#[test]
fn a_list_of_files_that_lies_is_refused() {
    let good = files(&["a", "b"]).statement("m");
    let altered = |change: &dyn Fn(&mut Statement)| {
        let mut statement = good.clone();
        change(&mut statement);
        SignedFiles::read(&statement).unwrap_err().to_string()
    };
    let resource = |it: &mut Statement, key: &str, value: &str| {
        it.predicate["resources"][0][key] = value.into();
    };
    let other = Digest::of(b"other");
    let serialization =
        |it: &mut Statement| it.predicate["serialization"]["method"] = "shards".into();
    for (what, says) in [
        (altered(&|it| resource(it, "digest", other.hex())), "root digest"),
        (altered(&|it| resource(it, "digest", "zz")), "root digest"),
        (altered(&|it| resource(it, "name", "../a")), "leads out"),
        (altered(&|it| resource(it, "name", "/etc/passwd")), "absolute"),
        (altered(&|it| resource(it, "name", "b")), "twice"),
        (altered(&|it| resource(it, "algorithm", "blake3")), "not hashed by SHA-256"),
        (altered(&serialization), "shards"),
        (altered(&|it| it.subject.clear()), "root digest"),
        (altered(&|it| it.predicate = "x".into()), "broken"),
        (altered(&|it| it.predicate_type = COSIGN_SIGN.to_owned()), "no model signature"),
    ] {
        assert!(what.contains(says), "{what} / {says}");
    }
}

#[test]
fn a_folder_is_compared_with_what_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub")).unwrap();
    for name in ["a", "b", "sub/c"] {
        fs::write(at(name), name).unwrap();
    }
    let signed = files(&["a", "b", "sub/c"]);
    let run = || FolderCheck::run(dir.path(), &signed, &Unwatched).unwrap();
    let good = FolderCheck { good: 3, bytes: 7, ..FolderCheck::default() };
    assert_eq!(run(), good);
    fs::write(at("model.sig"), "ignored").unwrap();
    assert_eq!(run(), good);
    fs::write(at("a"), "x").unwrap();
    fs::remove_file(at("b")).unwrap();
    fs::write(at("sub/d"), "new").unwrap();
    std::os::unix::fs::symlink("a", at("link")).unwrap();
    std::os::unix::fs::symlink(dir.path(), at("loop")).unwrap();
    let found = run();
    assert_eq!(found.good, 1);
    assert_eq!(
        (&found.altered[..], &found.missing[..]),
        (&["a".to_owned()][..], &["b".to_owned()][..])
    );
    assert_eq!(found.unsigned, ["link", "loop", "sub/d"]);
}
