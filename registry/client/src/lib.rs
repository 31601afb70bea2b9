//! Transfers between this machine and registries: push, pull and copy, resumed after any end; tokens and credentials;
//! models from Hugging Face hubs and from Ollama's registry.
//!
//! What comes from a peer is verified before it can be used: nothing of a wrong digest, length or shape gets a name.
#![forbid(unsafe_code)]

mod access;
mod address;
mod attach;
mod auth;
mod client;
mod credentials;
mod error;
mod fetch;
mod folder;
mod http;
mod hub;
mod journal;
mod limits;
mod list;
mod options;
mod peer;
mod progress;
mod pull;
mod push;
mod registry;
mod send;
mod source;
mod upload;

pub use access::LoggedIn;
pub use address::Address;
pub use client::{Client, run};
pub use error::{Error, Result};
pub use hub::{Hub, HubName, HubPulled, Origin};
pub use limits::Limits;
pub use mdl_artifact::Pattern;
pub use options::Options;
pub use progress::{Progress, Unwatched};
pub use pull::{Pulled, Source};
pub use push::Pushed;
pub use registry::{Manifest, Referring};
