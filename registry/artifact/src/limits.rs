//! How much a package may ask for.

/// Upper bounds for what comes from outside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a manifest or config.
    pub manifest_bytes: usize,
    /// Files of a package.
    pub files: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of a document that travels as a referrer (a recipe, a report).
    pub document_bytes: usize,
    /// What the readers of model files allow.
    pub formats: mdl_formats::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 8 << 20,
            files: 10_000,
            depth: 32,
            document_bytes: 16 << 20,
            formats: mdl_formats::Limits::default(),
        }
    }
}
