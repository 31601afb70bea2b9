//! A folder that receives plain files under their own names, all of them or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use mdl_formats::atomic;

use crate::{
    Error, Progress, Result,
    error::shown,
    fetch::{Check, discard_journal, hash_file},
};

/// The folder within it where unfinished files stay.
const PARTIAL: &str = ".mdl-partial";

/// A folder that receives files.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    replace: bool,
}

/// A file that a folder is to hold.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) name: String,
    pub(crate) check: Check,
    pub(crate) size: u64,
}

impl Folder {
    /// Opens a folder, or makes it. With `replace`, files that differ are replaced.
    pub(crate) fn open(root: &Path, replace: bool) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io(root, "create the folder"))?;
        Ok(Self { root: root.to_owned(), replace })
    }

    /// Looks at everything before anything is done, and gives back what lacks.
    ///
    /// # Errors
    /// [`Error::Refused`] for names that leave the folder and files that differ; then nothing was touched.
    pub(crate) fn lacking(&self, files: &[Placed], progress: &dyn Progress) -> Result<Vec<Placed>> {
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        for file in files {
            safe(&file.name)?;
            let mut parents = file.name.match_indices('/').map(|(at, _)| file.name.get(..at));
            if parents.any(|parent| parent.is_some_and(|parent| names.contains(parent))) {
                let what = format!("{} lies within another file", shown(&file.name));
                return Err(Error::refused(what, "the package cannot be laid out as files"));
            }
        }
        let mut known: BTreeMap<&str, &Placed> = BTreeMap::new();
        let mut lacking = Vec::new();
        for file in files {
            if let Some(before) = known.insert(&file.name, file) {
                if before.check != file.check {
                    let what = format!("two different files are called {}", shown(&file.name));
                    return Err(Error::refused(what, "the package cannot be laid out as files"));
                }
                continue;
            }
            progress.expect(file.size);
            if self.holds(file)? {
                progress.skip(file.size);
            } else {
                lacking.push(file.clone());
            }
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
        }
        Ok(lacking)
    }

    /// Whether exactly this file is there: it is read, for what was known of it may be old.
    fn holds(&self, file: &Placed) -> Result<bool> {
        let mut at = self.root.clone();
        let (parents, last) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            match at.symlink_metadata() {
                Ok(facts) if facts.is_dir() => {}
                Ok(_) => {
                    let what = format!("{} is no folder", at.display());
                    return Err(Error::refused(what, "move it away, or choose another folder"));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(Error::io(&at, "look at")(error)),
            }
        }
        at.push(last);
        let facts = match at.symlink_metadata() {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io(&at, "look at")(error)),
        };
        if facts.is_dir() {
            let what = format!("{} is a folder, where a file is to be", at.display());
            return Err(Error::refused(what, "move it away, or choose another folder"));
        }
        let same = facts.is_file()
            && facts.len() == file.size
            && hash_file(&at, &file.check)? == file.check;
        if !same && !self.replace {
            let what = format!("{} is there and differs", at.display());
            return Err(Error::refused(
                what,
                "give --force to replace it, or choose another folder",
            ));
        }
        Ok(same)
    }

    /// Where an unfinished file stays.
    pub(crate) fn partial(&self, check: &Check) -> Result<PathBuf> {
        let folder = self.root.join(PARTIAL);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "create the folder"))?;
        Ok(folder.join(check.to_string().replace(':', "-")))
    }

    /// Gives finished files their names. They were verified.
    pub(crate) fn place(&self, files: &[Placed]) -> Result<()> {
        let mut by_content: BTreeMap<String, Vec<&Placed>> = BTreeMap::new();
        for file in files {
            by_content.entry(file.check.to_string()).or_default().push(file);
        }
        let mut folders = BTreeSet::new();
        for same in by_content.values() {
            let Some((first, copies)) = same.split_first() else { continue };
            let partial = self.partial(&first.check)?;
            for copy in copies {
                // The same content under another name is another file.
                let mut beside = partial.as_os_str().to_owned();
                beside.push(".copy");
                let beside = PathBuf::from(beside);
                fs::copy(&partial, &beside).map_err(Error::io(&beside, "write"))?;
                folders.insert(self.name(&beside, &copy.name)?);
            }
            folders.insert(self.name(&partial, &first.name)?);
            discard_journal(&partial);
        }
        for folder in &folders {
            atomic::sync_folder(folder)?;
        }
        self.tidy();
        Ok(())
    }

    /// Removes the folder of unfinished files where none is left.
    pub(crate) fn tidy(&self) {
        // One that still holds something stays.
        let _ = fs::remove_dir(self.root.join(PARTIAL));
    }

    fn name(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let to = self.root.join(name);
        let folder = atomic::folder_of(&to);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "create the folder"))?;
        File::open(from).and_then(|file| file.sync_all()).map_err(Error::io(from, "flush"))?;
        atomic::rename(from, &to, self.replace)?;
        Ok(folder)
    }
}

/// Refuses names that leave the folder, or that some system reads as something else.
pub(crate) fn safe(name: &str) -> Result<()> {
    let part = |part: &str| {
        !matches!(part, "" | "." | ".." | PARTIAL)
            && part.len() <= 255
            && !part.contains(|c: char| c.is_control() || c == '\\')
    };
    if name.len() > 4000 || !name.split('/').all(part) {
        let what = format!("`{}` is no name for a file within a folder", shown(name));
        return Err(Error::refused(what, "the package comes from somebody who means no good"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mdl_store::Digest;

    use super::*;
    use crate::Unwatched;

    fn placed(name: &str, content: &[u8]) -> Placed {
        let check = Check::Digest(Digest::of(content));
        Placed { name: name.to_owned(), check, size: content.len() as u64 }
    }

    #[test]
    fn names_that_leave_the_folder() {
        for good in ["a", "a/b.txt", ".hidden", "ä b", "a/..b"] {
            assert!(safe(good).is_ok(), "{good}");
        }
        let long = "x/".repeat(3000);
        for bad in
            ["", "/a", "a//b", "a/", "..", "a/../b", ".", "a\\b", "a\nb", ".mdl-partial/x", &long]
        {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_there_is_kept_and_what_differs_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("models/one");
        let folder = Folder::open(&root, false).unwrap();
        fs::write(root.join("same"), "same").unwrap();
        let files = [placed("same", b"same"), placed("sub/new", b"new"), placed("new2", b"new")];
        let lacking = folder.lacking(&files, &Unwatched).unwrap();
        assert_eq!(lacking.iter().map(|file| &file.name).collect::<Vec<_>>(), ["sub/new", "new2"]);
        fs::write(folder.partial(&lacking[0].check).unwrap(), "new").unwrap();
        folder.place(&lacking).unwrap();
        assert_eq!(fs::read(root.join("sub/new")).unwrap(), b"new");
        assert_eq!(fs::read(root.join("new2")).unwrap(), b"new");
        assert!(!root.join(PARTIAL).exists());

        fs::write(root.join("same"), "other").unwrap();
        let refused = folder.lacking(&files, &Unwatched).unwrap_err();
        assert!(refused.to_string().contains("differs"), "{refused}");
        let forced = Folder::open(&root, true).unwrap();
        assert_eq!(forced.lacking(&files, &Unwatched).unwrap().len(), 1);
        assert_eq!(fs::read(root.join("same")).unwrap(), b"other", "not yet");
    }

    #[test]
    fn links_and_files_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let folder = Folder::open(&root, true).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("sub")).unwrap();
        let refused = folder.lacking(&[placed("sub/x", b"x")], &Unwatched).unwrap_err();
        assert!(refused.to_string().contains("no folder"), "{refused}");
        fs::create_dir(root.join("x")).unwrap();
        assert!(folder.lacking(&[placed("x", b"x")], &Unwatched).is_err());
        let within = [placed("a", b"x"), placed("a/b", b"y")];
        assert!(folder.lacking(&within, &Unwatched).is_err());
        let twice = [placed("a", b"x"), placed("a", b"y")];
        assert!(folder.lacking(&twice, &Unwatched).is_err());
    }
}
