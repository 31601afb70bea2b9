//! Tokens of CI systems and other issuers of OpenID Connect: signed by a key of theirs, for a while, with claims that say
//! what runs. Which account somebody with such a token is, is told by the claims alone, and of that account nothing is
//! known here but its name: what it may do, policies say. It is never an administrator, whatever account is called as it is.

pub(crate) mod jwt;
mod keys;
mod settings;
mod source;

use std::sync::Arc;

use jsonwebtoken::crypto;
use mdl_artifact::Pattern;
use serde_json::json;

use self::{
    jwt::{Claims, Unverified, Why},
    keys::Found,
    source::Source,
};
use super::accounts::digest;
use crate::Result;

pub use settings::{Jwks, Oidc, OidcAccount};

/// All issuers whose tokens are taken.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Vec<Issuer>);

#[derive(Debug)]
struct Issuer {
    settings: Oidc,
    source: Arc<Source>,
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    name: String,
    claims: Vec<(String, Pattern)>,
    /// What tells it from any other, and from itself with other claims.
    mark: String,
}

/// Characters of a subject that are kept.
const SUBJECT_CHARS: usize = 256;

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) name: String,
    /// As [`Issuers::named`] takes it.
    pub(crate) mark: String,
    /// What the issuer calls whoever it gave the token to.
    pub(crate) subject: Option<String>,
    /// When the token ends, in seconds since 1970.
    pub(crate) expires: u64,
}

impl Issuers {
    /// Those of a configuration. Keys that were had from an address are kept; files are read anew.
    ///
    /// # Errors
    /// [`crate::Error::Config`], [`crate::Error::Io`] for a file that has no keys.
    pub(crate) fn open(all: &[Oidc], before: Option<&Self>) -> Result<Self> {
        let open = |settings: &Oidc| {
            let known = before.and_then(|before| {
                let is_same = |issuer: &&Issuer| issuer.settings.jwks == settings.jwks;
                before.0.iter().find(is_same).map(|issuer| Arc::clone(&issuer.source))
            });
            let source = match (&settings.jwks, known) {
                (Jwks::Address(_), Some(source)) => source,
                _ => Arc::new(Source::open(&settings.jwks)?),
            };
            let accounts = settings.account.iter().map(|it| Account::new(settings, it)).collect();
            Ok(Issuer { settings: settings.clone(), source, accounts })
        };
        all.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// The name of the account of that mark, if it still stands.
    pub(crate) fn named(&self, mark: &str) -> Option<&str> {
        let mut accounts = self.0.iter().flat_map(|issuer| &issuer.accounts);
        accounts.find(|account| account.mark == mark).map(|account| account.name.as_str())
    }

    /// Whose a token is, if it holds.
    pub(crate) async fn who(&self, token: &str, now: u64) -> Option<Outside> {
        match self.verified(token, now).await {
            Ok(outside) => Some(outside),
            Err(why) => {
                tracing::debug!("a token is refused: {why}");
                None
            }
        }
    }

    async fn verified(&self, token: &str, now: u64) -> Result<Outside, Why> {
        let token = Unverified::read(token)?;
        let named = token.claims.text("iss").ok_or(Why::Issuer)?;
        let issuer = self.0.iter().find(|issuer| issuer.settings.issuer == named);
        let issuer = issuer.ok_or(Why::Issuer)?;
        issuer.check_signature(&token).await?;
        issuer.account(&token.claims, now)
    }
}

impl Issuer {
    async fn check_signature(&self, token: &Unverified<'_>) -> Result<(), Why> {
        let mut keys = self.source.keys(false).await;
        let find = |keys: &keys::Keys| match keys.find(token.key.as_deref(), &token.algorithm) {
            Found::Key(key, algorithm) => {
                let message = token.message.as_bytes();
                let right = crypto::verify(token.signature, message, key, algorithm);
                if right.unwrap_or(false) { Ok(()) } else { Err(Why::Signature) }
            }
            Found::Unknown => Err(Why::Key),
            Found::Unfit => Err(Why::Algorithm),
        };
        let mut found = find(&keys);
        if found == Err(Why::Key) {
            keys = self.source.keys(true).await;
            found = find(&keys);
        }
        found
    }

    /// Whose claims of this issuer's are that were verified.
    fn account(&self, claims: &Claims, now: u64) -> Result<Outside, Why> {
        if !claims.is_for(&self.settings.audience) {
            return Err(Why::Audience);
        }
        let expires = claims.holds(now)?;
        let mut accounts = self.accounts.iter();
        let fits = |it: &&Account| it.claims.iter().all(|(name, fit)| claims.fits(name, fit));
        let account = accounts.find(fits).ok_or(Why::Account)?;
        let subject = claims.text("sub").map(|it| it.chars().take(SUBJECT_CHARS).collect());
        let (name, mark) = (account.name.clone(), account.mark.clone());
        Ok(Outside { name, mark, subject, expires })
    }
}

impl Account {
    fn new(settings: &Oidc, account: &OidcAccount) -> Self {
        let patterns = account.claims.iter();
        let mark = json!([settings.issuer, settings.audience, account]).to_string();
        Self {
            name: account.name.clone(),
            claims: patterns.map(|(name, text)| (name.clone(), Pattern::new(text))).collect(),
            mark: digest(&mark),
        }
    }
}

#[cfg(test)]
mod tests;
