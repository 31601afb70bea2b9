//! Which files are packed, and what they are.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use mdl_formats::{Checkpoint, Error as FormatError};

use super::{Plan, PlanFile, sort};
use crate::{
    Error, Facts, LayerKind, Limits, Result, check_names,
    facts::borrowed,
    signing::{Bundle, MODEL_SIGNATURE, SIGNATURE_FILE},
};

/// A file alone, or all parts of a split GGUF.
pub(super) fn file(path: &Path, limits: &Limits) -> Result<Plan> {
    let mut paths = vec![path.to_owned()];
    let mut facts = Facts::default();
    if begins(path, 4)? == b"GGUF" {
        let checkpoint = Checkpoint::open(path, &limits.formats)?;
        facts = Facts::of_checkpoint(&checkpoint);
        facts.format = Some("gguf".to_owned());
        paths = checkpoint.sources;
    }
    let mut named = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = name.ok_or_else(|| not_text(&path))?;
        named.push((name, path));
    }
    if facts.format.is_none() {
        facts = Facts::of_files(&borrowed(&named), limits);
    }
    plan(named, facts, Vec::new())
}

/// Every regular file of a folder.
pub(super) fn folder(root: &Path, limits: &Limits) -> Result<Plan> {
    let real = fs::canonicalize(root).map_err(FormatError::io(root, "open"))?;
    let mut walk =
        Walk { root: root.to_owned(), real, limits, files: Vec::new(), notes: Vec::new() };
    walk.folder(root, "", &mut Vec::new())?;
    let Walk { mut files, mut notes, .. } = walk;
    files.sort();
    if files.is_empty() {
        let hint = if notes.is_empty() { String::new() } else { notes.join("; ") };
        return Err(Error::unpackable(root, "holds no files to pack", hint));
    }
    let signature = take_signature(&mut files, limits)?;
    let facts = folder_facts(root, &files, limits, &mut notes);
    Ok(Plan { signature, ..plan(files, facts, notes)? })
}

/// A model signature that lies beside the files it is over, where there is one. A file that is only called so stays.
fn take_signature(files: &mut Vec<(String, PathBuf)>, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let Some(at) = files.iter().position(|(name, _)| name == SIGNATURE_FILE) else {
        return Ok(None);
    };
    let Some((_, path)) = files.get(at).filter(|_| files.len() > 1) else { return Ok(None) };
    let bytes = begins(path, limits.document_bytes as u64)?;
    let is_one =
        Bundle::read(&bytes).is_ok_and(|it| it.unverified().predicate_type == MODEL_SIGNATURE);
    if is_one {
        files.remove(at);
    }
    Ok(is_one.then_some(bytes))
}

/// What the model in a folder is: as our reader of models has it, else by what single files say.
fn folder_facts(
    root: &Path,
    files: &[(String, PathBuf)],
    limits: &Limits,
    notes: &mut Vec<String>,
) -> Facts {
    let has = |end: &str| files.iter().any(|(name, _)| name.to_ascii_lowercase().ends_with(end));
    let is_model = root.join("config.json").is_file() && has(".safetensors") && !has(".gguf");
    if is_model {
        match Checkpoint::open(root, &limits.formats) {
            Ok(checkpoint) => {
                let mut facts = Facts::of_checkpoint(&checkpoint);
                facts.format = Some("safetensors".to_owned());
                return facts;
            }
            // A family that is not known is packed all the same.
            Err(FormatError::Unsupported { .. }) => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    let mut facts = Facts::of_files(&borrowed(files), limits);
    notes.append(&mut facts.notes);
    facts
}

/// Sorts files into layers: weights first, then by kind and name.
fn plan(files: Vec<(String, PathBuf)>, facts: Facts, mut notes: Vec<String>) -> Result<Plan> {
    check_names(files.iter().map(|(name, _)| name.as_str()))?;
    let mut sorted = Vec::with_capacity(files.len());
    for (name, path) in files {
        let begin = begins(&path, 512)?;
        if begin.starts_with(b"version https://git-lfs") {
            notes.push(format!("{name} is a git-lfs pointer, not the file that it stands for"));
        }
        let kind = sort::by_content(&begin).or_else(|| sort::by_name(&name));
        let kind = kind.unwrap_or(LayerKind::Other);
        let size = fs::metadata(&path).map_err(FormatError::io(&path, "read the size of"))?.len();
        let media_type = sort::media_type(kind);
        sorted.push((kind, PlanFile { name, path, size, media_type }));
    }
    sorted.sort_by(|(kind, file), (other_kind, other)| {
        (kind, &file.name).cmp(&(other_kind, &other.name))
    });
    let files = sorted.into_iter().map(|(_, file)| file).collect();
    Ok(Plan { files, facts, provenance: None, signature: None, notes })
}

/// A walk through a folder.
struct Walk<'a> {
    root: PathBuf,
    /// The root, without symbolic links.
    real: PathBuf,
    limits: &'a Limits,
    files: Vec<(String, PathBuf)>,
    notes: Vec<String>,
}

impl Walk<'_> {
    /// Takes up what lies in a folder; `above` are the folders around it, without symbolic links.
    fn folder(&mut self, path: &Path, name: &str, above: &mut Vec<PathBuf>) -> Result<()> {
        if above.len() >= self.limits.depth {
            let problem = format!("folders lie deeper than the limit of {}", self.limits.depth);
            return Err(Error::unpackable(path, problem, ""));
        }
        let real = fs::canonicalize(path).map_err(FormatError::io(path, "open"))?;
        if above.contains(&real) {
            self.notes.push(format!("{name} is left out: it leads to a folder that it lies in"));
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(FormatError::io(path, "list"))?;
        let mut found = Vec::new();
        for entry in entries {
            found.push(entry.map_err(FormatError::io(path, "list"))?.path());
        }
        found.sort();
        above.push(real);
        for path in found {
            self.entry(path, name, above)?;
        }
        above.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, folder: &str, above: &mut Vec<PathBuf>) -> Result<()> {
        let own = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_text(&path))?;
        // Git's files, download caches, and files that this program has not finished.
        if own.starts_with(".git") || own == ".cache" || own.starts_with(".mdl-") {
            return Ok(());
        }
        let name = if folder.is_empty() { own.to_owned() } else { format!("{folder}/{own}") };
        let facts = fs::symlink_metadata(&path).map_err(FormatError::io(&path, "open"))?;
        if facts.is_symlink() {
            match fs::canonicalize(&path) {
                Err(_) => {
                    self.notes.push(format!("{name} is left out: it is a link to nothing"));
                    return Ok(());
                }
                Ok(target) if !target.starts_with(&self.real) => {
                    self.notes.push(format!(
                        "{name} is left out: it is a link out of {}",
                        self.root.display()
                    ));
                    return Ok(());
                }
                Ok(_) => {}
            }
        }
        let facts = fs::metadata(&path).map_err(FormatError::io(&path, "open"))?;
        if facts.is_dir() {
            return self.folder(&path, &name, above);
        }
        if !facts.is_file() {
            self.notes.push(format!("{name} is left out: it is no regular file"));
            return Ok(());
        }
        if self.files.len() >= self.limits.files {
            let problem = format!("more files than the limit of {}", self.limits.files);
            return Err(Error::unpackable(&self.root, problem, ""));
        }
        self.files.push((name, path));
        Ok(())
    }
}

/// The first bytes of a file.
fn begins(path: &Path, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(FormatError::io(path, "open"))?;
    file.take(count).read_to_end(&mut bytes).map_err(FormatError::io(path, "read"))?;
    Ok(bytes)
}

fn not_text(path: &Path) -> Error {
    Error::unpackable(path, "its name is not UTF-8 text", "rename it")
}
