//! Whoever watches transfers and may stop them.

/// Told how far transfers are, and asked whether to go on; from several threads.
pub trait Progress: Send + Sync {
    /// So many more bytes are to be moved.
    fn expect(&self, bytes: u64);
    /// So many were moved.
    fn advance(&self, bytes: u64);
    /// So many need not be moved: they are there already, or were moved earlier.
    fn skip(&self, bytes: u64);
    /// So many have to be moved once more.
    fn undo(&self, bytes: u64);
    /// Something for the user to know.
    fn note(&self, text: &str);
    /// Whether to stop.
    fn interrupted(&self) -> bool;
}

/// Transfers that nobody watches or stops.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn skip(&self, _: u64) {}
    fn undo(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        false
    }
}
