//! One file per command.

pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod copy;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod local;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod model;
pub(crate) mod pack;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod quantize;
pub(crate) mod reach;
pub(crate) mod registry;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod tag;
pub(crate) mod write;
