//! Names of files in packages: what others wrote must not leave the folder that it is put into.

use std::collections::BTreeSet;

use crate::{Error, Result};

/// Bytes of one part of a name, as file systems have it.
const PART_BYTES: usize = 255;

/// Bytes of a whole name.
const NAME_BYTES: usize = 1024;

/// Parts of a name.
const PARTS: usize = 64;

/// Checks that a name with `/` between its parts names a file below a folder, on every system that we know.
///
/// # Errors
/// [`Error::Name`].
pub fn safe_name(name: &str) -> Result<()> {
    let refuse = |problem: &str| {
        let shown: String = name.chars().take(200).flat_map(char::escape_default).collect();
        Err(Error::Name { name: shown, problem: problem.to_owned() })
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > NAME_BYTES {
        return refuse("it is longer than 1024 bytes");
    }
    if name.starts_with('/') {
        return refuse("it is absolute");
    }
    if name.contains('\\') {
        return refuse("it holds a backslash, which other systems take for a separator");
    }
    if name.chars().any(char::is_control) {
        return refuse("it holds control characters");
    }
    if name.split('/').count() > PARTS {
        return refuse("it has more than 64 parts");
    }
    for part in name.split('/') {
        match part {
            "" => return refuse("a part of it is empty"),
            "." | ".." => return refuse("it leads out of its folder"),
            _ if part.len() > PART_BYTES => return refuse("a part of it is longer than 255 bytes"),
            _ if part.eq_ignore_ascii_case(".git") => {
                return refuse("what lies in .git can make Git run programs");
            }
            _ if part.starts_with(".mdl-") => {
                return refuse("names with .mdl- are those of unfinished files");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks all names of a package: each by [`safe_name`], none twice, and none both a file and a folder.
///
/// # Errors
/// [`Error::Name`].
pub fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut all = BTreeSet::new();
    let refuse = |name: &str, problem: &str| {
        Err(Error::Name { name: name.to_owned(), problem: problem.to_owned() })
    };
    for name in names {
        safe_name(name)?;
        if !all.insert(name) {
            return refuse(name, "two files have it");
        }
    }
    for name in &all {
        let mut parents = name.match_indices('/').filter_map(|(end, _)| name.get(..end));
        if let Some(parent) = parents.find(|parent| all.contains(parent)) {
            return refuse(parent, "it is a file and a folder at once");
        }
    }
    Ok(())
}

/// Whether a name ends so, in whatever case.
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    let found = name.rsplit_once('.').map(|(_, found)| found);
    found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Whether a name is that of what a model sees with, beside its language model.
pub(crate) fn is_projector(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    has_extension(&file, "gguf") && file.contains("mmproj")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for good in ["a", "model.gguf", "a/b/c.json", "...", "a..b", "ä ö/ß.txt", ".gitattributes"]
        {
            assert!(safe_name(good).is_ok(), "{good}");
        }
        let (long, deep) = ("a".repeat(256), vec!["a"; 65].join("/"));
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "a\0b",
            "a\nb",
            ".git/hooks/pre-commit",
            "a/.GIT/config",
            ".mdl-partial/x",
            &long,
            &deep,
        ] {
            assert!(safe_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_a_package_do_not_meet() {
        assert!(check_names(["a", "b/c", "b/d", "A"]).is_ok());
        for bad in [&["a", "a"][..], &["a", "b", "a/b"], &["a/b/c", "a"], &["a", ".."]] {
            assert!(check_names(bad.iter().copied()).is_err(), "{bad:?}");
        }
    }
}
