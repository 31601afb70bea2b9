//! Sizes as people write them.

use std::{fmt, str::FromStr};

/// A number of bytes: `4GiB`, `4GB`, `500M` (a bare letter is binary), `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let refuse = || format!("`{text}` is no size: write for instance 4GiB, 4GB or 500M");
        let factor = factor(unit.trim()).ok_or_else(refuse)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(refuse);
        }
        let value = number.parse::<f64>().map_err(|_| refuse())? * factor as f64;
        // Below 2^53 every whole number of bytes is exact; nothing larger has a fraction to write.
        if value.is_finite() && (0.0..9e15).contains(&value) {
            Ok(Self(value as u64))
        } else {
            Err(refuse())
        }
    }
}

fn factor(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    let power = match lower.trim_end_matches('b').trim_end_matches('i') {
        "" => return matches!(lower.as_str(), "" | "b").then_some(1),
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let base: u64 = if lower.len() == 2 && lower.ends_with('b') { 1000 } else { 1024 };
    matches!(lower.get(1..), Some("" | "b" | "ib")).then(|| base.pow(power))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        if unit == "B" {
            f.pad(&format!("{} B", self.0))
        } else {
            f.pad(&format!("{value:.2} {unit}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("7B", 7),
            ("4GiB", 4 << 30),
            ("4GB", 4_000_000_000),
            ("4G", 4 << 30),
            ("500m", 500 << 20),
            ("1.5K", 1536),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "G", "4X", "4GiBs", "-1", "1e999", "99999999999T", "4iB", "NaN"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_binary_units() {
        assert_eq!(Size(999).to_string(), "999 B");
        assert_eq!(Size(98 << 20).to_string(), "98.00 MiB");
        assert_eq!(Size(5_368_709_120).to_string(), "5.00 GiB");
    }
}
