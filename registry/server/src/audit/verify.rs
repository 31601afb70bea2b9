//! Reading a chain again, line by line, in memory that does not grow with it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{
    append::noted,
    chain::{Head, LINE_BYTES, Link},
    place::{log, shared},
};
use crate::{Error, Result};

/// What was found in a chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Lines.
    pub lines: u64,
    /// The first line's number: above 1 where older files were not given.
    pub begins: u64,
    /// When the first line was written.
    pub from: String,
    /// When the last line was written.
    pub to: String,
    /// The end of the chain.
    pub head: Head,
    /// Bytes after it that are no whole line: what a crash left, until the next line is added.
    pub torn: u64,
}

/// Where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// What is there, and what was expected.
    pub what: String,
}

/// What came of reading a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every line follows from the one before.
    Holds(Report),
    /// The first line that does not.
    Broken(Fault),
    /// There is no line.
    Empty,
}

/// Reads the chain that goes through files in this order; of none the log of the registry in a folder, which must not be
/// behind what was noted of it. A head that was exported earlier must stand in the chain.
///
/// # Errors
/// [`Error::Io`], [`Error::Config`]: what cannot be read is not judged.
pub fn verify(root: Option<&Path>, files: &[PathBuf], exported: Option<&Head>) -> Result<Verdict> {
    let exported = exported.map(|head| Wanted::new("the head that was given", head.clone(), true));
    let mut walk = Walk { report: None, wanted: exported.into_iter().collect(), torn: 0 };
    // While files are measured nobody adds to them; what is added later is not looked at.
    let held = root.map_or(Ok(None), shared).map_err(|source| Error::Io {
        what: "lock the audit log of",
        path: root.unwrap_or(Path::new("")).to_owned(),
        source,
    })?;
    let mut own = Vec::new();
    if let (Some(root), true) = (root, files.is_empty()) {
        own.extend(log(root)?);
        let noted = held.as_ref().and_then(noted);
        walk.wanted.extend(noted.map(|head| Wanted::new("what the registry noted", head, false)));
    }
    let is_own = files.is_empty();
    let files = if is_own { &own } else { files };
    let mut opened = Vec::new();
    for path in files {
        let failed = |source| Error::Io { what: "read", path: path.clone(), source };
        match File::open(path) {
            Ok(file) => {
                let length = file.metadata().map_err(failed)?.len();
                opened.push((path.as_path(), file, length));
            }
            Err(error) if is_own && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    drop(held);
    let count = opened.len();
    for (at, (path, file, length)) in opened.into_iter().enumerate() {
        if let Some(fault) = walk.file(path, file, length, at + 1 == count)? {
            return Ok(Verdict::Broken(fault));
        }
    }
    Ok(walk.end(files.last().map_or(Path::new(""), PathBuf::as_path)))
}

/// A head that must stand in the chain.
struct Wanted {
    /// What it is.
    name: &'static str,
    head: Head,
    /// Whether it may not lie before the first line: what was noted may, where the log began anew since.
    within: bool,
}

impl Wanted {
    fn new(name: &'static str, head: Head, within: bool) -> Self {
        Self { name, head, within }
    }
}

/// The way through a chain.
struct Walk {
    report: Option<Report>,
    wanted: Vec<Wanted>,
    torn: u64,
}

impl Walk {
    fn file(
        &mut self,
        path: &Path,
        file: File,
        length: u64,
        is_last: bool,
    ) -> Result<Option<Fault>> {
        let mut reader = BufReader::with_capacity(LINE_BYTES, file.take(length));
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            number += 1;
            line.clear();
            let read = (&mut reader).take(LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
            let read =
                read.map_err(|source| Error::Io { what: "read", path: path.to_owned(), source })?;
            if read == 0 {
                return Ok(None);
            }
            let judged = match line.strip_suffix(b"\n") {
                Some(line) => self.line(line),
                None if read > LINE_BYTES => {
                    Err(format!("no line has more than {LINE_BYTES} bytes"))
                }
                None if is_last => {
                    self.torn = read as u64;
                    return Ok(None);
                }
                None => Err("it ends in the middle of a line".to_owned()),
            };
            if let Err(what) = judged {
                return Ok(Some(Fault { file: path.to_owned(), line: number, what }));
            }
        }
    }

    /// Takes one line, which must follow from the one before.
    fn line(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        let link = Link::read(line)?;
        let before = match &self.report {
            Some(report) => {
                let expected = report.head.seq.saturating_add(1);
                if link.seq != expected {
                    return Err(format!("its number is {}, expected {expected}", link.seq));
                }
                report.head.clone()
            }
            None if link.seq == 0 => return Err("its number is 0, expected 1 or more".to_owned()),
            None if link.seq == 1 => Head::genesis(),
            // Older files were not given: what came before is believed, but for the heads that are known.
            None => Head { seq: link.seq - 1, sha256: link.prev.clone() },
        };
        if link.prev != before.sha256 {
            return Err(format!(
                "it follows a line with the SHA-256 {}, and the one before has {}: one of the two was changed",
                link.prev, before.sha256
            ));
        }
        if self.report.is_none() {
            self.known(&before)?;
        }
        let head = Head::after(link.seq, line);
        self.known(&head)?;
        let report = self.report.get_or_insert_with(|| Report {
            lines: 0,
            begins: link.seq,
            from: link.time.clone(),
            to: String::new(),
            head: Head::genesis(),
            torn: 0,
        });
        report.lines += 1;
        report.to = link.time;
        report.head = head;
        Ok(())
    }

    /// A head that must stand here does.
    fn known(&mut self, here: &Head) -> std::result::Result<(), String> {
        let is_here = |wanted: &&Wanted| wanted.head.seq == here.seq;
        if let Some(wanted) = self.wanted.iter().filter(is_here).find(|it| it.head != *here) {
            return Err(format!(
                "the SHA-256 of number {} is {}, and {} says {}: the chain was written anew",
                here.seq, here.sha256, wanted.name, wanted.head.sha256
            ));
        }
        self.wanted.retain(|wanted| wanted.head.seq != here.seq);
        Ok(())
    }

    fn end(self, last: &Path) -> Verdict {
        let (begins, ends) = self.report.as_ref().map_or((1, 0), |it| (it.begins, it.head.seq));
        let fault = self.wanted.iter().find_map(|Wanted { name, head, within }| {
            if head.seq > ends {
                let what = format!(
                    "the log ends with number {ends}, and {name} is number {}: lines were cut off",
                    head.seq
                );
                return Some(what);
            }
            (*within && head.seq < begins).then(|| {
                let seq = head.seq;
                format!("it begins with number {begins}, and {name} is number {seq}: give older files too")
            })
        });
        match (fault, self.report) {
            (Some(what), report) => {
                let line = report.map_or(0, |report| report.lines);
                Verdict::Broken(Fault { file: last.to_owned(), line, what })
            }
            (None, Some(report)) => Verdict::Holds(Report { torn: self.torn, ..report }),
            (None, None) => Verdict::Empty,
        }
    }
}
