//! Tokens that are signed, and the tricks with which others are passed off as such.

use std::{fs, path::Path};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::*;

const NOW: u64 = 1_800_000_000;

/// Keys of every kind, in a file.
struct Keyring {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    folder: tempfile::TempDir,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(pair: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y), "kid": kid })
}

impl Keyring {
    fn new() -> Self {
        let keyring = Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(keyring.file(), keyring.set().to_string()).unwrap();
        keyring
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("keys.json")
    }

    fn rsa_jwk(&self) -> Value {
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        json!({ "kty": "RSA", "n": encoded(parts.n), "e": encoded(parts.e), "kid": "rsa", "use": "sig" })
    }

    fn set(&self) -> Value {
        let ed25519 = encoded(self.ed25519.public_key());
        json!({ "keys": [
            self.rsa_jwk(),
            point(&self.p256, "P-256", "p256"),
            point(&self.p384, "P-384", "p384"),
            { "kty": "OKP", "crv": "Ed25519", "x": ed25519, "kid": "ed25519", "alg": "EdDSA" },
            { "kty": "oct", "k": encoded("a secret that everybody knows"), "kid": "oct" },
        ] })
    }

    fn issuers(&self) -> Issuers {
        Issuers::open(&[settings(&self.file())], None).unwrap()
    }

    fn rsa(&self, head: &Value, claims: &Value, how: &'static dyn RsaEncoding) -> String {
        signed(&head.to_string(), &claims.to_string(), |message| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        })
    }

    /// With the RSA key, as most CI systems do.
    fn token(&self, claims: &Value) -> String {
        self.rsa(&json!({ "alg": "RS256", "kid": "rsa", "typ": "JWT" }), claims, &RSA_PKCS1_SHA256)
    }
}

fn settings(file: &Path) -> Oidc {
    let text = format!(
        "issuer = 'https://ci.example.org'\naudience = 'models'\njwks = '{}'\n\
         [[account]]\nname = 'release'\nclaims = {{ repository = 'acme/models', ref = 'refs/tags/*' }}\n\
         [[account]]\nname = 'ci'\nclaims = {{ repository = 'acme/*' }}\n",
        file.display()
    );
    toml::from_str(&text).unwrap()
}

fn signed(head: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(head), encoded(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encoded(signature))
}

fn claims() -> Value {
    json!({
        "iss": "https://ci.example.org", "aud": "models", "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        "repository": "acme/models", "ref": "refs/heads/main",
    })
}

/// Claims with one of them changed, or taken away.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

async fn judged(issuers: &Issuers, token: &str) -> Result<String, Why> {
    issuers.verified(token, NOW).await.map(|outside| outside.name)
}

#[tokio::test]
async fn every_algorithm_that_is_taken_verifies() {
    let keyring = Keyring::new();
    let issuers = keyring.issuers();
    let (claims, random) = (claims(), SystemRandom::new());
    let head = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let ec = |head: Value, pair: &EcdsaKeyPair| {
        signed(&head.to_string(), &claims.to_string(), |message| {
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        })
    };
    let ed = signed(&head("EdDSA", "ed25519").to_string(), &claims.to_string(), |message| {
        keyring.ed25519.sign(message).as_ref().to_vec()
    });
    for token in [
        keyring.token(&claims),
        keyring.rsa(&head("PS256", "rsa"), &claims, &RSA_PSS_SHA256),
        ec(head("ES256", "p256"), &keyring.p256),
        ec(head("ES384", "p384"), &keyring.p384),
        ed.clone(),
        // Without the name of a key where only one fits.
        ec(json!({ "alg": "ES256" }), &keyring.p256),
    ] {
        assert_eq!(judged(&issuers, &token).await, Ok("ci".to_owned()), "{token}");
        assert!(jwt::is_one(&token));
    }
    for (token, why) in [
        (ec(head("ES256", "rsa"), &keyring.p256), Why::Algorithm),
        (ec(head("ES384", "p256"), &keyring.p256), Why::Algorithm),
        (ec(head("ES256", "p384"), &keyring.p384), Why::Algorithm),
        (keyring.rsa(&head("PS256", "rsa"), &claims, &RSA_PKCS1_SHA256), Why::Signature),
        (keyring.rsa(&head("RS384", "rsa"), &claims, &RSA_PKCS1_SHA256), Why::Signature),
        (keyring.rsa(&head("RS256", "other"), &claims, &RSA_PKCS1_SHA256), Why::Key),
        (keyring.rsa(&head("RS256", "ed25519"), &claims, &RSA_PKCS1_SHA256), Why::Algorithm),
    ] {
        assert_eq!(judged(&issuers, &token).await, Err(why), "{token}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let keyring = Keyring::new();
    let issuers = keyring.issuers();
    let jwk = keyring.rsa_jwk();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let secrets = [
        keyring.set().to_string().into_bytes(),
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        n,
        b"a secret that everybody knows".to_vec(),
        Vec::new(),
    ];
    for secret in secrets {
        for kid in ["rsa", "p256", "oct", "none"] {
            for alg in ["HS256", "RS256", "none", "None", ""] {
                let head = json!({ "alg": alg, "kid": kid }).to_string();
                let token = signed(&head, &claims().to_string(), |message| {
                    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                    hmac::sign(&key, message).as_ref().to_vec()
                });
                assert!(judged(&issuers, &token).await.is_err(), "{head}");
                let bare = token.rsplit_once('.').unwrap().0;
                assert!(judged(&issuers, &format!("{bare}.")).await.is_err(), "{head}");
            }
        }
        let head = r#"{"alg":"HS256"}"#;
        let token = signed(head, &claims().to_string(), |message| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            hmac::sign(&key, message).as_ref().to_vec()
        });
        assert_eq!(judged(&issuers, &token).await, Err(Why::Key));
    }
}

#[tokio::test]
async fn what_was_signed_is_what_counts() {
    let keyring = Keyring::new();
    let issuers = keyring.issuers();
    let token = keyring.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let altered = encoded(with("repository", json!("acme/other")).to_string());
    for forged in [
        format!("{}.{altered}.{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], encoded([0; 256])),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][..40]),
        format!("{}.{}.{}A", parts[0], parts[1], parts[2]),
        format!("{token}="),
    ] {
        assert!(judged(&issuers, &forged).await.is_err(), "{forged}");
    }
    // A key that the token brings along, and the address of one.
    let stranger = Keyring::new();
    for head in [
        json!({ "alg": "RS256", "kid": "rsa", "jwk": stranger.rsa_jwk() }),
        json!({ "alg": "RS256", "jwk": stranger.rsa_jwk() }),
        json!({ "alg": "RS256", "kid": "rsa", "jku": stranger.file(), "x5u": "http://127.0.0.1:9/" }),
    ] {
        let token = stranger.rsa(&head, &claims(), &RSA_PKCS1_SHA256);
        assert_eq!(judged(&issuers, &token).await, Err(Why::Signature), "{head}");
    }
    let critical = json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false });
    let token = keyring.rsa(&critical, &claims(), &RSA_PKCS1_SHA256);
    assert_eq!(judged(&issuers, &token).await, Err(Why::Critical));
}

#[tokio::test]
async fn claims_decide_whose_it_is() {
    let keyring = Keyring::new();
    let issuers = keyring.issuers();
    for (claims, expected) in [
        (claims(), Ok("ci")),
        (with("ref", json!("refs/tags/v1")), Ok("release")),
        (with("ref", json!("refs/tags/v1/x")), Ok("ci")),
        (with("ref", Value::Null), Ok("ci")),
        (with("repository", json!(["x", "acme/models"])), Ok("ci")),
        (with("aud", json!(["x", "models"])), Ok("ci")),
        (with("repository", json!("acme/models-evil")), Ok("ci")),
        (with("repository", json!("acme-evil/models")), Err(Why::Account)),
        (with("repository", json!("evil/acme/models")), Err(Why::Account)),
        (with("repository", json!("acme/models/evil")), Err(Why::Account)),
        (with("repository", json!({ "acme/models": 1 })), Err(Why::Account)),
        (with("repository", Value::Null), Err(Why::Account)),
        (with("aud", json!("models-evil")), Err(Why::Audience)),
        (with("aud", Value::Null), Err(Why::Audience)),
        (with("iss", json!("https://ci.example.org/")), Err(Why::Issuer)),
        (with("iss", json!(["https://ci.example.org"])), Err(Why::Issuer)),
        (with("iss", Value::Null), Err(Why::Issuer)),
        (with("exp", json!(NOW)), Err(Why::Expired)),
        (with("exp", json!((NOW + 300).to_string())), Err(Why::Form)),
        (with("exp", Value::Null), Err(Why::Expired)),
        (with("nbf", json!(NOW + 61)), Err(Why::Early)),
        (with("iat", json!(NOW + 61)), Err(Why::Early)),
        (with("pad", json!("x".repeat(jwt::BYTES))), Err(Why::Large)),
    ] {
        let judged = judged(&issuers, &keyring.token(&claims)).await;
        assert_eq!(judged, expected.map(str::to_owned), "{claims}");
    }
    // Of two claims of one name neither counts, though they were signed.
    let twice = claims().to_string().replacen('{', "{\"repository\":\"evil/x\",", 1);
    let head = r#"{"alg":"RS256","kid":"rsa"}"#;
    let token = signed(head, &twice, |message| {
        let mut signature = vec![0; keyring.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        keyring.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        signature
    });
    assert_eq!(judged(&issuers, &token).await, Err(Why::Form));
}

#[tokio::test]
async fn a_file_that_changes_is_read_again() {
    let (keyring, other) = (Keyring::new(), Keyring::new());
    let issuers = keyring.issuers();
    let token = other.token(&claims());
    assert_eq!(judged(&issuers, &token).await, Err(Why::Signature));
    // What cannot be read changes nothing.
    fs::write(keyring.file(), "{").unwrap();
    assert_eq!(judged(&issuers, &keyring.token(&claims())).await, Ok("ci".to_owned()));
    assert!(Issuers::open(&[settings(&keyring.file())], None).is_err());
    fs::write(keyring.file(), other.set().to_string() + " ").unwrap();
    assert_eq!(judged(&issuers, &token).await, Ok("ci".to_owned()));
    assert_eq!(judged(&issuers, &keyring.token(&claims())).await, Err(Why::Signature));
}

#[tokio::test]
async fn an_account_is_known_by_all_that_it_is() {
    let keyring = Keyring::new();
    let issuers = keyring.issuers();
    let outside = issuers.verified(&keyring.token(&claims()), NOW).await.unwrap();
    assert_eq!((outside.name.as_str(), outside.expires), ("ci", NOW + 300));
    assert_eq!(issuers.named(&outside.mark), Some("ci"));
    // With other claims it is another, and tokens that were given for it end.
    let mut changed = settings(&keyring.file());
    changed.account[1].claims.insert("ref".to_owned(), "refs/heads/main".to_owned());
    let issuers = Issuers::open(&[changed], Some(&issuers)).unwrap();
    assert_eq!(issuers.named(&outside.mark), None);
}
