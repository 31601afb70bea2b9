//! The address by which clients reach a registry.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// Scheme and host, with the port where it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl {
    /// Whether it is HTTPS.
    pub(crate) secure: bool,
    /// Host and port.
    pub(crate) host: String,
}

impl TryFrom<String> for PublicUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |what: &str| format!("public_url is `{text}`: {what}");
        let url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("write http:// or https://")),
        };
        let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("a registry is reached at the root of a host: leave out the path"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("leave out the user"));
        }
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { secure, host })
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_of_a_host_serves() {
        let read = |text: &str| PublicUrl::try_from(text.to_owned());
        let url = read("https://Models.example.org:443/").unwrap();
        assert_eq!(url, PublicUrl { secure: true, host: "models.example.org".to_owned() });
        assert_eq!(read("http://[::1]:5050").unwrap().to_string(), "http://[::1]:5050");
        for bad in ["", "x", "ftp://x", "https://x/registry", "https://u@x", "https://x/?a"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
