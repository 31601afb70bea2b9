//! Logging in and out.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    Client, Error, Result,
    auth::Auth,
    credentials::{Credential, Own},
    http::Call,
    peer::{Peer, Scope},
};

/// What logging in found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedIn {
    /// The registry accepts the credentials.
    Accepted,
    /// The registry asks nobody for credentials; they are kept all the same.
    NotAsked,
}

impl Client {
    /// Tries credentials, and keeps them in our own file if the registry accepts them.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where it does not: nothing is kept then.
    pub async fn login(&self, host: &str, user: &str, password: &str) -> Result<LoggedIn> {
        let own = self.own()?;
        let probe = async |credential: Option<Credential>| {
            let auth = Auth::given(host, credential);
            let peer = Arc::new(Peer::registry(self.http.clone(), host, auth));
            let url = peer.url("v2/").await?;
            let answer = peer.ask(&Call::get(url), &Scope::default()).await?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                StatusCode::NOT_FOUND => {
                    let what = format!("{host} is no registry: it has no /v2/");
                    Err(Error::refused(what, "a registry is given as host or host:port"))
                }
                _ => Err(answer.failure().await),
            }
        };
        // Before any token: one may be had without an account too, where some things are for everybody.
        let bare = Peer::registry(self.http.clone(), host, Auth::given(host, None));
        let call = Call::get(bare.url("v2/").await?);
        let asked = match self.http.once(&call, None).await {
            Ok(answer) => matches!(answer.status().as_u16(), 401 | 403),
            // It says why it cannot be reached in its own words.
            Err(_) => false,
        };
        if asked {
            let (user, password) = (user.to_owned(), password.to_owned());
            probe(Some(Credential::Password { user, password })).await?;
        } else {
            probe(None).await?;
        }
        own.set(host, user, password)?;
        Ok(if asked { LoggedIn::Accepted } else { LoggedIn::NotAsked })
    }

    /// Forgets the credentials that [`Client::login`] kept; whether there were any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn logout(&self, host: &str) -> Result<bool> {
        self.own()?.forget(host)
    }

    fn own(&self) -> Result<Own> {
        let home = self.options.home.as_deref().ok_or_else(|| {
            Error::refused(
                "there is no folder to keep credentials in: HOME is not set",
                "name one with --home or MDL_HOME",
            )
        })?;
        Ok(Own::new(home))
    }
}
