//! An issuer of tokens with keys of its own, which signs whatever a test wants.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// An issuer with an RSA key and one on P-256, named `NAME-rsa` and `NAME-ec`.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a token of the issuer says by itself: it holds for five minutes, for `acme/models` on its main branch.
pub fn claims() -> Value {
    let now = now();
    json!({
        "iss": "https://ci.example.org", "aud": "models.example.org", "sub": "repo:acme/models",
        "iat": now, "nbf": now, "exp": now + 300,
        "repository": "acme/models", "ref": "refs/heads/main",
    })
}

/// The same with a claim changed, or with null taken away.
///
/// # Panics
/// Never.
pub fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if let Some(all) = claims.as_object_mut() {
        all.retain(|other, _| other != name);
        if !value.is_null() {
            all.insert(name.to_owned(), value);
        }
    }
    claims
}

#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
impl Issuer {
    /// One with new keys.
    ///
    /// # Panics
    /// Where there is no randomness.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    /// Its public RSA key as a JSON Web Key.
    pub fn rsa_jwk(&self) -> Value {
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        json!({
            "kty": "RSA", "kid": format!("{}-rsa", self.name), "use": "sig", "alg": "RS256",
            "n": encoded(parts.n), "e": encoded(parts.e),
        })
    }

    /// All its public keys.
    ///
    /// # Panics
    /// Never.
    pub fn jwks(&self) -> String {
        let point = self.ec.public_key().as_ref();
        let (x, y) = (point.get(1..33).unwrap(), point.get(33..).unwrap());
        let ec = json!({
            "kty": "EC", "crv": "P-256", "kid": format!("{}-ec", self.name),
            "x": encoded(x), "y": encoded(y),
        });
        json!({ "keys": [self.rsa_jwk(), ec] }).to_string()
    }

    /// What else its RSA key may be written as: DER, PEM, the modulus, the set.
    ///
    /// # Panics
    /// Never.
    pub fn written(&self) -> Vec<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = self.rsa.public_key().as_der().unwrap();
        let lines: Vec<String> = STANDARD
            .encode(der.as_ref())
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let jwk = self.rsa_jwk();
        let n = jwk.get("n").and_then(Value::as_str).unwrap_or_default().to_owned();
        vec![
            der.as_ref().to_vec(),
            pem.trim_end().as_bytes().to_vec(),
            pem.into_bytes(),
            URL_SAFE_NO_PAD.decode(&n).unwrap(),
            n.into_bytes(),
            jwk.to_string().into_bytes(),
            self.jwks().into_bytes(),
            Vec::new(),
        ]
    }

    /// A token as most issuers make it.
    pub fn token(&self, claims: &Value) -> String {
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": format!("{}-rsa", self.name) });
        self.rsa(&head, &claims.to_string())
    }

    /// A token that is signed with the key on P-256.
    pub fn ec_token(&self, claims: &Value) -> String {
        self.ec(&json!({ "alg": "ES256", "kid": format!("{}-ec", self.name) }), &claims.to_string())
    }

    /// Signed with RSA, whatever the head says.
    ///
    /// # Panics
    /// Never.
    pub fn rsa(&self, head: &Value, claims: &str) -> String {
        signed(head, claims, |message| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            let random = SystemRandom::new();
            self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
            signature
        })
    }

    /// Signed on P-256, whatever the head says.
    ///
    /// # Panics
    /// Never.
    pub fn ec(&self, head: &Value, claims: &str) -> String {
        signed(head, claims, |message| {
            self.ec.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        })
    }
}

/// With a secret, as symmetric tokens are.
pub fn hmac_token(head: &Value, claims: &str, secret: &[u8]) -> String {
    signed(head, claims, |message| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::sign(&key, message).as_ref().to_vec()
    })
}

/// Head and claims with whatever `sign` gives for them.
pub fn signed(head: &Value, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(head.to_string()), encoded(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encoded(signature))
}
