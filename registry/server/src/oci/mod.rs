//! The OCI distribution specification, 1.1 and what is to be 1.2: one file per family of endpoints.

mod blobs;
mod lists;
mod manifests;
mod page;
mod referrers;
mod uploads;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use mdl_store::{Error, Name};
use serde_json::Value;

use crate::{
    access::permit,
    app::Call,
    body::Body,
    receive::{Incoming, linger},
    refusal::Refusal,
    route::{self, Endpoint, Thing},
    views::{hf::address::folded, ollama},
};

/// An answer, or why there is none.
type Answer = Result<Response<Body>, Refusal>;

/// Names that an endpoint has in figures.
pub(crate) fn label(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Base => "base",
        Endpoint::Catalog => "catalog",
        Endpoint::In(_, Thing::Tags) => "tags",
        Endpoint::In(_, Thing::Manifest(_)) => "manifest",
        Endpoint::In(_, Thing::Blob(_)) => "blob",
        Endpoint::In(_, Thing::Uploads | Thing::Upload(_)) => "upload",
        Endpoint::In(_, Thing::Referrers(_)) => "referrers",
    }
}

/// Answers a request.
pub(crate) async fn answer(call: &Call, endpoint: Endpoint, body: Incoming) -> Answer {
    let named = match &endpoint {
        Endpoint::In(name, _) => repo(call, name).ok(),
        _ => None,
    };
    if let Err(refusal) = permit::oci(call, &endpoint, named.as_ref().map(Name::as_str)) {
        linger(&call.app, body);
        return Err(refusal);
    }
    let read = matches!(call.parts.method, Method::GET | Method::HEAD);
    if !read && let Err(refusal) = call.may_change() {
        linger(&call.app, body);
        return Err(refusal);
    }
    let takes_body = matches!(&endpoint, Endpoint::In(_, Thing::Uploads | Thing::Upload(_)))
        || call.parts.method == Method::PUT;
    let body = if takes_body {
        Some(body)
    } else {
        linger(&call.app, body);
        None
    };
    match (endpoint, body) {
        (
            Endpoint::Base | Endpoint::Catalog | Endpoint::In(_, Thing::Tags | Thing::Referrers(_)),
            _,
        ) if !read => Err(Refusal::method("GET, HEAD")),
        (Endpoint::Base, _) => Ok(json(&serde_json::json!({}), "application/json")),
        (Endpoint::Catalog, _) => lists::catalog(call).await,
        (Endpoint::In(name, Thing::Tags), _) => lists::tags(call, repo(call, &name)?).await,
        (Endpoint::In(name, Thing::Referrers(digest)), _) => {
            referrers::list(call, repo(call, &name)?, route::digest(&digest)?).await
        }
        (Endpoint::In(name, Thing::Blob(digest)), _) => {
            blobs::answer(call, &name, route::digest(&digest)?).await
        }
        (Endpoint::In(name, Thing::Manifest(reference)), body) => {
            manifests::answer(call, &name, &reference, body).await
        }
        (Endpoint::In(name, Thing::Uploads), Some(body)) => {
            uploads::begin(call, repo(call, &name)?, body).await
        }
        (Endpoint::In(name, Thing::Upload(id)), Some(body)) => {
            uploads::go_on(call, repo(call, &name)?, id, body).await
        }
        (Endpoint::In(..), None) => Err(Refusal::nothing()),
    }
}

/// The repository that a request names. Ollama names it in whatever case its user typed.
fn repo(call: &Call, text: &str) -> Result<Name, Error> {
    match ollama::is_ollama(&call.parts.headers).then(|| folded(text)).flatten() {
        Some(name) => Ok(name),
        None => route::name(text),
    }
}

/// JSON as an answer.
fn json(value: &Value, media_type: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::whole(Bytes::from(value.to_string())));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Adds a header whose value came of something checked.
fn set(answer: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().append(HeaderName::from_static(name), value);
    }
}

/// 201 with the address and the digest of what was made.
fn created(call: &Call, path: &str, digest: &mdl_store::Digest) -> Response<Body> {
    let mut answer = empty(StatusCode::CREATED);
    set(&mut answer, "location", &call.address(path));
    set(&mut answer, "docker-content-digest", &digest.to_string());
    answer
}
