//! The built-in inference path.
#![forbid(unsafe_code)]
