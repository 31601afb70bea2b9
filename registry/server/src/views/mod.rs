//! What is not plain OCI: the same blobs for Ollama and Hugging Face clients, and pages for people.

pub(crate) mod hf;
pub(crate) mod origin;
pub(crate) mod pages;
pub(crate) mod signed;
mod units;
