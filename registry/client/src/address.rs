//! Where a package is: registry, repository, tag or digest.

use std::{fmt, net::IpAddr};

use mdl_store::{Digest, Name, Reference};
use url::Url;

use crate::{Error, Result, error::shown};

/// A package on a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `host[:port]`.
    pub host: String,
    /// The repository.
    pub name: Name,
    /// The tag or digest.
    pub reference: Reference,
}

impl Address {
    /// The same repository, another manifest.
    #[must_use]
    pub fn at(&self, digest: &Digest) -> Self {
        Self { reference: Reference::Digest(digest.clone()), ..self.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}/{}{mark}{}", self.host, self.name, self.reference)
    }
}

/// Whether a host name means this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// The root of a registry, reached by this scheme.
///
/// # Errors
/// [`Error::Refused`] for text that is no `host[:port]`.
pub(crate) fn root(scheme: &str, host: &str) -> Result<Url> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || ".-:[]_".contains(c));
    let refused = || {
        Error::refused(format!("`{host}` is no host"), "a registry is given as host or host:port")
    };
    if host.is_empty() || host.contains(odd) {
        return Err(refused());
    }
    // What Docker Hub is called is not where it answers.
    let host =
        if matches!(host, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { host };
    Url::parse(&format!("{scheme}://{host}/")).map_err(|_| refused())
}

/// What a repository is called on a host: on Docker Hub a name alone is of `library`.
pub(crate) fn remote_name(host: &str, name: &Name) -> String {
    let hub = matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    if hub && !name.as_str().contains('/') {
        return format!("library/{name}");
    }
    name.to_string()
}

/// An address as it may be shown and logged: what follows the path may be a secret.
pub(crate) fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    shown(&format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()))
}

/// Whether two addresses are of one server: only then do credentials follow.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_number() {
        for (host, loopback) in [
            ("localhost:5000", true),
            ("a.localhost", true),
            ("127.0.0.1:5000", true),
            ("127.8.9.1", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
            ("[fe80::1]", false),
        ] {
            assert_eq!(is_loopback(&root("http", host).unwrap()), loopback, "{host}");
        }
    }

    #[test]
    fn hosts_are_checked_and_secrets_not_shown() {
        for bad in ["", "a/b", "user@host", "a b", "host:port", "a?b"] {
            assert!(root("https", bad).is_err(), "{bad}");
        }
        assert_eq!(root("https", "docker.io").unwrap().as_str(), "https://registry-1.docker.io/");
        let url = Url::parse("https://me:secret@host:8443/v2/a?signature=secret#x").unwrap();
        assert_eq!(place(&url), "https://host:8443/v2/a");
    }

    #[test]
    fn one_server_is_scheme_host_and_port() {
        let url = |text: &str| Url::parse(text).unwrap();
        let home = url("https://a.example/x");
        assert!(same_origin(&home, &url("https://a.example:443/y")));
        for other in ["http://a.example/", "https://b.a.example/", "https://a.example:444/"] {
            assert!(!same_origin(&home, &url(other)), "{other}");
        }
    }
}
