//! Split models: `NAME-00001-of-00003.gguf` and its siblings.
//!
//! The first file carries all keys; each file names its number (`split.no`, from 0), their count (`split.count`) and
//! the number of tensors in all (`split.tensors.count`). Source: llama.cpp's `llama-gguf-split`.

use std::path::{Path, PathBuf};

use super::read::{Gguf, open};
use crate::{Error, Limits, Result};

/// The keys that every part carries: its number from 0, their count, the tensors in all.
pub(crate) const SPLIT_KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];

/// The path of part `number` (from 1) of `count`, as llama.cpp names it.
pub(crate) fn part_path(prefix: &Path, number: usize, count: usize) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{number:05}-of-{count:05}.gguf"));
    PathBuf::from(name)
}

/// Prefix, number and count, if the path is named as a part.
pub(crate) fn parse_part(path: &Path) -> Option<(PathBuf, usize, usize)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (rest, count) = name.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let number = (number.len() == 5).then(|| number.parse().ok())??;
    let count = (count.len() == 5).then(|| count.parse().ok())??;
    Some((path.with_file_name(prefix), number, count))
}

/// Opens a file, and where it is one part of a split model all its parts, in order.
pub(crate) fn open_all(path: &Path, limits: &Limits) -> Result<Vec<Gguf>> {
    let first = open(path, limits)?;
    let count = first.metadata.u64("split.count").unwrap_or(0);
    if count <= 1 {
        return Ok(vec![first]);
    }
    let bad = |problem: String| Error::malformed(path, "split.count", problem);
    if count > u64::from(limits.splits) {
        return Err(bad(format!("{count} parts are more than the limit of {}", limits.splits)));
    }
    let Some((prefix, _, named)) = parse_part(path) else {
        let hint = "rename the parts NAME-00001-of-0000N.gguf";
        return Err(Error::unsupported(
            path,
            format!("one of {count} parts, but not named as one"),
            hint,
        ));
    };
    if named as u64 != count {
        return Err(bad(format!("it says {count} parts, the file's name {named}")));
    }
    let mut parts = Vec::new();
    for number in 1..=named {
        let part = part_path(&prefix, number, named);
        if !part.exists() {
            return Err(Error::unsupported(
                &part,
                format!("part {number} of {named} is missing"),
                "put all parts in one folder",
            ));
        }
        let opened = open(&part, limits)?;
        let no = opened.metadata.u64("split.no");
        if no != Some(number as u64 - 1) || opened.metadata.u64("split.count") != Some(count) {
            return Err(Error::malformed(
                &part,
                "split.no",
                format!("this is not part {number} of {named}"),
            ));
        }
        parts.push(opened);
    }
    let tensors: usize = parts.iter().map(|part| part.tensors.len()).sum();
    let stated = parts.first().and_then(|part| part.metadata.u64("split.tensors.count"));
    if stated.is_some_and(|stated| stated != tensors as u64) {
        return Err(bad(format!(
            "the parts hold {tensors} tensors, split.tensors.count says {stated:?}"
        )));
    }
    Ok(parts)
}
