//! How requests are recorded: what the handlers say, with who asks and from where.

use std::{future::Future, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, header};
use mdl_store::Name;

use super::event::{Event, Kind};
use crate::{
    access::{Action, Shown},
    app::{App, Call},
    refusal::Refusal,
};

impl App {
    /// Whether what happens is recorded.
    fn is_audited(&self) -> bool {
        self.audit.is_on(|| self.access.is_on())
    }

    /// Records what the server itself did.
    pub(crate) fn noted(&self, event: Event) {
        if self.is_audited() {
            self.audit.own(event);
        }
    }

    /// The same; done when it is durable, or where that cannot be.
    pub(crate) async fn noted_durably(&self, event: Event) {
        if self.is_audited()
            && let Err(refusal) = self.audit.settled(event).await
        {
            tracing::warn!("{}", refusal.message);
        }
    }
}

impl Call {
    /// Something that whoever asks did or tried.
    fn event(&self, kind: Kind) -> Event {
        let (key, subject) = match &self.shown {
            Shown::Nothing => (None, None),
            Shown::Key(identifier) => (Some(identifier.as_str()), None),
            Shown::Outside(origin) => (None, origin.subject.as_deref()),
        };
        Event::new(kind)
            .by(self.rights.account())
            .maybe("key", key)
            .maybe("subject", subject)
            .text("address", &self.client.to_string())
            .maybe("agent", self.header(&header::USER_AGENT))
    }

    /// Refuses what would change something while that could not be recorded.
    pub(crate) fn may_change(&self) -> Result<(), Refusal> {
        if self.app.is_audited() { self.app.audit.ready() } else { Ok(()) }
    }

    /// Changes something and records what `say` makes of it, to the end, also where whoever asked goes away meanwhile.
    pub(crate) async fn changed<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
        say: impl FnOnce(&T, Event) -> Option<Event> + Send + 'static,
    ) -> Result<T, Refusal> {
        if !self.app.is_audited() {
            return work.await;
        }
        let room = self.app.audit.room().await?;
        let (app, event) = (Arc::clone(&self.app), self.event(kind));
        let task = self.app.tasks.spawn(async move {
            let done = work.await?;
            if let Some(event) = say(&done, event) {
                app.audit.settled_in(room, event).await?;
            }
            Ok(done)
        });
        task.await.unwrap_or_else(|failed| Err(Refusal::internal(&failed)))
    }

    /// Records what was read, where that is wanted: what `say` makes of it.
    pub(crate) async fn pulled(&self, say: impl FnOnce(Event) -> Event) {
        let is_wanted = self.config.audit.as_ref().is_none_or(|audit| audit.pulls);
        // Of a file that comes in parts, the first counts.
        let later = self.header(&header::RANGE).is_some_and(|range| {
            !range.trim_start_matches("bytes=").trim_start().starts_with("0-")
        });
        if is_wanted && !later && self.parts.method == Method::GET && self.app.is_audited() {
            self.app.audit.told(say(self.event(Kind::Pull))).await;
        }
    }

    /// Records a token, with what it is for. One that is for more than reading is not given where that cannot be written.
    pub(crate) async fn given(&self, scopes: Vec<String>, writes: bool) -> Result<(), Refusal> {
        if !self.app.is_audited() {
            return Ok(());
        }
        let event = self.event(Kind::Token).list("scopes", scopes);
        match self.app.audit.ready() {
            Err(refusal) if writes => Err(refusal),
            Err(_) => {
                self.app.audit.told(event).await;
                Ok(())
            }
            Ok(()) => match self.app.audit.settled(event).await {
                Err(refusal) if writes => Err(refusal),
                _ => Ok(()),
            },
        }
    }

    /// Records credentials that hold for nobody.
    pub(crate) async fn not_known(&self, refusal: &Refusal) {
        let headers = &self.parts.headers;
        // One who is told to come again later has filled enough lines.
        let counts = refusal.status != StatusCode::TOO_MANY_REQUESTS;
        if counts && headers.contains_key(header::AUTHORIZATION) && self.app.is_audited() {
            let event = self.event(Kind::Login).maybe("claimed", claimed(headers).as_deref());
            self.app.audit.told(event.refused(&refusal.message)).await;
        }
    }

    /// Records that an account may not do what it asked for, where that is why it was refused. That somebody is told to
    /// log in is how every login begins.
    pub(crate) async fn refused(&self, refusal: &Refusal, repository: Option<&str>) {
        let unseen = || repository.is_some_and(|repository| !self.rights.sees(repository));
        let is_denied = match refusal.status {
            StatusCode::FORBIDDEN => true,
            StatusCode::UNAUTHORIZED => self.rights.account().is_some(),
            StatusCode::NOT_FOUND => self.rights.account().is_some() && unseen(),
            _ => false,
        };
        if is_denied {
            self.denied(repository, &refusal.message).await;
        }
    }

    /// The same where a page or a view is asked for: what may not be read is not there.
    pub(crate) async fn looked_at(&self, repository: Option<&Name>) {
        if let Some(name) = repository.map(Name::as_str)
            && self.rights.account().is_some()
            && !self.rights.may(name, Action::Pull)
        {
            self.denied(Some(name), "this account may not pull here").await;
        }
    }

    async fn denied(&self, repository: Option<&str>, why: &str) {
        if self.app.is_audited() {
            let event = self
                .event(Kind::Denied)
                .maybe("repository", repository)
                .text("method", self.parts.method.as_str())
                .text("path", self.parts.uri.path());
            self.app.audit.told(event.refused(why)).await;
        }
    }
}

/// The name that comes with a password, as it was typed.
fn claimed(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let bytes = STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.split_once(':').map(|(name, _)| name.to_owned())
}
