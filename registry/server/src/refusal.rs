//! Why a request is refused, in the envelope that the OCI distribution specification gives for it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mdl_store::Error;
use serde_json::json;

use crate::body::Body;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// As the specification names it.
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// 400.
    pub(crate) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Where no endpoint is.
    pub(crate) fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this address")
    }

    /// Something that is not done here.
    pub(crate) fn method(allowed: &'static str) -> Self {
        let refusal = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            format!("this address takes {allowed}"),
        );
        refusal.with(header::ALLOW, allowed)
    }

    /// More at once than this server takes; to be tried again.
    pub(crate) fn too_many(message: &'static str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
            .with(header::RETRY_AFTER, "2")
    }

    /// More than is taken of somebody; to be tried again after some seconds.
    pub(crate) fn later(message: &'static str, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
            .with(header::RETRY_AFTER, &seconds.to_string())
    }

    /// A client that sends too slowly.
    pub(crate) fn slow() -> Self {
        let what = "nothing, or almost nothing, was sent for too long";
        Self::new(StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID", what)
    }

    /// What failed here; its reason is for the log alone.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("{error}");
        let what = "the registry failed; its log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", what)
    }

    /// With a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The answer.
    pub(crate) fn answer(self) -> Response<Body> {
        let envelope = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let mut answer = Response::new(Body::whole(Bytes::from(envelope.to_string())));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        answer
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::DigestInvalid(_) | Error::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
            }
            Error::NameInvalid(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Error::TagInvalid(_) => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            Error::ManifestInvalid(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Error::NameUnknown(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Error::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Error::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Error::UploadUnknown(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Error::Quota { .. } | Error::TagFixed { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            Error::BlobInUse { .. } => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Error::RangeMismatch { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID")
            }
            Error::UploadBusy | Error::TooLarge { what: "the number of uploads under way", .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS")
            }
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Error::NoSpace(path) => {
                tracing::error!("no space left for {}", path.display());
                let what = "the registry's disk is full";
                return Self::new(StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN", what);
            }
            _ => return Self::internal(&error),
        };
        let refusal = Self::new(status, code, error.to_string());
        match status {
            StatusCode::TOO_MANY_REQUESTS => refusal.with(header::RETRY_AFTER, "2"),
            StatusCode::METHOD_NOT_ALLOWED => refusal.with(header::ALLOW, "GET, HEAD"),
            _ => refusal,
        }
    }
}
