//! Blobs: read, looked at, deleted.

use http::{Method, StatusCode, header};
use mdl_store::{Digest, Error, Name};

use super::{Answer, empty, repo, set};
use crate::{
    app::{Call, now},
    audit::{Event, Kind},
    blob,
    refusal::Refusal,
    views::{
        ollama::{self, Direction},
        signed::Permission,
    },
};

/// `GET`, `HEAD` and `DELETE /v2/NAME/blobs/DIGEST`
pub(super) async fn answer(call: &Call, name: &str, digest: Digest) -> Answer {
    match call.parts.method {
        Method::GET | Method::HEAD => read(call, read_from(call, name).await?, digest).await,
        Method::DELETE => {
            let repo = repo(call, name)?;
            let said = (repo.to_string(), digest.to_string());
            let deleted = call.blocking(move |store| store.delete_blob(&repo, &digest));
            let say = move |(): &(), event: Event| {
                Some(event.text("repository", &said.0).text("digest", &said.1))
            };
            call.changed(Kind::Delete, deleted, say).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        _ => Err(Refusal::method("GET, HEAD, DELETE")),
    }
}

/// The repository that is to be read.
async fn read_from(call: &Call, name: &str) -> Result<Name, Refusal> {
    if !ollama::is_ollama(&call.parts.headers) {
        return Ok(repo(call, name)?);
    }
    let name = name.to_owned();
    let find = move |store: &dyn mdl_store::Store| {
        ollama::repository(store, &name).ok_or(Error::NameInvalid(name))
    };
    call.blocking(find).await
}

async fn read(call: &Call, repo: Name, digest: Digest) -> Answer {
    let parts = &call.parts;
    let mut extra = Vec::new();
    if parts.method == Method::GET {
        let signer = &call.app.signer;
        match signer.check(parts.uri.query(), &repo, &digest, now()) {
            Permission::Refused => {
                let what = "the address is signed for something else, or its day is over";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", what));
            }
            Permission::Unsigned if !parts.headers.contains_key(header::RANGE) => {
                let (origin, headers) = (&call.origin, &parts.headers);
                match ollama::direction(signer, origin, headers, &repo, &digest, now()) {
                    Direction::Plain => {}
                    Direction::Located(address) => extra.push(("location", address)),
                    Direction::Redirected(address) => {
                        // Nobody is sent to what is not there for them.
                        call.blocking(move |store| store.stat_blob(&repo, &digest)).await?;
                        let mut answer = empty(StatusCode::TEMPORARY_REDIRECT);
                        set(&mut answer, "location", &address);
                        return Ok(answer);
                    }
                }
            }
            Permission::Granted | Permission::Unsigned => {}
        }
    }
    blob::answer(call, repo, digest, &extra).await
}
