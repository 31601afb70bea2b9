//! The audit log: who did what, when and from where, and what was refused.
//!
//! A file of JSON lines, each of which holds the SHA-256 of the one before ([`chain`]); what stands in a line, and in
//! which bounds, is [`event`]'s. [`append`] adds lines, for any number of processes at once; [`keep`] gathers what the
//! server's requests did and adds it from a thread of its own; [`verify`] reads the chain again. [`place`] knows where the
//! log of a folder's registry is, for commands that run beside the server or without it.
//!
//! What is changed is answered only when its line is durable, and nothing is changed while no line can be written. What
//! is read, or refused, waits for nothing but a full queue.

mod append;
mod chain;
mod event;
mod keep;
mod place;
mod request;
#[cfg(test)]
mod tests;
mod verify;

pub use chain::Head;
pub use event::{Event, Kind};
pub(crate) use keep::{Audit, Figures};
pub(crate) use place::{carry, note, note_account, restored};
pub use place::{head, log};
pub use verify::{Fault, Report, Verdict, verify};
