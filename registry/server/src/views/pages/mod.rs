//! Pages for people, rendered here and usable without scripts.

pub(crate) mod address;
pub(crate) mod card;
mod commands;
mod list;
mod model;
mod plot;
mod template;

use std::sync::LazyLock;

use askama::Template;
use http::StatusCode;
use mdl_store::{Digest, Error, Store};
use url::form_urlencoded;

use self::{
    address::Address,
    template::{Frame, Problem},
};
use super::{answer::Answer, origin::Origin};

const STYLE: &str = include_str!("../../../templates/style.css");
const ICON: &str = include_str!("../../../templates/icon.svg");

/// Characters of a search.
const QUERY_CHARS: usize = 100;

/// The style sheet's address, which changes with its content.
static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let hex: String = Digest::of(STYLE.as_bytes()).hex().chars().take(12).collect();
    format!("/-/style.css?v={hex}")
});

/// What a page may do: show its own style and pictures, and send its search form.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Answers a reader. Reads the store: to be called from a blocking thread.
pub(crate) fn answer(store: &dyn Store, origin: &Origin, address: &Address, query: &str) -> Answer {
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    };
    let page = match address {
        Address::Style => return file("text/css; charset=utf-8", STYLE),
        Address::Icon => return file("image/svg+xml", ICON),
        Address::Nothing => Ok(None),
        Address::Home => {
            let asked: String =
                parameter("q").unwrap_or_default().trim().chars().take(QUERY_CHARS).collect();
            list::home(store, origin, &asked, parameter("after").as_deref()).map(rendered)
        }
        Address::Repository(repo) => {
            let start = parameter("start").and_then(|it| it.parse().ok()).unwrap_or(0);
            list::repository(store, origin, repo, start).map(|page| page.and_then(rendered))
        }
        Address::Model(repo, reference) => {
            model::model(store, origin, repo, reference).map(rendered)
        }
    };
    match page {
        Ok(Some(html)) => Answer::page(StatusCode::OK, html),
        Ok(None) | Err(Error::ManifestUnknown { .. } | Error::NameUnknown(_)) => {
            let text = "There is no such repository or model here. It may have been deleted, or \
                        its name may be spelled differently: try the search.";
            problem(origin, StatusCode::NOT_FOUND, "Not found", text)
        }
        Err(error) => {
            tracing::error!("{error}");
            let text = "The registry could not read its store. Its log has the reason.";
            problem(origin, StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", text)
        }
    }
}

/// A page that says what is wrong.
pub(crate) fn problem(origin: &Origin, status: StatusCode, title: &str, text: &str) -> Answer {
    let (title, text) = (title.to_owned(), text.to_owned());
    let page = Problem { frame: frame(origin, ""), title, text };
    Answer::page(status, rendered(page).unwrap_or_default())
}

/// A template fails only where writing to memory would.
fn rendered(page: impl Template) -> Option<String> {
    page.render().inspect_err(|error| tracing::error!("a page: {error}")).ok()
}

fn file(media_type: &'static str, body: &str) -> Answer {
    let headers = vec![("cache-control", "public, max-age=86400".to_owned())];
    Answer::Text { status: StatusCode::OK, media_type, body: body.to_owned(), headers }
}

fn frame(origin: &Origin, query: &str) -> Frame {
    Frame {
        host: origin.host.clone(),
        query: query.to_owned(),
        style: STYLE_ADDRESS.clone(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

#[cfg(test)]
mod tests;
