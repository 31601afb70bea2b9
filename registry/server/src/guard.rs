//! Who may ask at all: a web page that a browser opened must not reach a registry on loopback.
//!
//! A name that an attacker controls can be made to resolve to a loopback address, so a request has to name a host that is
//! ours. And a page of another origin can send requests that write, so those with a foreign `Origin` are refused.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, StatusCode, Uri, header};

use crate::{config::PublicUrl, refusal::Refusal, views::origin::Origin};

/// Checks a request and says by which origin it came, or by which it is to be answered.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    local: SocketAddr,
    public: Option<&PublicUrl>,
    secure: bool,
) -> Result<Origin, Refusal> {
    let host = host(uri, headers)?;
    if !is_ours(&host, local, public) {
        let what = "this registry is not known by the host that the request names; \
                    `public_url` in its configuration sets another";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "DENIED", what));
    }
    let came = Origin { host, secure };
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if !reads && is_foreign(headers, &came, public) {
        let what = "a page of another origin may not write here";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", what));
    }
    Ok(match public {
        Some(url) => Origin { host: url.host.clone(), secure: url.secure },
        None => came,
    })
}

/// The host that a request names, in its target or the one `Host` header.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, Refusal> {
    let wrong = |what: &'static str| Refusal::bad("UNSUPPORTED", what);
    let mut named = headers.get_all(header::HOST).iter();
    let stated = match (named.next(), named.next()) {
        (Some(_), Some(_)) => return Err(wrong("the request has two Host headers")),
        (Some(host), None) => {
            Some(host.to_str().map_err(|_| wrong("the Host header is no text"))?.to_owned())
        }
        (None, _) => None,
    };
    let target = uri.authority().map(|authority| authority.as_str().to_owned());
    let host = match (target, stated) {
        (Some(target), Some(stated)) if !target.eq_ignore_ascii_case(&stated) => {
            return Err(wrong("the request names two hosts"));
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(wrong("the request names no host")),
    };
    Ok(host.to_ascii_lowercase())
}

/// Host and port; without brackets.
fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    match rest.strip_prefix(':') {
        Some(port) => Some((name, Some(port.parse().ok()?))),
        None => rest.is_empty().then_some((name, None)),
    }
}

fn is_ours(host: &str, local: SocketAddr, public: Option<&PublicUrl>) -> bool {
    let public = public.and_then(|url| split(&url.host));
    let Some((name, port)) = split(host) else { return false };
    if public.is_some_and(|(known, _)| known == name) {
        return true;
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    // An address cannot be made to resolve to another.
    let is = |address: IpAddr| {
        let address = address.to_canonical();
        address.is_loopback()
            || address == local.ip().to_canonical() && port.unwrap_or(local.port()) == local.port()
    };
    name.parse::<IpAddr>().is_ok_and(is)
}

/// Whether a browser says that a page of another origin sends this.
fn is_foreign(headers: &HeaderMap, came: &Origin, public: Option<&PublicUrl>) -> bool {
    let same_site =
        |value: &http::HeaderValue| [&b"same-origin"[..], b"none"].contains(&value.as_bytes());
    if headers.get("sec-fetch-site").is_some_and(|value| !same_site(value)) {
        return true;
    }
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let ours = [Some(came.base()), public.map(ToString::to_string)];
        !ours.contains(&Some(origin))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, pairs: &[(&str, &str)]) -> Result<Origin, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let public = PublicUrl { secure: true, host: "models.example.org".to_owned() };
        let local = "10.0.0.7:5050".parse().unwrap();
        let uri = "/v2/".parse().unwrap();
        let public = pairs.iter().any(|(name, _)| *name == "x-public").then_some(&public);
        check(method, &uri, &headers, local, public, false).map_err(|refusal| refusal.status)
    }

    #[test]
    fn only_hosts_of_ours_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:5050",
            "localhost:9",
            "127.0.0.1:05050",
            "127.9.9.9",
            "[::1]:5050",
            "10.0.0.7:5050",
            "r.localhost:5050",
        ] {
            assert!(ask(&Method::GET, &[("host", host)]).is_ok(), "{host}");
        }
        for host in [
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "10.0.0.8:5050",
            "10.0.0.7:80",
            "[::1",
            "[::1]x",
            "localhost:x",
            "localhost:5050:1",
            "",
            "2130706433",
        ] {
            let refused = ask(&Method::GET, &[("host", host)]);
            assert_eq!(refused, Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        assert_eq!(ask(&Method::GET, &[]), Err(StatusCode::BAD_REQUEST));
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(ask(&Method::GET, &two), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn the_public_address_is_what_answers_say() {
        for host in ["models.example.org", "models.example.org:8443", "localhost:5050"] {
            let origin = ask(&Method::GET, &[("host", host), ("x-public", "")]).unwrap();
            assert_eq!(origin.base(), "https://models.example.org");
        }
        let origin = ask(&Method::GET, &[("host", "localhost:5050")]).unwrap();
        assert_eq!(origin.base(), "http://localhost:5050");
    }

    #[test]
    fn pages_of_others_may_not_write() {
        let put = |pairs: &[(&str, &str)]| {
            let mut all = vec![("host", "localhost:5050")];
            all.extend(pairs);
            ask(&Method::PUT, &all)
        };
        assert!(put(&[]).is_ok());
        assert!(put(&[("origin", "http://localhost:5050")]).is_ok());
        assert!(put(&[("x-public", ""), ("origin", "https://models.example.org")]).is_ok());
        for pair in [
            ("origin", "http://example.org"),
            ("origin", "http://localhost"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(put(&[pair]), Err(StatusCode::FORBIDDEN), "{pair:?}");
        }
        let read = [("host", "localhost:5050"), ("origin", "http://example.org")];
        assert!(ask(&Method::GET, &read).is_ok());
    }
}
