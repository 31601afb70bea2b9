//! A package as Ollama sees it.

use std::path::Path;

use mdl_store::Digest;

use crate::Package;

/// A manifest for Ollama, and the blobs that it names and the package does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OllamaView {
    /// The manifest, of type [`crate::media::DOCKER_MANIFEST`].
    pub manifest: Vec<u8>,
    /// Config, template, parameters and licence, as far as they are made.
    pub blobs: Vec<Vec<u8>>,
}

/// Ollama's manifest for a package that is a GGUF; `None` where it is none. `gguf` is the file itself, where it is at
/// hand; `read` gives small blobs.
pub fn view(
    package: &Package,
    gguf: Option<&Path>,
    read: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Option<OllamaView> {
    let _ = (package, gguf, read);
    None
}
