//! What a view answers, before it becomes bytes on a connection.

use http::StatusCode;
use mdl_store::{Digest, Name};

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Text, whole.
    Text { status: StatusCode, media_type: &'static str, body: String, headers: Headers },
    /// A blob, to be streamed in whole or in the range that was asked for.
    Blob { repo: Name, digest: Digest, headers: Headers },
}

/// Headers beyond those that every answer has.
pub(crate) type Headers = Vec<(&'static str, String)>;

impl Answer {
    /// JSON.
    pub(crate) fn json(status: StatusCode, value: &serde_json::Value, headers: Headers) -> Self {
        Self::Text { status, media_type: "application/json", body: value.to_string(), headers }
    }

    /// A page.
    pub(crate) fn page(status: StatusCode, body: String) -> Self {
        Self::Text { status, media_type: "text/html; charset=utf-8", body, headers: Vec::new() }
    }
}
