//! How much a peer may ask of us, and how patient we are.

use std::time::Duration;

/// Upper bounds for what comes from a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// What a manifest may hold.
    pub manifest: mdl_store::Limits,
    /// Bytes of a token server's answer, a page of a listing, a small document.
    pub document_bytes: u64,
    /// Bytes of an error's text that are read.
    pub error_bytes: u64,
    /// Pages of one listing.
    pub pages: usize,
    /// Files of one hub repository.
    pub files: usize,
    /// Manifests that refer to one manifest.
    pub referrers: usize,
    /// Redirects of one request.
    pub redirects: usize,
    /// Time to connect.
    pub connect: Duration,
    /// Time in which nothing moves.
    pub idle: Duration,
    /// Time for the answer after the last byte of a request was sent: a registry may check or copy a blob then.
    pub answer: Duration,
    /// Times that a request is tried while nothing moves on.
    pub attempts: u32,
    /// The same while no peer has ever answered.
    pub attempts_to_reach: u32,
    /// Pause before the second try; doubled for each further one.
    pub pause: Duration,
    /// Longest pause, also when a peer asks for a longer one.
    pub longest_pause: Duration,
    /// Blobs from this size on are fetched in parallel ranges.
    pub ranges_from: u64,
    /// Bytes of one range, at least.
    pub range_bytes: u64,
    /// Blobs to this size are sent with one request.
    pub single_request: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: mdl_store::Limits::default(),
            document_bytes: 16 << 20,
            error_bytes: 64 << 10,
            pages: 10_000,
            files: 200_000,
            referrers: 10_000,
            redirects: 10,
            connect: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            answer: Duration::from_mins(15),
            attempts: 7,
            attempts_to_reach: 3,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(2),
            ranges_from: 64 << 20,
            range_bytes: 16 << 20,
            single_request: 4 << 20,
        }
    }
}
