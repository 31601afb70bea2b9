//! The tags of a repository, and the repositories.

use mdl_store::Name;
use serde_json::json;

use super::{Answer, json, page::Page};
use crate::app::Call;

/// `GET /v2/NAME/tags/list`
pub(super) async fn tags(call: &Call, repo: Name) -> Answer {
    let page = Page::of(call)?;
    let (name, asked) = (repo.clone(), page.clone());
    let found = call.blocking(move |store| {
        // One at least, so that a repository that is not there is told from an empty page.
        store.tags(&name, asked.after.as_deref(), asked.limit.max(1))
    });
    let found = found.await?;
    let tags: Vec<&str> = found.items.iter().map(|it| it.tag.as_str()).take(page.limit).collect();
    let mut answer = json(&json!({ "name": repo.as_str(), "tags": tags }), "application/json");
    if let Some(last) = tags.last().filter(|_| found.more) {
        page.link(call, &mut answer, last);
    }
    Ok(answer)
}

/// `GET /v2/_catalog`
pub(super) async fn catalog(call: &Call) -> Answer {
    let page = Page::of(call)?;
    let asked = page.clone();
    let found = call.blocking(move |store| store.repositories(asked.after.as_deref(), asked.limit));
    let found = found.await?;
    let names: Vec<&str> = found.items.iter().map(Name::as_str).collect();
    let mut answer = json(&json!({ "repositories": names }), "application/json");
    if let Some(last) = names.last().filter(|_| found.more) {
        page.link(call, &mut answer, last);
    }
    Ok(answer)
}
