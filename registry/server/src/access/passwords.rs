//! Passwords: bcrypt is slow on purpose, so that a good answer is kept for a while, keyed and in memory, and a hundred
//! requests of one client pay once. A wrong one is never kept, and an account that is not there costs as much as one that
//! is, so that the time tells nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::accounts::Accounts;
use crate::{Error, Result, refusal::Refusal};

/// For how long a password that was found right is not asked of bcrypt again.
const KEPT: Duration = Duration::from_mins(5);
/// Passwords that are kept at once.
const KEPT_MOST: usize = 10_000;
/// Passwords that are checked at once; bcrypt takes a core for each.
const AT_ONCE: usize = 4;
/// Passwords that wait for that.
const WAITING: usize = 64;

/// A hash of nobody's password, of the cost that ours have.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuX1FGKNbbLKXqQ8rn8E2Z4pIf6o0hV.y";

/// Checks passwords.
pub(crate) struct Passwords {
    /// Of this process alone.
    secret: [u8; 64],
    /// When each was found right, by a keyed hash of name, hash and password.
    good: Mutex<BTreeMap<[u8; 32], Instant>>,
    checking: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    /// # Errors
    /// [`Error::Account`] where the system gives no randomness.
    pub(crate) fn new() -> Result<Self> {
        let mut secret = [0; 64];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| Error::Account("the system gives no randomness".to_owned()))?;
        Ok(Self {
            secret,
            good: Mutex::default(),
            checking: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// Forgets all that were found right.
    pub(crate) fn forget(&self) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a password is known to be an account's, for it was found so a while ago.
    pub(crate) fn is_known(&self, accounts: &Accounts, name: &str, password: &str) -> bool {
        let known = accounts.users.get(name).and_then(|user| user.password.as_deref());
        known.is_some_and(|hash| self.is_kept(&self.mark(name, hash, password)))
    }

    /// Whether a password is an account's, by bcrypt.
    ///
    /// # Errors
    /// 429 where too many are being checked.
    pub(crate) async fn check(
        &self,
        accounts: &Accounts,
        name: &str,
        password: &str,
    ) -> Result<bool, Refusal> {
        let known = accounts.users.get(name).and_then(|user| user.password.clone());
        let hash = known.clone().unwrap_or_else(|| NOBODY.to_owned());
        let mark = self.mark(name, &hash, password);
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Refusal::too_many("too many passwords are being checked"));
        };
        let Ok(_checking) = self.checking.acquire().await else {
            return Err(Refusal::too_many("too many passwords are being checked"));
        };
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(&password, &hash));
        let right = match checked.await {
            // Of a hash that cannot be read nothing is right.
            Ok(checked) => checked.unwrap_or(false),
            Err(failed) => return Err(Refusal::internal(&failed)),
        };
        let right = right && known.is_some();
        if right {
            self.keep(mark);
        }
        Ok(right)
    }

    fn mark(&self, name: &str, hash: &str, password: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&self.secret.into());
        for part in [name, hash, password] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().as_bytes().as_slice().try_into().unwrap_or_default()
    }

    fn is_kept(&self, mark: &[u8; 32]) -> bool {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.get(mark).is_some_and(|since| since.elapsed() < KEPT)
    }

    fn keep(&self, mark: [u8; 32]) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= KEPT_MOST {
            good.retain(|_, since| since.elapsed() < KEPT);
        }
        if good.len() < KEPT_MOST {
            good.insert(mark, Instant::now());
        }
    }
}
