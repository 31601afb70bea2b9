//! A position in a file's bytes: every read is checked against what remains and against the limits.

use std::path::Path;

use crate::{Error, Limits, Result};

/// Reads little-endian values one after another.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    offset: usize,
    limits: &'a Limits,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self { path, bytes, offset: 0, limits }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// An error at this place.
    pub(crate) fn bad(&self, place: &str, problem: impl Into<String>) -> Error {
        Error::malformed(self.path, format!("{place}, byte {}", self.offset), problem)
    }

    pub(crate) fn unsupported(&self, problem: impl Into<String>, hint: &str) -> Error {
        Error::unsupported(self.path, problem, hint)
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(crate) fn bytes(&mut self, count: usize, place: &str) -> Result<&'a [u8]> {
        let end = self.offset.checked_add(count);
        if let Some(bytes) = end.and_then(|end| self.bytes.get(self.offset..end)) {
            self.offset += count;
            return Ok(bytes);
        }
        let problem =
            format!("{count} bytes are needed, {} remain: the file is cut short", self.remaining());
        Err(self.bad(place, problem))
    }

    pub(crate) fn array<const N: usize>(&mut self, place: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N, place)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, place: &str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(place)?))
    }

    pub(crate) fn u32(&mut self, place: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(place)?))
    }

    pub(crate) fn u64(&mut self, place: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(place)?))
    }

    /// Refuses a count that is above its limit or cannot fit in what remains.
    pub(crate) fn check_count(
        &self,
        count: u64,
        least_bytes: usize,
        limit: u64,
        place: &str,
    ) -> Result<usize> {
        if count > limit {
            return Err(self.bad(place, format!("{count} are more than the limit of {limit}")));
        }
        match usize::try_from(count) {
            Ok(items)
                if items.checked_mul(least_bytes).is_some_and(|need| need <= self.remaining()) =>
            {
                Ok(items)
            }
            _ => Err(self.bad(
                place,
                format!("{count} entries do not fit in the {} bytes that remain", self.remaining()),
            )),
        }
    }

    pub(crate) fn string(&mut self, place: &str) -> Result<String> {
        let len = self.u64(place)?;
        let len = self.check_count(len, 1, self.limits.string_bytes, place)?;
        let bytes = self.bytes(len, place)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.bad(place, "its text is not UTF-8")),
        }
    }

    /// The bytes of `count` items of `size` bytes.
    pub(crate) fn items(&mut self, count: u64, size: usize, place: &str) -> Result<&'a [u8]> {
        let items = self.check_count(count, size, self.limits.array_len, place)?;
        self.bytes(items * size, place)
    }

    pub(crate) fn strings(&mut self, count: u64, place: &str) -> Result<Vec<String>> {
        let items = self.check_count(count, 8, self.limits.array_len, place)?;
        let mut strings = Vec::with_capacity(items);
        for _ in 0..items {
            strings.push(self.string(place)?);
        }
        Ok(strings)
    }
}
