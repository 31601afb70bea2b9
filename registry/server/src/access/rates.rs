//! How often: buckets of requests for each account and address, and of logins that fail. A bucket holds as many as its
//! rate says and is refilled evenly; kept of it is only when it will be full again. And the address that a request comes
//! from, where a proxy that is believed says so.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use http::HeaderMap;

use super::rights::{Rights, Who};
use crate::{
    config::{Net, Rate, Rates as Settings},
    refusal::Refusal,
};

/// Buckets of one kind that are kept at once, some 64 bytes each; who comes when there are more shares one with all others
/// that do.
const MOST: usize = 100_000;
/// How often buckets that are full again are looked for, at most.
const SWEEP: u64 = SECOND;
/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// What proxies say.
const FORWARDED: &str = "x-forwarded-for";

/// Whose a bucket is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    V4(u32),
    /// Who has one address of version 6 has the rest of its /64 too.
    V6(u64),
    Account(String),
    /// One of a CI system, which may be called as an account of ours.
    Outside(String),
}

impl Owner {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Buckets of one kind.
#[derive(Debug)]
struct Buckets {
    rate: Option<Rate>,
    /// When each is full again; those that are full are as if they were not there.
    full: BTreeMap<Owner, u64>,
    /// The same of the bucket that is shared.
    shared: u64,
    swept: u64,
    most: usize,
}

impl Buckets {
    fn new(rate: Option<Rate>, most: usize) -> Self {
        Self { rate, full: BTreeMap::new(), shared: 0, swept: 0, most }
    }

    /// Takes one out of somebody's bucket, or says in how many seconds there is one.
    fn take(&mut self, owner: &Owner, now: u64) -> Result<(), u64> {
        let Some(rate) = self.rate else { return Ok(()) };
        let each = each(rate);
        let full = self.bucket(owner, now);
        let taken = (*full).max(now) + each;
        let over = taken.saturating_sub(now + each * rate.count);
        if over > 0 {
            return Err(over.div_ceil(SECOND));
        }
        *full = taken;
        Ok(())
    }

    /// Puts back what was taken.
    fn put_back(&mut self, owner: &Owner) {
        let Some(rate) = self.rate else { return };
        let full = self.full.get_mut(owner).unwrap_or(&mut self.shared);
        *full = full.saturating_sub(each(rate));
    }

    fn bucket(&mut self, owner: &Owner, now: u64) -> &mut u64 {
        if !self.full.contains_key(owner) {
            if self.full.len() >= self.most && now.saturating_sub(self.swept) >= SWEEP {
                self.swept = now;
                self.full.retain(|_, full| *full > now);
            }
            if self.full.len() >= self.most {
                return &mut self.shared;
            }
        }
        self.full.entry(owner.clone()).or_default()
    }
}

/// Nanoseconds in which one comes back.
fn each(rate: Rate) -> u64 {
    rate.seconds * SECOND / rate.count.max(1)
}

/// Which rate was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Account,
    Address,
    Failures,
}

/// What goes beyond a rate.
#[derive(Debug)]
pub(crate) struct Beyond {
    pub(crate) kind: Kind,
    /// Seconds until it does no longer.
    pub(crate) wait: u64,
}

impl Beyond {
    /// The answer to it.
    pub(crate) fn refusal(&self) -> Refusal {
        let what = match self.kind {
            Kind::Account => "this account asks too often",
            Kind::Address => "too many requests come from this address without an account",
            Kind::Failures => "too many logins from this address failed",
        };
        Refusal::later(what, self.wait)
    }
}

/// All buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    begun: Instant,
    account: Mutex<Buckets>,
    address: Mutex<Buckets>,
    failures: Mutex<Buckets>,
}

impl Rates {
    pub(crate) fn new(settings: &Settings) -> Self {
        let buckets = |rate| Mutex::new(Buckets::new(rate, MOST));
        Self {
            begun: Instant::now(),
            account: buckets(settings.account.0),
            address: buckets(settings.address.0),
            failures: buckets(settings.failures.0),
        }
    }

    /// From now on these are the rates. Buckets of one that stays the same stay as full as they are.
    pub(crate) fn set(&self, settings: &Settings) {
        let all = [
            (&self.account, settings.account),
            (&self.address, settings.address),
            (&self.failures, settings.failures),
        ];
        for (buckets, rate) in all {
            let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
            if buckets.rate != rate.0 {
                *buckets = Buckets::new(rate.0, MOST);
            }
        }
    }

    fn take(&self, kind: Kind, owner: &Owner) -> Result<(), Beyond> {
        let buckets = match kind {
            Kind::Account => &self.account,
            Kind::Address => &self.address,
            Kind::Failures => &self.failures,
        };
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(owner, now).map_err(|wait| Beyond { kind, wait })
    }

    /// A request of an account, or of an address without one.
    pub(crate) fn request(&self, rights: &Rights, client: IpAddr) -> Result<(), Beyond> {
        match &rights.who {
            Who::Account(name) => self.take(Kind::Account, &Owner::Account(name.clone())),
            Who::Outside(name) => self.take(Kind::Account, &Owner::Outside(name.clone())),
            Who::Anybody | Who::Anonymous => self.stranger(client),
        }
    }

    /// A request of an address whose credentials hold for nobody.
    pub(crate) fn stranger(&self, client: IpAddr) -> Result<(), Beyond> {
        self.take(Kind::Address, &Owner::of(client))
    }

    /// A login that may fail. One that does not is to be forgiven.
    pub(crate) fn login(&self, client: IpAddr) -> Result<(), Beyond> {
        self.take(Kind::Failures, &Owner::of(client))
    }

    /// A login did not fail.
    pub(crate) fn forgive(&self, client: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.put_back(&Owner::of(client));
    }
}

/// The address that a request comes from: its peer's, or where that is a proxy that is believed, the last one it names
/// that is no such proxy. What stands before that, or before what is no address, anybody may have written.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[Net]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|net| net.holds(address));
    let mut client = peer.to_canonical();
    if !is_proxy(client) {
        return client;
    }
    let lines = headers.get_all(FORWARDED).iter().rev();
    for element in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        let Some(address) = address(element) else { return client };
        client = address;
        if !is_proxy(client) {
            return client;
        }
    }
    client
}

/// An address, which some proxies write with its port.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(last: u32) -> Owner {
        Owner::V4(last)
    }

    #[test]
    fn a_bucket_is_emptied_at_once_and_refilled_evenly() {
        let mut buckets = Buckets::new(Some(Rate { count: 6, seconds: 60 }), 10);
        let start = 1_000 * SECOND;
        for _ in 0..6 {
            assert_eq!(buckets.take(&owner(1), start), Ok(()));
        }
        assert_eq!(buckets.take(&owner(1), start), Err(10));
        assert_eq!(buckets.take(&owner(1), start + 1), Err(10), "rounded up, never down");
        assert_eq!(buckets.take(&owner(1), start + 9 * SECOND), Err(1));
        // Asking while there is none costs nothing; another's is its own.
        assert_eq!(buckets.take(&owner(2), start), Ok(()));
        assert_eq!(buckets.take(&owner(1), start + 10 * SECOND), Ok(()));
        assert_eq!(buckets.take(&owner(1), start + 10 * SECOND), Err(10));
        buckets.put_back(&owner(1));
        assert_eq!(buckets.take(&owner(1), start + 10 * SECOND), Ok(()));
        // Never fuller than full.
        let later = start + 10_000 * SECOND;
        assert_eq!((0..9).filter(|_| buckets.take(&owner(1), later).is_ok()).count(), 6);
        buckets.rate = None;
        assert!((0..99).all(|_| buckets.take(&owner(1), later).is_ok()));
    }

    #[test]
    fn what_is_said_is_when_there_is_one_again() {
        for (count, seconds) in [(1, 1), (7, 1), (600, 60), (5, 3600), (999_999, 1)] {
            let rate = Rate { count, seconds };
            let mut buckets = Buckets::new(Some(rate), 10);
            let first = (0..count + 5).filter(|_| buckets.take(&owner(1), 5).is_ok()).count();
            assert_eq!(first as u64, count, "{rate}");
            let wait = buckets.take(&owner(1), 5).unwrap_err();
            assert!(wait >= 1);
            assert_eq!(buckets.take(&owner(1), 5 + wait * SECOND), Ok(()), "{rate}");
        }
    }

    #[test]
    fn strangers_share_one_bucket_when_there_are_too_many() {
        let mut buckets = Buckets::new(Some(Rate { count: 2, seconds: 2 }), 3);
        let now = 100 * SECOND;
        for last in 0..3 {
            assert_eq!(buckets.take(&owner(last), now), Ok(()));
        }
        assert_eq!(buckets.take(&owner(3), now), Ok(()));
        assert_eq!(buckets.take(&owner(4), now), Ok(()));
        assert_eq!(buckets.take(&owner(5), now), Err(1), "shared");
        assert_eq!(buckets.take(&owner(0), now), Ok(()), "its own");
        assert_eq!(buckets.full.len(), 3);
        // Those that are full again make room.
        assert_eq!(buckets.take(&owner(5), now + SECOND), Ok(()));
        assert!(buckets.full.contains_key(&owner(5)) && buckets.full.len() <= 3);
    }

    #[test]
    fn settings_that_stay_keep_their_buckets() {
        let often = |text: &str| text.parse().unwrap();
        let mut settings = Settings { address: often("1/h"), ..Settings::default() };
        let rates = Rates::new(&settings);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(rates.stranger(client).is_ok());
        settings.account = often("5/m");
        rates.set(&settings);
        let beyond = rates.stranger(client).unwrap_err();
        assert!(beyond.kind == Kind::Address && (3590..=3600).contains(&beyond.wait));
        settings.address = often("2/h");
        rates.set(&settings);
        assert!(rates.stranger(client).is_ok());
    }

    #[test]
    fn an_account_is_one_and_an_address_of_version_6_its_network() {
        let of = |text: &str| Owner::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8:0:0:ffff::9"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(Owner::Account("ci".to_owned()), Owner::Outside("ci".to_owned()));
    }

    #[test]
    fn only_proxies_that_are_listed_say_who_comes() {
        let proxies = ["10.0.0.1", "10.0.0.2", "fd00::/8"].map(|it| it.parse().unwrap());
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.9"], "198.51.100.9"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.9"], "198.51.100.9"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            // What the client wrote itself stands before what the proxy adds.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.9"], "198.51.100.9"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.9"], "198.51.100.9"),
            ("10.0.0.1", &["198.51.100.9, 10.0.0.2"], "198.51.100.9"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.9", "10.0.0.2"], "198.51.100.9"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            // With a port, as some proxies have it.
            ("10.0.0.1", &["198.51.100.9:4711"], "198.51.100.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            // What is no address hides what is before it.
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1,"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1", ""], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1 198.51.100.9"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED, http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}
