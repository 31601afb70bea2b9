//! The scheme and host by which a reader came, for addresses and commands that work where they are read.

use std::net::IpAddr;

/// Scheme and host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// With the port, unless it is the scheme's own.
    pub(crate) host: String,
    /// Whether it is HTTPS.
    pub(crate) secure: bool,
}

impl Origin {
    /// `https://host`
    pub(crate) fn base(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }

    /// The host, with its port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The host without its port.
    fn hostname(&self) -> &str {
        match self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether the reader sits on the same machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let name = self.hostname();
        let address = || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        name.eq_ignore_ascii_case("localhost") || address()
    }

    /// Another spelling of the host: with a zero before the port. `None` where the port is not certain.
    ///
    /// Ollama's client for tensor models takes a redirect for final, and saves itself a second transfer of the blob,
    /// only where its target's host reads differently.
    pub(crate) fn alias(&self) -> Option<String> {
        let port = self.host.rsplit_once(':');
        match port.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
            Some((name, port)) => Some(match port.strip_prefix('0') {
                Some(rest) => format!("{name}:{rest}"),
                None => format!("{name}:0{port}"),
            }),
            None => self.secure.then(|| format!("{}:443", self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(host: &str) -> Origin {
        Origin { host: host.to_owned(), secure: false }
    }

    #[test]
    fn loopback_is_recognised() {
        for host in ["localhost", "LOCALHOST:5050", "127.0.0.1", "127.1.2.3:80", "[::1]:5050"] {
            assert!(origin(host).is_loopback(), "{host}");
        }
        for host in ["example.org", "10.0.0.1:80", "[fe80::1]", "localhost.example.org", ""] {
            assert!(!origin(host).is_loopback(), "{host}");
        }
    }

    #[test]
    fn an_alias_reads_differently_and_means_the_same() {
        for (host, alias) in [
            ("127.0.0.1:5050", Some("127.0.0.1:05050")),
            ("[::1]:5050", Some("[::1]:05050")),
            ("example.org:05050", Some("example.org:5050")),
            ("[::1]", None),
            ("example.org", None),
        ] {
            assert_eq!(origin(host).alias().as_deref(), alias);
        }
        let secure = Origin { host: "example.org".to_owned(), secure: true };
        assert_eq!(secure.alias().as_deref(), Some("example.org:443"));
        assert_eq!(origin("[::1]:5050").base(), "http://[::1]:5050");
    }
}
