//! What is not plain OCI: the same blobs for Ollama and Hugging Face clients, and pages for people.

pub(crate) mod answer;
pub(crate) mod derive;
pub(crate) mod hf;
mod known;
pub(crate) mod ollama;
pub(crate) mod origin;
pub(crate) mod pages;
mod report;
pub(crate) mod signed;
mod units;
