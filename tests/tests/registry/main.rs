//! Packages and the registry, end to end.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so")]

mod ollama_templates;
