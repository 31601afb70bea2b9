//! Files and folders of the simulated disk: as they are, and as they are on the platter.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

use super::Rng;

/// Written as a whole or not at all.
const SECTOR: usize = 512;

/// All files and folders; the first is the root. None is ever freed: a disk lives for one test.
#[derive(Debug)]
pub(super) struct Tree(Vec<Node>);

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    /// What a crash cannot take.
    durable: Vec<u8>,
    /// What happened since.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Debug, Default)]
struct Folder {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// What each changed name was meanwhile.
    pending: BTreeMap<String, Vec<Option<usize>>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self(vec![Node::Folder(Folder::default())])
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::Len(len) => content.resize(*len, 0),
        }
    }

    /// What a crash makes of it.
    fn crash(&self, content: &mut Vec<u8>, rng: &mut Rng) {
        let (offset, bytes) = match self {
            Self::Len(_) => {
                if rng.once_in(2) {
                    self.apply(content);
                }
                return;
            }
            Self::Write { offset, bytes } => (*offset, bytes),
        };
        match rng.below(4) {
            0 => {}
            1 => self.apply(content),
            // The length came through, the bytes did not.
            2 => content.resize(content.len().max(offset + bytes.len()), 0),
            _ => {
                let mut at = 0;
                while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                    // Sectors lie at multiples of their size.
                    let len = (SECTOR - (offset + at) % SECTOR).min(rest.len());
                    if rng.once_in(2) {
                        put(content, offset + at, rest.get(..len).unwrap_or_default());
                    }
                    at += len;
                }
            }
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn crash(&mut self, rng: &mut Rng) {
        for change in self.pending.drain(..) {
            change.crash(&mut self.durable, rng);
        }
        self.now.clone_from(&self.durable);
    }
}

impl Folder {
    fn set(&mut self, name: &str, to: Option<usize>) {
        let before = match to {
            Some(id) => self.now.insert(name.to_owned(), id),
            None => self.now.remove(name),
        };
        self.pending.entry(name.to_owned()).or_insert_with(|| vec![before]).push(to);
    }

    fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.now);
    }

    fn crash(&mut self, rng: &mut Rng) {
        for (name, values) in std::mem::take(&mut self.pending) {
            match rng.pick(&values).copied().flatten() {
                Some(id) => self.durable.insert(name, id),
                None => self.durable.remove(&name),
            };
        }
        self.now.clone_from(&self.durable);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Tree {
    fn folder(&mut self, id: usize) -> io::Result<&mut Folder> {
        match self.0.get_mut(id) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, id: usize) -> io::Result<&mut File> {
        match self.0.get_mut(id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn content(&self, id: usize) -> io::Result<&[u8]> {
        match self.0.get(id) {
            Some(Node::File(file)) => Ok(&file.now),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Some(Node::Folder(folder)) = self.0.get(at) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *name.to_str().and_then(|name| folder.now.get(name)).ok_or_else(missing)?;
        }
        Ok(at)
    }

    /// The folder a path is in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(usize, &'a str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    pub(super) fn file_at(&self, path: &Path) -> io::Result<usize> {
        let id = self.find(path)?;
        self.content(id)?;
        Ok(id)
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (folder, name) = self.place(path)?;
        let id = self.0.len();
        let folder = self.folder(folder)?;
        if folder.now.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        folder.set(name, Some(id));
        self.0.push(node);
        Ok(id)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.add(path, Node::File(File::default()))
    }

    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(id) => self.folder(id).map(|_| ()),
            Err(_) => self.add(path, Node::Folder(Folder::default())).map(|_| ()),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.file_at(from)?;
        let ((source, name), (target, new)) = (self.place(from)?, self.place(to)?);
        // Two names of one file: nothing happens, says POSIX.
        if self.find(to).is_ok_and(|there| there == id) {
            return Ok(());
        }
        self.folder(target)?.set(new, Some(id));
        self.folder(source)?.set(name, None);
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.file_at(from)?;
        let (target, new) = self.place(to)?;
        let folder = self.folder(target)?;
        if folder.now.contains_key(new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        folder.set(new, Some(id));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file_at(path)?;
        let (folder, name) = self.place(path)?;
        self.folder(folder)?.set(name, None);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.0.get(self.find(path)?) {
            Some(Node::Folder(folder)) => Ok(folder.now.keys().cloned().collect()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.folder(id)?.sync();
        Ok(())
    }

    pub(super) fn write(&mut self, id: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
        self.file(id)?.change(change);
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: usize, len: u64) -> io::Result<()> {
        self.file(id)?.change(Change::Len(len as usize));
        Ok(())
    }

    pub(super) fn sync(&mut self, id: usize) -> io::Result<()> {
        self.file(id)?.sync();
        Ok(())
    }

    pub(super) fn damage(&mut self, id: usize, at: u64) -> io::Result<()> {
        let file = self.file(id)?;
        file.sync();
        for content in [&mut file.now, &mut file.durable] {
            let byte = content.get_mut(at as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte = !*byte;
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        for node in &mut self.0 {
            match node {
                Node::File(file) => file.crash(rng),
                Node::Folder(folder) => folder.crash(rng),
            }
        }
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let (mut found, mut open) = (Vec::new(), vec![(PathBuf::from("/"), 0)]);
        while let Some((path, id)) = open.pop() {
            match self.0.get(id) {
                Some(Node::File(file)) => found.push((path, file.now.len() as u64)),
                Some(Node::Folder(folder)) => {
                    open.extend(folder.now.iter().map(|(name, id)| (path.join(name), *id)));
                }
                None => {}
            }
        }
        found.sort();
        found
    }
}
