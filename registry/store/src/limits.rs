//! How much a peer may ask the store to take.

/// Upper bounds for what comes from outside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a manifest.
    pub manifest_bytes: u64,
    /// Depth of nested JSON in it.
    pub json_depth: u32,
    /// Blobs and manifests that one manifest may name.
    pub descriptors: usize,
    /// Bytes of one blob.
    pub blob_bytes: u64,
    /// Uploads under way at once, in all repositories.
    pub uploads: usize,
    /// Leases renewed by looking at a blob that are kept in memory before they go into the metadata.
    pub leases_in_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 8 << 20,
            json_depth: 32,
            descriptors: 20_000,
            blob_bytes: 16 << 40,
            uploads: 10_000,
            leases_in_memory: 50_000,
        }
    }
}
