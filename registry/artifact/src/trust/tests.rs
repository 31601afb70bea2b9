//! Policies against evidence.

use std::fs;

use jiff::Timestamp;
use mdl_store::{Descriptor, Digest, Name};
use serde_json::{Value, json};

use super::*;
use crate::{
    Error, Package,
    keys::{KeyType, PrivateKey},
    media,
    signing::{self, Bundle, SignedFiles, Statement, Subject},
};

const NAME: &str = "acme/tiny";

/// A folder with keys and a policy, and a package with what is signed about it.
struct Site {
    dir: tempfile::TempDir,
    release: PrivateKey,
    lab: PrivateKey,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [release, lab] =
            [KeyType::P256, KeyType::Ed25519].map(|it| PrivateKey::generate(it).unwrap());
        for (name, key) in [("release.pub", &release), ("lab.pub", &lab)] {
            fs::write(dir.path().join(name), key.public().to_pem()).unwrap();
        }
        Self { dir, release, lab }
    }

    fn policy(&self, rule: &str) -> Policy {
        self.try_policy(&format!("[[rule]]\nrepositories = [\"acme/**\"]\n{rule}")).unwrap()
    }

    fn try_policy(&self, text: &str) -> Result<Policy, Error> {
        let path = self.dir.path().join("trust.toml");
        fs::write(&path, text).unwrap();
        Policy::read(&path)
    }
}

fn manifest_bytes(license: &str) -> Vec<u8> {
    let digest = Digest::of(b"weights");
    let text = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": media::MODEL_MANIFEST,
        "config": { "mediaType": media::MODEL_CONFIG, "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": [{ "mediaType": media::WEIGHT, "digest": digest.to_string(), "size": 7,
            "annotations": { media::FILEPATH: "model.gguf" } }],
        "annotations": { media::LICENSES: license },
    });
    text.to_string().into_bytes()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    let media_type = media::OCI_MANIFEST.to_owned();
    Descriptor { media_type, digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn evidence(name: &str, license: &str, statements: &[(&PrivateKey, Statement)]) -> Evidence {
    let bytes = manifest_bytes(license);
    let package = Package::read(media::OCI_MANIFEST, &bytes, None);
    let tag = Some("v1".parse().unwrap());
    let mut found = Evidence::new(name.parse().unwrap(), tag, descriptor(&bytes), package);
    for (key, statement) in statements {
        let bundle = Bundle::sign(statement, key).unwrap();
        found.add(&Digest::of(&bundle), &bundle);
    }
    assert!(found.problems.is_empty());
    found
}

fn over_manifest(license: &str, name: &str, tag: Option<&str>, at: &str) -> Statement {
    let name: Name = name.parse().unwrap();
    let tag = tag.map(|tag| tag.parse().unwrap());
    signing::manifest_signature(&descriptor(&manifest_bytes(license)), &name, tag.as_ref(), at)
}

/// As cosign signs: the digest alone.
fn bare() -> Statement {
    let subject = Subject::of(&descriptor(&manifest_bytes("MIT")).digest);
    Statement::new(subject, signing::COSIGN_SIGN, json!({}))
}

fn over_files() -> Statement {
    let package = Package::read(media::OCI_MANIFEST, &manifest_bytes("MIT"), None);
    SignedFiles::of_package(&package).unwrap().statement("tiny")
}

fn attestation(kind: Attestation, predicate: Value) -> Statement {
    let subject = Subject::of(&descriptor(&manifest_bytes("MIT")).digest);
    Statement::new(subject, kind.predicate_type(), predicate)
}

fn trusted(policy: &Policy, name: &str, statements: &[(&PrivateKey, Statement)]) -> bool {
    policy.judge(&evidence(name, "MIT", statements)).trusted()
}

const AT: &str = "2026-05-01T00:00:00Z";
const RELEASE: &str = "keys = [\"release.pub\"]\n";

#[test]
fn a_signature_for_another_place_does_not_count() {
    let site = Site::new();
    let (policy, key) = (site.policy(RELEASE), &site.release);
    let signed = |name: &str| over_manifest("MIT", name, Some("v1"), AT);
    assert!(trusted(&policy, NAME, &[(key, signed(NAME))]));
    assert!(trusted(&policy, "acme/mirror/acme/tiny", &[(key, signed(NAME))]), "a prefix is added");
    for other in ["acme/other", "acme/my-tiny", "acme/tiny/acme", "tiny/acme"] {
        let policy =
            site.try_policy("[[rule]]\nrepositories = [\"**\"]\nkeys = [\"release.pub\"]").unwrap();
        assert!(!trusted(&policy, other, &[(key, signed(NAME))]), "{other}");
    }
    assert!(!trusted(&policy, NAME, &[(key, signed("my/acme/tiny"))]), "a prefix is taken away");
    assert!(
        trusted(&policy, NAME, &[(key, bare())]) && trusted(&policy, NAME, &[(key, over_files())])
    );
    // Both signatures of a model that was moved: the one over its files, which names no place, does not help it.
    let all =
        site.try_policy("[[rule]]\nrepositories = [\"**\"]\nkeys = [\"release.pub\"]").unwrap();
    let both = [(key, signed(NAME)), (key, over_files())];
    assert!(trusted(&all, NAME, &both) && !trusted(&all, "acme/other", &both));
    // Over another manifest, another kind of statement, another key, none.
    assert!(!trusted(&policy, NAME, &[(key, over_manifest("GPL-3.0", NAME, Some("v1"), AT))]));
    assert!(!trusted(&policy, NAME, &[(key, attestation(Attestation::Bom, json!({})))]));
    assert!(!trusted(&policy, NAME, &[(&site.lab, signed(NAME))]) && !trusted(&policy, NAME, &[]));
    let verdict = policy.judge(&evidence("acme/other", "MIT", &[(key, signed(NAME))]));
    assert_eq!(verdict.ignored, ["a signature by release.pub: it is for acme/tiny"]);
}

#[test]
fn bound_signatures_name_what_they_are_for() {
    let site = Site::new();
    let (policy, key) = (site.policy(&format!("{RELEASE}bound = true")), &site.release);
    assert!(trusted(&policy, NAME, &[(key, over_manifest("MIT", NAME, Some("v1"), AT))]));
    for refused in [
        over_manifest("MIT", NAME, Some("v2"), AT),
        over_manifest("MIT", NAME, None, AT),
        bare(),
        over_files(),
    ] {
        assert!(!trusted(&policy, NAME, &[(key, refused.clone())]), "{refused:?}");
    }
    // Unbound, the tag is not looked at: the same manifest may have several.
    let unbound = site.policy(RELEASE);
    assert!(trusted(&unbound, NAME, &[(key, over_manifest("MIT", NAME, Some("v2"), AT))]));
}

#[test]
fn keys_are_counted_not_signatures() {
    let site = Site::new();
    let policy = site.policy("keys = [\"release.pub\", \"lab.pub\"]\nthreshold = 2");
    let (one, two) = (&site.release, &site.lab);
    let signed = || over_manifest("MIT", NAME, Some("v1"), AT);
    assert!(!trusted(&policy, NAME, &[(one, signed()), (one, bare()), (one, over_files())]));
    assert!(trusted(&policy, NAME, &[(one, signed()), (two, bare())]));
    // The same key under two names is one.
    let text =
        "[[rule]]\nrepositories=[\"**\"]\nkeys=[\"release.pub\",\"./release.pub\"]\nthreshold=2";
    let error = site.try_policy(text).unwrap_err().to_string();
    assert!(error.contains("rule 1: `threshold` is 2, but `keys` names 1 different"), "{error}");
}

#[test]
fn old_signatures_and_revoked_keys_do_not_count() {
    let site = Site::new();
    let key = &site.release;
    let at = |time: &str| over_manifest("MIT", NAME, Some("v1"), time);
    let policy = site.policy(&format!("{RELEASE}not_before = 2026-05-01"));
    assert!(trusted(&policy, NAME, &[(key, at(AT))]));
    for refused in [at("2026-04-30T23:59:59Z"), at("yesterday"), bare(), over_files()] {
        assert!(!trusted(&policy, NAME, &[(key, refused.clone())]), "{refused:?}");
    }
    let revoked = format!("{RELEASE}[[revoked]]\nkey = \"release.pub\"\n");
    assert!(!trusted(&site.policy(&revoked), NAME, &[(key, at(AT))]));
    let since = |time: &str| site.policy(&format!("{revoked}since = {time}"));
    assert!(trusted(&since("2026-06-01"), NAME, &[(key, at(AT))]));
    assert!(!trusted(&since("2026-05-01"), NAME, &[(key, at(AT))]));
    assert!(!trusted(&since("2026-06-01"), NAME, &[(key, bare())]), "it may be from after");
    // Also as an attester.
    let text = format!("{RELEASE}require = [\"bom\"]\nattesters = {{ bom = [\"lab.pub\"] }}\n");
    let bom = || (&site.lab, attestation(Attestation::Bom, json!({})));
    assert!(trusted(&site.policy(&text), NAME, &[(key, bare()), bom()]));
    let text = format!("{text}[[revoked]]\nkey = \"lab.pub\"\nsince = 2030-01-01");
    assert!(!trusted(&site.policy(&text), NAME, &[(key, bare()), bom()]));
}

#[test]
fn attestations_are_told_by_their_predicates() {
    let site = Site::new();
    let (key, lab) = (&site.release, &site.lab);
    let policy = site.policy(&format!(
        "{RELEASE}require = [\"provenance\"]\nattesters = {{ provenance = [\"lab.pub\"] }}"
    ));
    let of = |kind: Attestation| attestation(kind, json!({}));
    assert!(trusted(&policy, NAME, &[(key, bare()), (lab, of(Attestation::Provenance))]));
    for kind in [Attestation::Bom, Attestation::Openness, Attestation::QuantizationReport] {
        assert!(!trusted(&policy, NAME, &[(key, bare()), (lab, of(kind))]), "{}", kind.name());
    }
    // By another key, and over another manifest.
    assert!(!trusted(&policy, NAME, &[(key, bare()), (key, of(Attestation::Provenance))]));
    let mut other = of(Attestation::Provenance);
    other.subject = vec![Subject::of(&Digest::of(b"other"))];
    assert!(!trusted(&policy, NAME, &[(key, bare()), (lab, other)]));
}

#[test]
fn gates_hold() {
    let site = Site::new();
    let key = &site.release;
    let report = |mean: Value| {
        let spread = json!({ "mean": mean });
        attestation(
            Attestation::QuantizationReport,
            json!({ "evaluation": { "divergence": spread } }),
        )
    };
    let policy = site.policy(&format!("{RELEASE}max_kld = 0.05"));
    let with = |policy: &Policy, more: &[Statement]| {
        let mut all = vec![(key, bare())];
        all.extend(more.iter().map(|it| (key, it.clone())));
        trusted(policy, NAME, &all)
    };
    assert!(with(&policy, &[report(json!(0.05))]) && with(&policy, &[report(json!(0))]));
    for refused in [json!(0.0501), json!(null), json!("0.01"), json!(1e308)] {
        assert!(!with(&policy, &[report(refused.clone())]), "{refused}");
    }
    assert!(!with(&policy, &[]), "no report");
    assert!(!with(&policy, &[report(json!(0.01)), report(json!(0.2))]), "the worst counts");
    let none = attestation(Attestation::QuantizationReport, json!({}));
    assert!(!with(&policy, &[report(json!(0.01)), none]), "one that states nothing");

    let class = |class: &str| attestation(Attestation::Openness, json!({ "class": class }));
    let policy = site.policy(&format!("{RELEASE}openness = \"II\""));
    assert!(with(&policy, &[class("II")]) && with(&policy, &[class("I")]));
    for refused in [&[class("III")][..], &[class("")], &[], &[class("I"), class("III")]] {
        assert!(!with(&policy, refused), "{refused:?}");
    }
}

#[test]
fn licences_are_read_from_a_signed_manifest() {
    let site = Site::new();
    let policy = site.policy(&format!("{RELEASE}licenses = [\"Apache-2.0\", \"MIT\", \"gemma\"]"));
    let with = |license: &str| {
        let signed = over_manifest(license, NAME, Some("v1"), AT);
        policy.judge(&evidence(NAME, license, &[(&site.release, signed)])).trusted()
    };
    for good in ["MIT", "mit", "apache-2.0", "MIT OR GPL-3.0-only", "Apache-2.0 AND MIT", "Gemma"] {
        assert!(with(good), "{good}");
    }
    for bad in ["", "GPL-3.0-only", "MIT AND GPL-3.0-only", "llama3.1", "MIT-0", "MIT, or so"] {
        assert!(!with(bad), "{bad}");
    }
    let by_files_alone = evidence(NAME, "MIT", &[(&site.release, over_files())]);
    let verdict = policy.judge(&by_files_alone);
    let found: Vec<_> = verdict.refusals().map(|it| it.found.as_str()).collect();
    assert_eq!(found, ["MIT, in a manifest that nobody signed"]);
}

#[test]
fn the_first_rule_decides_and_none_is_no() {
    let site = Site::new();
    let text = "[[rule]]\nrepositories = [\"acme/open\"]\nthreshold = 0\n\
        [[rule]]\nrepositories = [\"acme/*\"]\nkeys = [\"release.pub\"]\n";
    let policy = site.try_policy(text).unwrap();
    assert_eq!(policy.warnings.len(), 1);
    assert!(trusted(&policy, "acme/open", &[]) && !trusted(&policy, "acme/tiny", &[]));
    assert!(trusted(&policy, "acme/tiny", &[(&site.release, bare())]));
    for none in ["other/tiny", "acme", "acme/deep/tiny", "my/acme/tiny"] {
        assert!(!trusted(&policy, none, &[(&site.release, bare())]), "{none}");
    }
    assert!(policy.judge_unsigned(&"acme/open".parse().unwrap()).trusted());
    assert!(!policy.judge_unsigned(&"acme/tiny".parse().unwrap()).trusted());
    let empty = site.try_policy("").unwrap();
    assert!(
        !trusted(&empty, NAME, &[]) && empty.warnings == ["there is no rule: nothing is accepted"]
    );
}

#[test]
fn an_older_signature_is_not_taken_for_a_newer() {
    let site = Site::new();
    let policy = site.policy(RELEASE);
    let seen = Seen::new(site.dir.path());
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(seen.newest("h/a:b").unwrap(), None);
    seen.keep("h/a:b", time(AT), &Digest::of(b"m")).unwrap();
    assert_eq!(Seen::new(site.dir.path()).newest("h/a:b").unwrap(), Some(time(AT)));
    for (statement, good) in [
        (over_manifest("MIT", NAME, Some("v1"), AT), true),
        (over_manifest("MIT", NAME, Some("v1"), "2026-05-01T00:00:01Z"), true),
        (over_manifest("MIT", NAME, Some("v1"), "2026-04-01T00:00:00Z"), false),
        (bare(), false),
    ] {
        let mut verdict = policy.judge(&evidence(NAME, "MIT", &[(&site.release, statement)]));
        assert!(verdict.trusted());
        verdict.not_older_than(seen.newest("h/a:b").unwrap());
        assert_eq!(verdict.trusted(), good, "{verdict:?}");
    }
    fs::write(site.dir.path().join("trust-seen.json"), "rubbish").unwrap();
    assert!(matches!(seen.newest("h/a:b"), Err(Error::Policy { .. })), "it is not taken for empty");
}

#[test]
fn mistakes_in_a_policy_are_named() {
    let site = Site::new();
    let rule = "[[rule]]\nrepositories = [\"a\"]\n";
    for (text, says) in [
        ("rule = 1".to_owned(), "rule"),
        ("[[rule]]\nrepositories = []".to_owned(), "rule 1: `repositories` is empty"),
        (format!("{rule}keyz = []"), "unknown field"),
        (rule.to_owned(), "`threshold` is 1, but `keys` names 0"),
        (format!("{rule}keys = [\"none.pub\"]"), "none.pub"),
        (format!("{rule}{RELEASE}max_kld = nan"), "`max_kld`"),
        (format!("{rule}{RELEASE}openness = \"IV\""), "unknown variant"),
        (format!("{rule}{RELEASE}require = [\"all\"]"), "unknown variant"),
        (format!("{rule}{RELEASE}not_before = 07:32:00"), "is no day or time"),
        (format!("{rule}{RELEASE}attesters = {{ bom = [] }}"), "not required"),
        (format!("{rule}threshold = 0\nrequire = [\"bom\"]"), "nobody may attest bom"),
        (format!("{rule}keys = [\"trust.toml\"]"), "no public key"),
    ] {
        let error = site.try_policy(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let pem = site.release.public().to_pem();
    let text = format!("{rule}keys = ['''\n{pem}''']\nnot_before = 2026-05-01T10:00:00");
    let policy = site.try_policy(&text).unwrap();
    assert_eq!(policy.rules[0].keys[0].key, *site.release.public());
    assert_eq!(policy.rules[0].not_before.unwrap().to_string(), "2026-05-01T10:00:00Z");
}
