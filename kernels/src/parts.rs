//! A slice whose parts are written by several threads at once.

use std::marker::PhantomData;

/// A borrowed slice that gives out parts of itself.
pub(crate) struct Parts<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: parts come only from `part`, whose callers promise that they are apart.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The `len` values from `from` on.
    ///
    /// # Safety
    /// No other part with any of these values is in use.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller promises that parts are apart")]
    pub(crate) unsafe fn part(&self, from: usize, len: usize) -> &mut [f32] {
        assert!(from <= self.len && len <= self.len - from);
        // SAFETY: within the borrowed slice, as just checked; apart from others by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}
