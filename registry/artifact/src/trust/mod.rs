//! Trust: which keys may sign for which repositories, and what else a package must show before it may be used.
//!
//! [`Policy`] is what a site wrote down (`trust.toml`), [`Evidence`] is what was found with a package, and
//! [`Policy::judge`] compares the two: a [`Verdict`] that says for each demand what was asked and what was found.

mod evidence;
mod judge;
mod kind;
mod policy;
mod read;
mod seen;
#[cfg(test)]
mod tests;

pub use evidence::{Evidence, is_bundle};
pub use judge::{Check, Signer, Verdict};
pub use kind::{Attestation, Openness};
pub use policy::{NamedKey, Policy, Revoked, Rule};
pub use seen::Seen;
