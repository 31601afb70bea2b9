//! The way of a request: who may ask, which protocol it speaks, and what every answer carries.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;

use crate::{
    access::{
        Rights, Shown,
        authenticate::{Asked, Asking},
        permit,
        rates::{self, Beyond},
        token,
    },
    app::{App, Arrival, Call, now},
    audit::Event,
    blob,
    body::Body,
    guard,
    log::Entry,
    oci,
    receive::{Incoming, linger, small},
    refusal::Refusal,
    route::{Endpoint, Thing},
    serve::Active,
    views::{
        answer::Answer,
        hf::{
            self,
            address::{About, Address as HubAddress},
        },
        pages::{self, address::Address as PageAddress},
        signed::Permission,
    },
};

/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 << 10;

/// Bytes of a form.
const FORM_BYTES: u64 = 1 << 20;

/// What a path belongs to.
enum Place {
    Oci(Endpoint),
    Hub(HubAddress),
    Page(PageAddress),
    Health,
    Ready,
    Metrics,
    Token,
    Nothing,
}

impl Place {
    fn of(path: &str) -> Self {
        match path {
            "/healthz" => return Self::Health,
            "/readyz" => return Self::Ready,
            "/metrics" => return Self::Metrics,
            token::PATH => return Self::Token,
            _ => {}
        }
        if path == "/v2" || path.starts_with("/v2/") {
            return Endpoint::read(path).map_or(Self::Nothing, Self::Oci);
        }
        if let Some(address) = HubAddress::read(path) {
            return Self::Hub(address);
        }
        Self::Page(PageAddress::read(path))
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Oci(endpoint) => oci::label(endpoint),
            Self::Hub(_) => "hub",
            Self::Page(_) => "page",
            Self::Health | Self::Ready | Self::Metrics => "operation",
            Self::Token => "token",
            Self::Nothing => "other",
        }
    }
}

/// Answers a request, whatever it is.
pub(crate) async fn respond(
    app: &Arc<App>,
    mut arrival: Arrival,
    request: Request<Incoming>,
    active: Option<Active>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let proxies = &app.config().rates.proxies;
    arrival.client = rates::client(arrival.peer.ip(), &parts.headers, proxies);
    let mut entry = Box::new(Entry::begin(app, arrival.client, &parts, active));
    let place = Place::of(parts.uri.path());
    entry.endpoint = place.label();
    let mut answer = match admitted(app, arrival, parts, body, place).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    };
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    entry.status = answer.status();
    answer.map(|body| body.logged(entry))
}

async fn admitted(
    app: &Arc<App>,
    arrival: Arrival,
    parts: http::request::Parts,
    body: Incoming,
    place: Place,
) -> Result<Response<Body>, Refusal> {
    let Ok(_permit) = app.requests.try_acquire() else {
        linger(app, body);
        return Err(Refusal::too_many("too many requests are being served"));
    };
    let head: usize = parts.headers.iter().map(|(k, v)| k.as_str().len() + v.len()).sum();
    if head > HEAD_BYTES {
        linger(app, body);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::new(status, "UNSUPPORTED", "the request's head is too large"));
    }
    let config = app.config();
    let public = config.public_url.as_ref();
    let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
    let origin = guard::check(method, uri, headers, arrival.local, public, arrival.secure);
    let origin = match origin {
        Ok(origin) => origin,
        Err(refusal) => {
            linger(app, body);
            return Err(refusal);
        }
    };
    let (app, client) = (&Arc::clone(app), arrival.client);
    let (rights, shown) = (Arc::default(), Shown::Nothing);
    let mut call = Call { app: Arc::clone(app), config, parts, client, origin, rights, shown };
    if let Err(refusal) = known(&mut call, &place, client).await {
        call.not_known(&refusal).await;
        linger(app, body);
        return Err(refusal);
    }
    match place {
        Place::Oci(endpoint) => {
            let repository = endpoint.repository().map(str::to_owned);
            let mut answer = match oci::answer(&call, endpoint, body).await {
                Ok(answer) => answer,
                Err(refusal) => {
                    call.refused(&refusal, repository.as_deref()).await;
                    refusal.answer()
                }
            };
            let name = HeaderName::from_static("docker-distribution-api-version");
            answer.headers_mut().insert(name, HeaderValue::from_static("registry/2.0"));
            Ok(answer)
        }
        Place::Hub(address) => hub(&call, address, body).await,
        other => {
            linger(app, body);
            if !matches!(call.parts.method, Method::GET | Method::HEAD) {
                return Err(Refusal::method("GET, HEAD"));
            }
            plain(&call, other).await
        }
    }
}

/// Finds out who asks. Whoever carries credentials that hold for nobody is refused, whatever they ask for.
async fn known(call: &mut Call, place: &Place, client: IpAddr) -> Result<(), Refusal> {
    if matches!(place, Place::Health | Place::Ready) {
        return Ok(());
    }
    let app = Arc::clone(&call.app);
    if let Place::Oci(Endpoint::In(name, Thing::Blob(digest))) = place
        && call.parts.method == Method::GET
        && let (Ok(name), Ok(digest)) = (name.parse(), digest.parse())
        && app.signer.check(call.parts.uri.query(), &name, &digest, now()) == Permission::Granted
    {
        // The address carries its own permission, for this blob.
        call.rights = Arc::new(Rights::anybody());
        return within(call, app.access.rates().request(&call.rights, client));
    }
    let path = call.parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let token_url = matches!(place, Place::Token).then(|| call.address(path));
    let (headers, token_url) = (&call.parts.headers, token_url.as_deref());
    let asking = Asking { headers, token_url, client };
    match app.access.who(&call.config, &app.tokens, &asking).await? {
        Asked::Known(rights, shown) => {
            within(call, app.access.rates().request(&rights, client))?;
            call.rights = Arc::new(rights);
            call.shown = shown;
        }
        Asked::Beyond(beyond) => return within(call, Err(beyond)),
        Asked::Unknown => {
            within(call, app.access.rates().stranger(client))?;
            return Err(match place {
                Place::Oci(_) => permit::unauthorized(call, None),
                _ => permit::unauthorized_page(),
            });
        }
    }
    match place {
        // Figures are for those who have an account.
        Place::Metrics if call.rights.is_anonymous() => Err(permit::unauthorized_page()),
        Place::Page(PageAddress::Style | PageAddress::Icon) => Ok(()),
        Place::Page(_) | Place::Hub(_) if call.rights.is_anonymous() && !call.rights.has_any() => {
            Err(permit::unauthorized_page())
        }
        _ => Ok(()),
    }
}

/// Refuses and counts what goes beyond a rate.
fn within(call: &Call, taken: Result<(), Beyond>) -> Result<(), Refusal> {
    taken.map_err(|beyond| {
        call.app.metrics.beyond(beyond.kind);
        beyond.refusal()
    })
}

/// What a person or a watcher asks for.
async fn plain(call: &Call, place: Place) -> Result<Response<Body>, Refusal> {
    match place {
        Place::Page(address) => page(call, address).await,
        Place::Health => Ok(text("ok\n")),
        Place::Ready => ready(call).await,
        Place::Token => token::answer(call).await,
        Place::Metrics => {
            if let Some(stats) = call.app.stats().await {
                call.app.metrics.stored(&stats);
            }
            let mut answer = text(&call.app.metrics.text());
            let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            Ok(answer)
        }
        Place::Oci(_) | Place::Hub(_) | Place::Nothing => Err(Refusal::nothing()),
    }
}

/// Whether requests would be served: the store answers, and nobody stops it.
async fn ready(call: &Call) -> Result<Response<Body>, Refusal> {
    if call.app.stop.is_cancelled() {
        let what = "the registry stops";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", what));
    }
    call.app.blocking(|store| store.repositories(None, 1)).await?;
    // It reads, but takes nothing.
    call.may_change()?;
    Ok(text("ready\n"))
}

/// A request of a Hugging Face client.
async fn hub(call: &Call, address: HubAddress, body: Incoming) -> Result<Response<Body>, Refusal> {
    let body = match call.parts.method {
        Method::POST => small(call, body, FORM_BYTES, "SIZE_INVALID").await?,
        Method::GET | Method::HEAD => {
            linger(&call.app, body);
            Vec::new()
        }
        _ => {
            linger(&call.app, body);
            return Err(Refusal::method("GET, HEAD, POST"));
        }
    };
    let (origin, uri) = (call.origin.clone(), call.parts.uri.clone());
    let body_type = call.header(&header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let named = address.clone();
    let asked = call.blocking(move |store| {
        let question = hf::Question {
            origin: &origin,
            address: &address,
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            body_type: &body_type,
            body: &body,
        };
        Ok(hf::answer(store, &question))
    });
    let answer = asked.await?;
    if let HubAddress::Of(name, about) = &named {
        call.looked_at(Some(name)).await;
        if let (About::File(revision, path), Answer::Blob { digest, .. }) = (about, &answer) {
            let said = |event: Event| {
                let event = event.text("repository", name.as_str()).list("tags", [revision]);
                event.text("digest", &digest.to_string()).text("file", path)
            };
            call.pulled(said).await;
        }
    }
    found(call, answer, None).await
}

async fn page(call: &Call, address: PageAddress) -> Result<Response<Body>, Refusal> {
    let (origin, uri) = (call.origin.clone(), call.parts.uri.clone());
    call.looked_at(address.repository()).await;
    let asked = call.blocking(move |store| {
        Ok(pages::answer(store, &origin, &address, uri.query().unwrap_or_default()))
    });
    found(call, asked.await?, Some(pages::POLICY)).await
}

/// As [`shown`]; what is not there for somebody without an account may be there for one who logs in.
async fn found(
    call: &Call,
    answer: Answer,
    policy: Option<&'static str>,
) -> Result<Response<Body>, Refusal> {
    let answer = shown(call, answer, policy).await?;
    if answer.status() == StatusCode::NOT_FOUND && call.rights.is_anonymous() {
        return Err(permit::unauthorized_page());
    }
    Ok(answer)
}

/// A view's answer as bytes on a connection.
async fn shown(
    call: &Call,
    answer: Answer,
    policy: Option<&'static str>,
) -> Result<Response<Body>, Refusal> {
    let (mut answer, headers) = match answer {
        Answer::Blob { repo, digest, headers } => {
            return blob::answer(call, repo, digest, &headers).await;
        }
        Answer::Text { status, media_type, body, headers } => {
            let length = body.len();
            let is_head = call.parts.method == Method::HEAD;
            let body = if is_head { Body::empty() } else { Body::whole(Bytes::from(body)) };
            let mut answer = Response::new(body);
            *answer.status_mut() = status;
            let fields = answer.headers_mut();
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            (answer, headers)
        }
    };
    let fields = answer.headers_mut();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(policy) = policy {
        fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    Ok(answer)
}

fn text(text: &str) -> Response<Body> {
    let mut answer = Response::new(Body::whole(Bytes::from(text.to_owned())));
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    answer
}

/// What a connection hears that is one too many.
pub(crate) fn one_too_many() -> Vec<u8> {
    let what = "too many connections are open";
    let body = json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": what }] }).to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: 2\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
