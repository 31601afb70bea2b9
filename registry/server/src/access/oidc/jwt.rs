//! A JSON Web Token, read strictly: three parts, no name twice, nothing in its head that we would have to understand and do
//! not. Everything it says is a claim until its signature is verified.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mdl_artifact::Pattern;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Bytes of a token.
pub(super) const BYTES: usize = 16 << 10;
/// Seconds by which clocks may differ.
const SKEW: f64 = 60.0;
/// A token has more bytes than any password that bcrypt looks at.
const LEAST: usize = 73;

/// Why a token holds for nobody: for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Large,
    Form,
    Critical,
    Type,
    Issuer,
    Key,
    Algorithm,
    Signature,
    Audience,
    Expired,
    Early,
    Account,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Large => "it is too large",
            Self::Form => "it is not well formed",
            Self::Critical => "its head asks for what is not understood here",
            Self::Type => "it is a token of another type",
            Self::Issuer => "its issuer is not configured",
            Self::Key => "its issuer has no such key",
            Self::Algorithm => "its key is not for its algorithm",
            Self::Signature => "its signature is wrong",
            Self::Audience => "it is for another audience",
            Self::Expired => "it is over, or says not when it will be",
            Self::Early => "it does not hold yet",
            Self::Account => "its claims fit no account",
        })
    }
}

/// Whether text looks like a token, rather than like a password or key.
pub(crate) fn is_one(text: &str) -> bool {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() >= LEAST
        && text.starts_with("eyJ")
        && text.matches('.').count() == 2
        && text.chars().all(is_sound)
}

/// What a claim says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Claim {
    Text(String),
    Truth(bool),
    Whole(i128),
    Real(f64),
    Many(Vec<Self>),
    /// Nothing, or an object.
    Odd,
}

/// Claims by name.
#[derive(Debug)]
pub(super) struct Claims(BTreeMap<String, Claim>);

/// A token whose signature is not verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// What the signature is over.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
    pub(super) algorithm: String,
    pub(super) key: Option<String>,
    pub(super) claims: Claims,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Why> {
        if text.len() > BYTES {
            return Err(Why::Large);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Why::Form)?;
        let (head, payload) = message.split_once('.').ok_or(Why::Form)?;
        if payload.contains('.') {
            return Err(Why::Form);
        }
        let head = object(head)?;
        // Also `crit` of nothing: it must not be empty, and nothing that it could name is understood.
        if head.0.contains_key("crit") {
            return Err(Why::Critical);
        }
        let key = match head.0.get("kid") {
            None => None,
            Some(Claim::Text(key)) => Some(key.clone()),
            Some(_) => return Err(Why::Form),
        };
        match head.0.get("typ") {
            None => {}
            Some(Claim::Text(kind)) if kind.eq_ignore_ascii_case("JWT") => {}
            Some(_) => return Err(Why::Type),
        }
        let Some(Claim::Text(algorithm)) = head.0.get("alg") else { return Err(Why::Form) };
        let algorithm = algorithm.clone();
        Ok(Self { message, signature, algorithm, key, claims: object(payload)? })
    }
}

fn object(part: &str) -> Result<Claims, Why> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Why::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| Why::Form)
}

impl Claims {
    /// The text of a claim.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Claim::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is for an audience.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        let is = |claim: &Claim| matches!(claim, Claim::Text(text) if text == audience);
        match self.0.get("aud") {
            Some(Claim::Many(all)) => all.iter().any(is),
            Some(one) => is(one),
            None => false,
        }
    }

    /// Until when it holds, in seconds since 1970, if it does now.
    pub(super) fn holds(&self, now: u64) -> Result<u64, Why> {
        let time = |name: &str| match self.0.get(name) {
            None => Ok(None),
            Some(Claim::Whole(seconds)) => Ok(Some(*seconds as f64)),
            Some(Claim::Real(seconds)) => Ok(Some(*seconds)),
            Some(_) => Err(Why::Form),
        };
        let expires = time("exp")?.ok_or(Why::Expired)?;
        let latest = now as f64 + SKEW;
        for name in ["nbf", "iat"] {
            if time(name)?.is_some_and(|from| from > latest) {
                return Err(Why::Early);
            }
        }
        if expires <= now as f64 {
            return Err(Why::Expired);
        }
        // Rounded down, and what is too large becomes the largest.
        Ok(expires as u64)
    }

    /// Whether a claim is there and says what fits, or has an element that does.
    pub(super) fn fits(&self, name: &str, pattern: &Pattern) -> bool {
        let fits = |claim: &Claim| claim.shown().is_some_and(|text| pattern.fits_whole(&text));
        match self.0.get(name) {
            Some(Claim::Many(all)) => all.iter().any(fits),
            Some(one) => fits(one),
            None => false,
        }
    }
}

impl Claim {
    /// As text; not what may be written in several ways.
    fn shown(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Truth(truth) => Some(truth.to_string().into()),
            Self::Whole(number) => Some(number.to_string().into()),
            Self::Real(_) | Self::Many(_) | Self::Odd => None,
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Object)
    }
}

/// Reads an object in which no name stands twice: another reader might take the other one.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, claim)) = map.next_entry::<String, Claim>()? {
            if claims.insert(name, claim).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Claims(claims))
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Said)
    }
}

struct Said;

impl<'de> Visitor<'de> for Said {
    type Value = Claim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim")
    }

    fn visit_str<E>(self, text: &str) -> Result<Claim, E> {
        Ok(Claim::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Claim, E> {
        Ok(Claim::Truth(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Claim, E> {
        Ok(Claim::Whole(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Claim, E> {
        Ok(Claim::Whole(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Claim, E> {
        Ok(Claim::Real(number))
    }

    fn visit_unit<E>(self) -> Result<Claim, E> {
        Ok(Claim::Odd)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Claim, A::Error> {
        let mut claims = Vec::new();
        while let Some(claim) = all.next_element()? {
            claims.push(claim);
        }
        Ok(Claim::Many(claims))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claim, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Claim::Odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Result<Claims, Why> {
        object(&URL_SAFE_NO_PAD.encode(text))
    }

    fn read(head: &str, payload: &str) -> Result<String, Why> {
        let [head, payload] = [head, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = format!("{head}.{payload}.c2lnbmVk");
        Unverified::read(&text).map(|token| token.algorithm)
    }

    #[test]
    fn a_head_says_nothing_that_is_not_understood() {
        for (head, expected) in [
            (r#"{"alg":"RS256"}"#, Ok("RS256".to_owned())),
            (r#"{"alg":"RS256","typ":"jwt","kid":"k"}"#, Ok("RS256".to_owned())),
            // These are not looked at, and so not followed.
            (
                r#"{"alg":"RS256","jku":"https://evil","x5u":"x","jwk":{},"x5c":["x"]}"#,
                Ok("RS256".to_owned()),
            ),
            (r#"{"alg":"RS256","crit":["exp"]}"#, Err(Why::Critical)),
            (r#"{"alg":"RS256","crit":[]}"#, Err(Why::Critical)),
            (r#"{"alg":"RS256","crit":null}"#, Err(Why::Critical)),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, Err(Why::Type)),
            (r#"{"alg":"RS256","kid":7}"#, Err(Why::Form)),
            (r#"{"alg":"RS256","alg":"none"}"#, Err(Why::Form)),
            (r#"{"alg":"RS256","\u0061lg":"none"}"#, Err(Why::Form)),
            (r#"{"alg":"RS256","kid":"a","kid":"b"}"#, Err(Why::Form)),
            (r#"{"alg":["RS256"]}"#, Err(Why::Form)),
            (r#"{"typ":"JWT"}"#, Err(Why::Form)),
            ("[]", Err(Why::Form)),
            ("", Err(Why::Form)),
        ] {
            assert_eq!(read(head, "{}"), expected, "{head}");
        }
        for text in ["", ".", "..", "a.b", "e30.e30.e30.e30", "e30.e30", "e30=.e30.x", "e30.e31.x"]
        {
            assert!(Unverified::read(text).is_err(), "{text}");
        }
        let huge = format!("{}.e30.x", "e".repeat(BYTES));
        assert_eq!(Unverified::read(&huge).unwrap_err(), Why::Large);
        assert!(claims(&"[".repeat(9000)).is_err());
        assert!(claims(&format!("{{\"a\":{}", "[".repeat(9000))).is_err());
    }

    #[test]
    fn no_claim_stands_twice() {
        for text in [
            r#"{"iss":"a","iss":"b"}"#,
            r#"{"iss":"a","i\u0073s":"b"}"#,
            r#"{"repository":"acme/models","repository":"acme/other"}"#,
            r#"{"exp":1,"exp":2}"#,
        ] {
            assert_eq!(claims(text).unwrap_err(), Why::Form, "{text}");
        }
    }

    #[test]
    fn times_are_numbers_and_the_present_is_between_them() {
        let now = 1_000_000;
        for (text, expected) in [
            (r#"{"exp":1000001}"#, Ok(1_000_001)),
            (r#"{"exp":1000001.7}"#, Ok(1_000_001)),
            (r#"{"exp":1e300}"#, Ok(u64::MAX)),
            (r#"{"exp":1000000}"#, Err(Why::Expired)),
            (r#"{"exp":-1}"#, Err(Why::Expired)),
            ("{}", Err(Why::Expired)),
            (r#"{"exp":null}"#, Err(Why::Form)),
            (r#"{"exp":"1000001"}"#, Err(Why::Form)),
            (r#"{"exp":[1000001]}"#, Err(Why::Form)),
            (r#"{"exp":1000001,"nbf":1000060,"iat":1000060}"#, Ok(1_000_001)),
            (r#"{"exp":1000099,"nbf":1000061}"#, Err(Why::Early)),
            (r#"{"exp":1000099,"iat":1000061}"#, Err(Why::Early)),
            (r#"{"exp":1000099,"nbf":"1"}"#, Err(Why::Form)),
        ] {
            assert_eq!(claims(text).unwrap().holds(now), expected, "{text}");
        }
    }

    #[test]
    fn an_audience_is_named_whole() {
        for (text, is_for) in [
            (r#"{"aud":"models"}"#, true),
            (r#"{"aud":["other","models"]}"#, true),
            (r#"{"aud":"models.evil"}"#, false),
            (r#"{"aud":"other models"}"#, false),
            (r#"{"aud":["Models",["models"]]}"#, false),
            (r#"{"aud":{"models":1}}"#, false),
            (r#"{"aud":[]}"#, false),
            ("{}", false),
        ] {
            assert_eq!(claims(text).unwrap().is_for("models"), is_for, "{text}");
        }
    }

    #[test]
    fn claims_fit_patterns_whole() {
        let said = claims(
            r#"{"repository":"acme/models","ref":"refs/heads/a/b","ok":true,"id":7,"big":1e3,"half":7.0,
                "groups":["x","acme/y",9,["acme/deep"]],"none":null,"object":{"a":1}}"#,
        )
        .unwrap();
        for (name, pattern, fits) in [
            ("repository", "acme/models", true),
            ("repository", "acme/*", true),
            ("repository", "acme/model", false),
            ("repository", "models", false),
            ("repository", "*", false),
            ("repository", "**", true),
            ("repository", "acme/models-evil", false),
            ("repository", "Acme/models", false),
            ("ref", "refs/heads/*", false),
            ("ref", "refs/heads/**", true),
            ("ok", "true", true),
            ("id", "7", true),
            ("half", "7", false),
            ("big", "1000", false),
            ("groups", "x", true),
            ("groups", "acme/y", true),
            ("groups", "9", true),
            ("groups", "acme/deep", false),
            ("groups", "z", false),
            ("none", "**", false),
            ("object", "**", false),
            ("missing", "**", false),
        ] {
            assert_eq!(said.fits(name, &Pattern::new(pattern)), fits, "{name} {pattern}");
        }
    }

    #[test]
    fn tokens_are_told_from_passwords_and_keys() {
        let token = format!("eyJ{}.e30.{}", "a".repeat(40), "b".repeat(40));
        assert!(is_one(&token));
        for text in
            ["", "eyJ.a.b", "mdlt1.a.b", &token[1..], &format!("{token}.x"), &format!("{token}=")]
        {
            assert!(!is_one(text), "{text}");
        }
    }
}
