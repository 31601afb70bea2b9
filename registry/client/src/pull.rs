//! Fetching a package from a registry: into the local store, or as plain files into a folder.

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use futures_util::{StreamExt as _, stream};
use mdl_artifact::{Package, Pattern};
use mdl_store::{Descriptor, Digest, Links, Reference, layout::Layout};

use crate::{
    Address, Client, Error, Manifest, Result,
    error::shown,
    fetch::{self, Check, Wanted, discard_journal},
    folder::{Folder, Placed},
    push::Aborting,
    registry::{MANIFESTS, OLLAMA_MANIFEST, Repository},
};

/// Manifests within manifests that are followed.
const DEPTH: usize = 4;

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it is.
    pub at: &'a Address,
    /// Whether the registry is of Ollama's kind: it knows tags alone, and nothing is signed there.
    pub ollama: bool,
    /// The manifest that somebody judged; nothing else is taken, whatever the tag points at by now.
    pub judged: Option<&'a Digest>,
}

impl<'a> From<&'a Address> for Source<'a> {
    fn from(at: &'a Address) -> Self {
        Self { at, ollama: false, judged: None }
    }
}

impl Source<'_> {
    /// The manifest and what it names, no deeper than this.
    async fn tree(&self, from: &Repository, depth: usize) -> Result<Tree> {
        if !self.ollama {
            let judged = self.judged.cloned().map(Reference::Digest);
            let reference = judged.as_ref().unwrap_or(&self.at.reference);
            return Tree::fetch(from, reference, MANIFESTS, depth).await;
        }
        let tree = Tree::fetch(from, &self.at.reference, OLLAMA_MANIFEST, depth).await?;
        match self.judged {
            Some(judged) if *judged != tree.manifest.digest => Err(Error::broken(
                self.at.to_string(),
                format!("it is {} now, and what was judged was {judged}", tree.manifest.digest),
            )),
            _ => Ok(tree),
        }
    }
}

/// What fetching did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The manifest.
    pub manifest: Descriptor,
    /// Names of the files, where it is a package of files.
    pub files: Vec<String>,
    /// Bytes of all blobs or files.
    pub bytes: u64,
    /// Blobs or files that were fetched.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Blobs or files that were there.
    pub kept: u64,
    /// Manifests that refer to the package and came with it.
    pub referrers: u64,
}

/// A manifest with what it names.
pub(crate) struct Tree {
    pub(crate) manifest: Manifest,
    pub(crate) blobs: Vec<Descriptor>,
    pub(crate) children: Vec<Tree>,
}

impl Tree {
    /// Fetches a manifest and, of an index, those that it names.
    pub(crate) fn fetch<'a>(
        from: &'a Repository,
        reference: &'a Reference,
        accept: &'a str,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Self>> + Send + 'a>> {
        Box::pin(async move {
            let manifest = from.manifest(reference, accept).await?;
            let limits = &from.peer.http.limits.manifest;
            let links =
                Links::read(&manifest.media_type, &manifest.bytes, limits).map_err(|error| {
                    Error::broken(format!("{}/{}", from.peer.host, from.name), error.to_string())
                })?;
            let mut children = Vec::new();
            for child in &links.manifests {
                if depth == 0 {
                    let what = "indexes within indexes, too deep";
                    return Err(Error::broken(from.peer.host.clone(), what));
                }
                let reference = Reference::Digest(child.digest.clone());
                children.push(Self::fetch(from, &reference, accept, depth - 1).await?);
            }
            Ok(Self { manifest, blobs: links.blobs, children })
        })
    }

    /// All blobs, each once.
    fn all_blobs(&self) -> std::collections::BTreeMap<&Digest, &Descriptor> {
        let mut all: std::collections::BTreeMap<_, _> =
            self.blobs.iter().map(|blob| (&blob.digest, blob)).collect();
        for child in &self.children {
            all.extend(child.all_blobs());
        }
        all
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.manifest.media_type.clone(),
            digest: self.manifest.digest.clone(),
            size: self.manifest.bytes.len() as u64,
        }
    }
}

impl Client {
    /// Fetches a package with its referrers into the local store, under the name `key`; the name appears last.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Unauthorized`], [`Error::Broken`] where the registry does not keep its word.
    pub async fn pull(
        &self,
        source: Source<'_>,
        layout: &Arc<Layout>,
        key: &str,
    ) -> Result<Pulled> {
        let repository = self.repository(&source.at.host, &source.at.name);
        let tree = source.tree(&repository, DEPTH).await?;
        let mut pulled = pulled(&tree);
        self.keep(&repository, &tree, layout, &mut pulled).await?;
        if !source.ollama {
            self.keep_referrers(&repository, &tree, layout, &mut pulled).await?;
        }
        layout.set_reference(key, tree.descriptor())?;
        Ok(pulled)
    }

    /// Fetches the files of a package into a folder, under their own names, without the local store.
    ///
    /// # Errors
    /// As [`Client::pull`], and [`Error::Refused`] for files that are there and differ, and names that leave the folder;
    /// then nothing was touched.
    pub async fn pull_to(
        &self,
        source: Source<'_>,
        include: &[Pattern],
        folder: &Path,
        replace: bool,
    ) -> Result<Pulled> {
        let repository = self.repository(&source.at.host, &source.at.name);
        let tree = source.tree(&repository, 0).await?;
        let files = plain_files(&tree, include)?;
        let (root, looked_for) = (folder.to_owned(), files.clone());
        let progress = self.options.progress.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let folder = Folder::open(&root, replace)?;
            let lacking = folder.lacking(&looked_for, progress.as_ref())?;
            Ok::<_, Error>((folder, lacking))
        });
        let (folder, lacking) = looked.await.map_err(|_| Error::Interrupted)??;
        let mut wanted = Vec::new();
        for file in &lacking {
            let Check::Digest(digest) = &file.check else { continue };
            wanted.push(Wanted {
                source: repository.blob(digest, file.size).await?,
                check: file.check.clone(),
                partial: folder.partial(&file.check)?,
            });
        }
        self.fetch_all(wanted).await?;
        let mut pulled = pulled(&tree);
        pulled.fetched = lacking.len() as u64;
        pulled.fetched_bytes = lacking.iter().map(|file| file.size).sum();
        pulled.kept = (files.len() - lacking.len()) as u64;
        pulled.bytes = files.iter().map(|file| file.size).sum();
        pulled.files = files.into_iter().map(|file| file.name).collect();
        tokio::task::spawn_blocking(move || folder.place(&lacking))
            .await
            .map_err(|_| Error::Interrupted)??;
        Ok(pulled)
    }

    /// Fetches blobs side by side; the same content once.
    pub(crate) async fn fetch_all(&self, wanted: Vec<Wanted>) -> Result<()> {
        let mut wanted = wanted;
        wanted.sort_by(|a, b| a.partial.cmp(&b.partial));
        wanted.dedup_by(|a, b| a.partial == b.partial);
        let fetching = stream::iter(wanted)
            .map(|wanted| {
                let lanes = self.lanes.clone();
                tokio::spawn(async move { fetch::fetch(&wanted, &lanes).await })
            })
            .map(Aborting)
            .buffer_unordered(self.options.parallel.max(1));
        ended(fetching).await
    }

    /// Takes blobs and then manifests into the local store.
    async fn keep(
        &self,
        from: &Repository,
        tree: &Tree,
        layout: &Arc<Layout>,
        pulled: &mut Pulled,
    ) -> Result<()> {
        let mut lacking = Vec::new();
        for (digest, blob) in tree.all_blobs() {
            self.options.progress.expect(blob.size);
            if layout.has_blob(digest)? == Some(blob.size) {
                self.options.progress.skip(blob.size);
                pulled.kept += 1;
                continue;
            }
            pulled.fetched += 1;
            pulled.fetched_bytes += blob.size;
            let wanted = Wanted {
                source: from.blob(digest, blob.size).await?,
                check: Check::Digest(digest.clone()),
                partial: layout.begin_blob(digest),
            };
            lacking.push((digest.clone(), wanted));
        }
        let fetching = stream::iter(lacking)
            .map(|(digest, wanted)| {
                let (lanes, layout) = (self.lanes.clone(), Arc::clone(layout));
                tokio::spawn(async move {
                    fetch::fetch(&wanted, &lanes).await?;
                    let partial = wanted.partial;
                    let named = tokio::task::spawn_blocking(move || {
                        layout.commit_blob(&digest, &partial)?;
                        discard_journal(&partial);
                        Ok(())
                    });
                    named.await.map_err(|_| Error::Interrupted)?
                })
            })
            .map(Aborting)
            .buffer_unordered(self.options.parallel.max(1));
        ended(fetching).await?;
        keep_manifests(tree, layout)
    }

    /// Takes what refers to a package along, and what refers to that.
    async fn keep_referrers(
        &self,
        from: &Repository,
        tree: &Tree,
        layout: &Arc<Layout>,
        pulled: &mut Pulled,
    ) -> Result<()> {
        let mut subjects = vec![(tree.manifest.digest.clone(), DEPTH)];
        while let Some((subject, depth)) = subjects.pop() {
            for referring in from.referrers(&subject).await? {
                let digest = referring.descriptor.digest;
                let reference = Reference::Digest(digest.clone());
                let referrer = Tree::fetch(from, &reference, MANIFESTS, DEPTH).await?;
                self.keep(from, &referrer, layout, pulled).await?;
                layout.add_referrer(referrer.descriptor())?;
                pulled.referrers += 1;
                if depth > 0 {
                    subjects.push((digest, depth - 1));
                }
            }
        }
        Ok(())
    }
}

fn keep_manifests(tree: &Tree, layout: &Layout) -> Result<()> {
    for child in &tree.children {
        keep_manifests(child, layout)?;
    }
    layout.put_manifest(&tree.manifest.digest, &tree.manifest.bytes)?;
    Ok(())
}

/// Waits for tasks; the first that fails ends the others.
async fn ended<S>(tasks: S) -> Result<()>
where
    S: futures_util::Stream<Item = Result<Result<()>, tokio::task::JoinError>>,
{
    let mut tasks = std::pin::pin!(tasks);
    while let Some(ended) = tasks.next().await {
        ended.map_err(|_| Error::Interrupted)??;
    }
    Ok(())
}

fn pulled(tree: &Tree) -> Pulled {
    let package = Package::read(&tree.manifest.media_type, &tree.manifest.bytes, None);
    Pulled {
        manifest: tree.descriptor(),
        files: package.files.into_iter().map(|file| file.name).collect(),
        bytes: tree.all_blobs().values().map(|blob| blob.size).sum(),
        fetched: 0,
        fetched_bytes: 0,
        kept: 0,
        referrers: 0,
    }
}

/// The files that a package puts into a folder.
fn plain_files(tree: &Tree, include: &[Pattern]) -> Result<Vec<Placed>> {
    let digest = &tree.manifest.digest;
    if !tree.manifest.bytes.is_empty() && tree.blobs.is_empty() {
        let what = format!("{digest} is an index or has no files");
        return Err(Error::refused(what, "pull it without --to, or name one of its manifests"));
    }
    let package = Package::read(&tree.manifest.media_type, &tree.manifest.bytes, None);
    if let Some(problem) = package.problems.first() {
        let what = format!("{digest} cannot be laid out as files: {}", shown(problem));
        return Err(Error::refused(what, "pull it without --to to look at it"));
    }
    let mut files = Vec::new();
    for file in package.files.iter().filter(|file| Pattern::wanted(include, &file.name)) {
        if file.archive {
            let what = format!("{} is an archive, which is not unpacked", shown(&file.name));
            return Err(Error::refused(what, "pull it without --to, or choose with --include"));
        }
        files.push(Placed {
            name: file.name.clone(),
            check: Check::Digest(file.descriptor.digest.clone()),
            size: file.descriptor.size,
        });
    }
    if files.is_empty() {
        let what = format!("{digest} has no file that is wanted");
        return Err(Error::refused(what, "look at --include: `*.gguf`, `**/*.json`"));
    }
    Ok(files)
}
