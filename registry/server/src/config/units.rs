//! Spans of time and sizes as people write them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A span of time: `30s`, `5m`, `6h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A span of time, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

/// A number of bytes: `4096`, `"8 MiB"`, `"1.5 GB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const SPANS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// The longest span that is taken: a hundred years.
const LONGEST: u64 = 100 * 366 * 86_400;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no span of time: write `30s`, `5m`, `6h` or `7d`");
        let (number, unit) = parts(text);
        let scale = SPANS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let seconds = number.parse::<u64>().ok().zip(scale);
        let seconds = seconds.and_then(|(number, scale)| number.checked_mul(scale));
        match seconds {
            Some(seconds) if (1..=LONGEST).contains(&seconds) => {
                Ok(Self(Duration::from_secs(seconds)))
            }
            _ => Err(wrong()),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "never" => Ok(Self(None)),
            other => other
                .parse::<Span>()
                .map(|span| Self(Some(span.0)))
                .map_err(|wrong| format!("{wrong}, or `never`")),
        }
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: write `4096`, `8 MiB` or `1.5 GB`");
        let (number, unit) = parts(text);
        let unit = unit.to_ascii_lowercase();
        let scale = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = u32::try_from(part.len()).ok().filter(|digits| (1..=6).contains(digits));
        let numbers = whole.parse::<u64>().ok().zip(part.parse::<u64>().ok());
        let bytes = numbers.zip(scale).zip(digits).and_then(|(((whole, part), scale), digits)| {
            whole.checked_mul(scale)?.checked_add(part.checked_mul(scale)? / 10u64.pow(digits))
        });
        bytes.map(Self).ok_or_else(wrong)
    }
}

/// A number and its unit.
fn parts(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let whole = SPANS.iter().find(|(_, scale)| seconds.is_multiple_of(*scale));
        let (name, scale) = whole.copied().unwrap_or(("s", 1));
        write!(f, "{}{name}", seconds / scale)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => Span(span).fmt(f),
            None => f.write_str("never"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale)) {
            Some((name, scale)) => write!(f, "{} {name}", self.0 / scale),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// Reads text, or for sizes a bare number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

macro_rules! written {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = match Written::deserialize(from) {
                    Ok(Written::Number(number)) => number.to_string(),
                    Ok(Written::Text(text)) => text,
                    Err(_) => return Err(D::Error::custom("expected a number or text")),
                };
                text.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

written!(Span);
written!(Every);
written!(Bytes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_read_and_shown() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("6h", 21_600), ("7 d", 604_800)] {
            assert_eq!(text.parse::<Span>(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!("never".parse(), Ok(Every(None)));
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(Span(Duration::from_hours(2)).to_string(), "2h");
        for (text, bytes) in
            [("4096", 4096), ("8 MiB", 8 << 20), ("1.5 GB", 1_500_000_000), ("0.5KiB", 512)]
        {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        assert_eq!(Bytes(8 << 20).to_string(), "8 MiB");
        assert_eq!(Bytes(1000).to_string(), "1000 B");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "s", "0s", "-1s", "5", "5w", "1.5h", "99999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "MiB", "-1", "8 EiB", "1.2.3", "99999999999 TiB", "1.", "1.1234567"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
