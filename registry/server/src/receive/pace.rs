//! How slowly a client may send: a byte now and then is as good as nothing.

use std::time::{Duration, Instant};

/// Bytes that have to come within each span of idleness that is allowed.
const LEAST: usize = 1024;

/// Watches the pace of one body.
#[derive(Debug)]
pub(crate) struct Pace {
    span: Duration,
    since: Instant,
    bytes: usize,
}

impl Pace {
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, since: Instant::now(), bytes: 0 }
    }

    /// Counts what came; `false` where it is too little for the time it took.
    pub(crate) fn keeps(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        // Asking for the time costs more than counting.
        if self.bytes >= 1 << 20 {
            self.begin();
            return true;
        }
        if self.since.elapsed() < self.span {
            return true;
        }
        let enough = self.bytes >= LEAST;
        self.begin();
        enough
    }

    fn begin(&mut self) {
        self.since = Instant::now();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_is_too_little() {
        let mut pace = Pace::new(Duration::from_millis(20));
        assert!(pace.keeps(1));
        std::thread::sleep(Duration::from_millis(25));
        assert!(!pace.keeps(1));
        assert!(pace.keeps(LEAST));
        std::thread::sleep(Duration::from_millis(25));
        assert!(pace.keeps(1));
    }
}
