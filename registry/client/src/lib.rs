//! Transfers between this machine and registries.
#![forbid(unsafe_code)]
