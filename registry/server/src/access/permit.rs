//! Whether an endpoint may be used, before anything of its body is read.

use std::fmt::Write as _;

use http::{HeaderName, Method, StatusCode, header};

use super::policy::Action;
use crate::{
    app::Call,
    refusal::Refusal,
    route::{Endpoint, Thing},
};

/// Judges a request to the OCI endpoints; `repository` is the name as it will be used.
///
/// # Errors
/// 401 with where to log in for whoever has not, 404 for what they may not see, 403 for what they may not do.
pub(crate) fn oci(
    call: &Call,
    endpoint: &Endpoint,
    repository: Option<&str>,
) -> Result<(), Refusal> {
    let rights = &call.rights;
    match endpoint {
        // It tells who one is: clients that log in try it, others fetch a token for it.
        Endpoint::Base
            if rights.is_anonymous() && (rights.scopes.is_none() || !rights.has_any()) =>
        {
            Err(unauthorized(call, None))
        }
        Endpoint::Catalog if rights.is_anonymous() && !rights.has_any() => {
            Err(unauthorized(call, None))
        }
        Endpoint::Base | Endpoint::Catalog => Ok(()),
        Endpoint::In(_, thing) => {
            // A name that is none is refused as such further on; it leads nowhere.
            let Some(repository) = repository else { return Ok(()) };
            let action = needed(&call.parts.method, thing);
            if rights.may(repository, action) {
                return Ok(());
            }
            Err(refused(call, repository, action))
        }
    }
}

fn needed(method: &Method, thing: &Thing) -> Action {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match thing {
        Thing::Uploads | Thing::Upload(_) => Action::Push,
        _ if reads => Action::Pull,
        Thing::Manifest(_) if *method == Method::PUT => Action::Push,
        _ => Action::Delete,
    }
}

/// Why something may not be done: where to log in, or that it is not there, or that it is not allowed.
fn refused(call: &Call, repository: &str, action: Action) -> Refusal {
    if call.rights.is_anonymous() || call.rights.scopes.is_some() {
        // A token may be for too little; a client that asks for another is told for what.
        return unauthorized(call, Some((repository, action)));
    }
    if action == Action::Pull && !call.rights.sees(repository) {
        return Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository");
    }
    let what = format!("this account may not {} here", action.name());
    Refusal::new(StatusCode::FORBIDDEN, "DENIED", what)
}

/// 401, with where tokens are given, in the form that every client reads: all values quoted, without spaces between.
pub(crate) fn unauthorized(call: &Call, wanted: Option<(&str, Action)>) -> Refusal {
    let service = call.origin.host();
    let mut challenge =
        format!("Bearer realm=\"{}\",service=\"{service}\"", call.address(super::token::PATH));
    if let Some((repository, action)) = wanted {
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
            Action::Delete => "pull,push,delete",
            Action::Admin => "*",
        };
        let _ = write!(challenge, ",scope=\"repository:{repository}:{actions}\"");
    }
    let what = "log in first, or with an account that may do this";
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", what)
        .with(header::WWW_AUTHENTICATE, &challenge)
}

/// 401 for people and Hugging Face's clients: browsers ask for a password then.
pub(crate) fn unauthorized_page() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "log in first")
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"mdl\", charset=\"UTF-8\"")
        .with(HeaderName::from_static("x-error-message"), "log in first")
}
