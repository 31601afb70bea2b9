//! Lists in pages: `n` items after `last`, and a Link to the next page.

use http::Response;
use url::form_urlencoded;

use super::set;
use crate::{app::Call, body::Body, refusal::Refusal};

/// Items that a page holds at most, asked for or not.
const MOST: usize = 10_000;

/// What part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
    /// Whether the limit was asked for.
    asked: bool,
}

impl Page {
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let asked = call.parameter("n").map(|text| text.parse::<usize>());
        let asked = asked.transpose().map_err(|_| {
            Refusal::bad("PAGINATION_NUMBER_INVALID", "n is no number that counts items")
        })?;
        let after = call.parameter("last").filter(|last| !last.is_empty());
        Ok(Self { limit: asked.unwrap_or(MOST).min(MOST), after, asked: asked.is_some() })
    }

    /// Says where the list goes on after `last`.
    pub(super) fn link(&self, call: &Call, answer: &mut Response<Body>, last: &str) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(call.parts.uri.query().unwrap_or("").as_bytes())
        {
            if name != "n" && name != "last" {
                query.append_pair(&name, &value);
            }
        }
        if self.asked {
            query.append_pair("n", &self.limit.to_string());
        }
        query.append_pair("last", last);
        let (path, query) = (call.parts.uri.path(), query.finish());
        set(answer, "link", &format!("<{path}?{query}>; rel=\"next\""));
    }
}
