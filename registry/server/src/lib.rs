//! The registry server: several protocols over one store.
#![forbid(unsafe_code)]
