//! Which bytes of a file are there, and a journal of it that outlives the process.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{Error, Result};

/// Byte ranges in order, none touching another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `start..end`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|(_, before)| *before < start);
        let after = self.0.partition_point(|(next, _)| *next <= end);
        let (mut start, mut end) = (start, end);
        for (a, b) in self.0.drain(first..after.max(first)) {
            start = start.min(a);
            end = end.max(b);
        }
        self.0.insert(first, (start, end));
    }

    /// End of what is there from the beginning on.
    pub(super) fn front(&self) -> u64 {
        self.0.first().filter(|(start, _)| *start == 0).map_or(0, |(_, end)| *end)
    }

    /// Bytes in all.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// What lacks of `0..size`, in pieces of at most `piece` bytes.
    pub(super) fn missing(&self, size: u64, piece: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in self.0.iter().copied().chain([(size, size)]) {
            while at < start.min(size) {
                let to = start.min(size).min(at.saturating_add(piece.max(1)));
                gaps.push((at, to));
                at = to;
            }
            at = at.max(end);
        }
        gaps
    }

    /// Only what is there from the beginning on.
    pub(super) fn keep_front(&mut self) {
        let front = self.front();
        self.0.clear();
        self.add(0, front);
    }
}

/// The journal beside a partial file: a line for each range that was written.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

/// Bytes of a journal that are read. A longer one is begun anew.
const READ: u64 = 4 << 20;

impl Journal {
    /// Where it lies.
    pub(super) fn path_of(partial: &Path) -> PathBuf {
        let mut name = partial.as_os_str().to_owned();
        name.push(".ranges");
        PathBuf::from(name)
    }

    /// Opens a partial file's journal, and says what of `0..size` it holds.
    pub(super) fn open(partial: &Path, size: u64) -> Result<(Self, Ranges)> {
        let path = Self::path_of(partial);
        let opened = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = opened.map_err(Error::io(&path, "open"))?;
        let mut text = String::new();
        // What cannot be read is fetched again.
        let read = Read::by_ref(&mut file).take(READ).read_to_string(&mut text);
        let whole = read.is_ok() && text.len() < READ as usize;
        let ranges = if whole { parse(&text, size) } else { Ranges::default() };
        let journal = Self { path, file: Mutex::new(file) };
        journal.rewrite(&ranges, size)?;
        Ok((journal, ranges))
    }

    /// Notes a range.
    pub(super) fn add(&self, start: u64, end: u64) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{start} {end}\n").as_bytes())
            .map_err(Error::io(&self.path, "write"))
    }

    /// Begins anew with these.
    pub(super) fn rewrite(&self, ranges: &Ranges, size: u64) -> Result<()> {
        let mut text = format!("mdl-ranges {size}\n");
        for (start, end) in &ranges.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{start} {end}");
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(Error::io(&self.path, "write"))
    }
}

/// A line cut short by the end of a process ends the reading.
fn parse(text: &str, size: u64) -> Ranges {
    let mut ranges = Ranges::default();
    let mut lines = text.split_inclusive('\n').map_while(|line| line.strip_suffix('\n'));
    if lines.next() != Some(format!("mdl-ranges {size}").as_str()) {
        return ranges;
    }
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        (start < end && end <= size).then_some((start, end))
    };
    for (start, end) in lines.map_while(range) {
        ranges.add(start, end);
    }
    ranges
}

/// Removes a partial file and its journal.
pub(crate) fn discard(partial: &Path) -> Result<()> {
    for path in [partial.to_owned(), Journal::path_of(partial)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "remove")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the journal of a partial file that became what it was to be.
pub(crate) fn discard_journal(partial: &Path) {
    // It would be ignored, and `mdl prune` finds it.
    let _ = std::fs::remove_file(Journal::path_of(partial));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_gaps_are_found() {
        let mut ranges = Ranges::default();
        for (start, end) in [(10, 20), (30, 40), (20, 25), (0, 5), (4, 11), (7, 7)] {
            ranges.add(start, end);
        }
        assert_eq!(ranges.0, [(0, 25), (30, 40)]);
        assert_eq!((ranges.front(), ranges.total()), (25, 35));
        assert_eq!(ranges.missing(50, 4), [(25, 29), (29, 30), (40, 44), (44, 48), (48, 50)]);
        assert_eq!(ranges.missing(35, 100), [(25, 30)]);
        ranges.add(0, 100);
        assert_eq!((ranges.0.len(), ranges.missing(100, 8).len()), (1, 0));
        let mut islands = Ranges::default();
        islands.add(5, 6);
        assert_eq!((islands.front(), islands.missing(6, 9)), (0, vec![(0, 5)]));
        islands.keep_front();
        assert_eq!(islands.total(), 0);
    }

    /// Against a plain array of bytes.
    #[test]
    fn ranges_are_as_marks_on_bytes() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let (mut ranges, mut marks) = (Ranges::default(), [false; 64]);
            for _ in 0..next(12) {
                let (a, b) = (next(65), next(65));
                let (start, end) = (a.min(b), a.max(b));
                ranges.add(start, end);
                marks[start as usize..end as usize].fill(true);
                let lacks = ranges.missing(64, 1);
                let expected: Vec<(u64, u64)> =
                    (0..64).filter(|at| !marks[*at as usize]).map(|at| (at, at + 1)).collect();
                assert_eq!(lacks, expected);
                assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }

    #[test]
    fn a_journal_outlives_and_doubts_itself() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("p");
        let (journal, ranges) = Journal::open(&partial, 100).unwrap();
        assert_eq!(ranges.total(), 0);
        journal.add(0, 10).unwrap();
        journal.add(50, 60).unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(Journal::path_of(&partial)).unwrap();
        file.write_all(b"70 8").unwrap();
        let (_, ranges) = Journal::open(&partial, 100).unwrap();
        assert_eq!(ranges.0, [(0, 10), (50, 60)], "half a line is no range");
        let (_, ranges) = Journal::open(&partial, 101).unwrap();
        assert_eq!(ranges.total(), 0, "of another size it is another file's");
        std::fs::write(Journal::path_of(&partial), "mdl-ranges 9\n5 50\n").unwrap();
        assert_eq!(Journal::open(&partial, 9).unwrap().1.total(), 0, "beyond the end");
    }
}
