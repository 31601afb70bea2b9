//! The registry server: several protocols over one store.
//!
//! # The way of a request
//! `serve` accepts connections (HTTP/1.1 and 2, TLS), `front` admits a request (limits, host, origin) and finds whose it
//! is by its path: `oci` for `/v2/`, `views::hf` for Hugging Face's addresses, `views::pages` for the rest. What all of
//! them work with is in [`app::App`]; a request without its body is an [`app::Call`].
//!
//! Handlers are async and the store is not: they call it through [`app::App::blocking`]. Views are plain functions over
//! a `&dyn Store` that give a `views::answer::Answer`; `front` makes them bytes on a connection, and a blob among them is
//! streamed by `blob::answer`, with ranges and in bounded memory. Blobs come in by way of `receive`.
//!
//! A handler that cannot answer gives a [`refusal::Refusal`], which becomes the error envelope of the OCI specification.
#![forbid(unsafe_code)]

pub mod access;
mod app;
pub mod audit;
mod blob;
mod body;
pub mod config;
mod control;
mod error;
mod front;
mod guard;
mod log;
mod metrics;
mod oci;
mod receive;
mod refusal;
mod route;
mod serve;
mod views;

pub use config::Config;
pub use control::{Outcome, Work, ask, restore};
pub use error::{Error, Result};
pub use log::Outputs;
pub use serve::{Server, serve};
