//! How often: what is asked of accounts and addresses, and which proxies say who comes.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Most in a second, a minute or an hour that a rate may be.
const MOST: u64 = 1_000_000;

const SPANS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

/// The `[rates]` section. What goes beyond a rate is told when to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Requests of one account, with all its keys and tokens.
    pub account: Often,
    /// Requests of one address without an account.
    pub address: Often,
    /// Logins of one address that fail.
    pub failures: Often,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<Net>,
}

/// So often: `10/s`, `600/m`, `5000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at once or one after the other.
    pub(crate) count: u64,
    /// Seconds in which as many come back.
    pub(crate) seconds: u64,
}

/// A rate, or `never` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Often(pub Option<Rate>);

/// An address, or all that begin as it does: `10.0.0.1`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

impl Default for Rates {
    fn default() -> Self {
        let failures = Often(Some(Rate { count: 60, seconds: 60 }));
        Self { account: Often(None), address: Often(None), failures, proxies: Vec::new() }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no rate: write `10/s`, `600/m` or `5000/h`, {MOST} at most");
        let (count, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let seconds = SPANS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
        let plain = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse::<u64>().ok().filter(|count| plain && (1..=MOST).contains(count));
        count.zip(seconds).map(|(count, seconds)| Self { count, seconds }).ok_or_else(wrong)
    }
}

impl FromStr for Often {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "never" => Ok(Self(None)),
            other => other
                .parse()
                .map(|rate| Self(Some(rate)))
                .map_err(|wrong: String| format!("{wrong}, or `never`")),
        }
    }
}

impl Net {
    /// Whether an address is one of them.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let shared = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        shared >= u32::from(self.bits)
    }

    fn longest(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address: write `10.0.0.1` or `fd00::/8`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = Self::longest(address);
        let bits = bits.unwrap_or(longest);
        if bits == 0 {
            return Err(format!("`{text}` is every address: anybody could say who they are"));
        }
        if bits > longest {
            return Err(wrong());
        }
        // Addresses of version 4 that are written as ones of version 6 are compared as what they are.
        match address.to_canonical() {
            short if short.is_ipv4() && longest == 128 => match bits.checked_sub(96) {
                Some(bits @ 1..) => Ok(Self { address: short, bits }),
                _ => Err(wrong()),
            },
            address => Ok(Self { address, bits }),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SPANS.iter().find(|(_, seconds)| *seconds == self.seconds);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("never"),
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == Self::longest(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.bits)
    }
}

macro_rules! written {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

written!(Often);
written!(Net);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, count, seconds) in [("10/s", 10, 1), ("600/m", 600, 60), ("5000/h", 5000, 3600)]
        {
            assert_eq!(text.parse(), Ok(Often(Some(Rate { count, seconds }))), "{text}");
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("never".parse(), Ok(Often(None)));
        for text in ["", "10", "10/", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "10/d", "1000001/s"] {
            assert!(text.parse::<Often>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_held_by_those_that_begin_as_they_do() {
        for (net, address, holds) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "a00::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
        ] {
            let held = net.parse::<Net>().unwrap().holds(address.parse().unwrap());
            assert_eq!(held, holds, "{net} {address}");
        }
        for text in [
            "",
            "10.0.0.1/33",
            "fd00::/129",
            "0.0.0.0/0",
            "::/0",
            "host",
            "10.0.0.1/",
            "::ffff:0:0/96",
        ] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }
}
