//! The quantizing pipeline: source rows in, finished file out, in slabs of bounded size.
//!
//! Workers take slabs (some rows of one tensor) in order, decode, encode and hash them; the calling thread writes them in
//! order. At most a few slabs per worker are in flight, and mapped pages are dropped behind each, so memory does not grow
//! with the model. The header is known before the first slab: its length depends on names and shapes alone.
//!
//! The file grows as `NAME.partial` beside its destination with a journal of what is in it; an interrupted run goes on
//! after checking that, and the finished file is renamed into place.

mod encode;
mod finite;
mod journal;
mod output;
mod queue;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use mdl_formats::{
    Checkpoint,
    digest::{DigestCache, Watch},
    gguf::{Layout, Metadata},
};
use mdl_kernels::Tier;

use crate::{Error, Imatrix, Origin, Plan, Recipe, Result};
use encode::{Slab, slabs};
use output::{Opened, Output};

/// How to work; nothing here changes the result.
#[derive(Debug)]
pub struct Options<'a> {
    /// Worker threads.
    pub threads: usize,
    /// Instruction set.
    pub tier: Tier,
    /// Replace an existing destination.
    pub force: bool,
    /// Set by somebody else to stop early; what is done is kept.
    pub interrupt: &'a AtomicBool,
}

/// Told how far the work is.
pub trait Progress: Sync {
    /// Work begins: bytes to write in all, bytes already there from an interrupted run.
    fn begin(&self, total: u64, resumed: u64);
    /// The file has grown to this many bytes; `tensor` is being worked on.
    fn advance(&self, written: u64, tensor: &str);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: &str) {}
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}

/// Names and digests of a checkpoint's files, for its recipe.
///
/// # Errors
/// [`Error::Format`] where one cannot be read, [`Error::Interrupted`].
pub fn origins(
    checkpoint: &Checkpoint,
    cache: &mut DigestCache,
    watch: &dyn Watch,
) -> Result<Vec<Origin>> {
    let digests = cache.sha256_all(&checkpoint.sources, watch)?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(checkpoint
        .sources
        .iter()
        .map(name)
        .zip(digests)
        .map(|(name, sha256)| Origin { name, sha256 })
        .collect())
}

/// What is to be made.
#[derive(Debug)]
pub struct Order<'a> {
    /// The source.
    pub checkpoint: &'a Checkpoint,
    /// What was decided.
    pub plan: &'a Plan,
    /// The plan's recipe, to be embedded.
    pub recipe: &'a Recipe,
    /// The importance matrix that the plan was made with.
    pub imatrix: Option<&'a Imatrix>,
    /// The file to write.
    pub destination: &'a Path,
    /// Split into parts of at most so many bytes of tensors.
    pub split: Option<u64>,
}

/// Writes the planned file, or the parts of a split one; they become visible when all are complete.
///
/// # Errors
/// [`Error::Format`] naming file and place, [`Error::Interrupted`]; an unfinished file is kept for the next run.
pub fn quantize(
    order: &Order<'_>,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Written>> {
    let metadata = order.plan.metadata(order.checkpoint, order.recipe, order.imatrix);
    let files = layouts(order.plan, order.destination, order.split, &metadata)?;
    refuse(order.checkpoint, &files, options.force)?;
    let mut outputs = Vec::new();
    for (path, layout) in &files {
        let work = slabs(order.checkpoint, order.plan, layout)?;
        let output = output::open(path, layout, &work, options.force)?;
        outputs.push((output, work, layout));
    }
    let total = files.iter().map(|(_, layout)| layout.len).sum();
    let resumed = |(output, _, layout): &(Opened, _, &Layout)| match output {
        Opened::Growing(output) => output.resumed(),
        Opened::Published(_) => layout.len,
    };
    progress.begin(total, outputs.iter().map(resumed).sum());
    let mut before = 0;
    let mut sealed = Vec::new();
    for (output, work, layout) in outputs {
        sealed.push(match output {
            Opened::Published(file) => file,
            Opened::Growing(output) => {
                fill(order, output, &work, layout, options, &|written, name| {
                    progress.advance(before + written, name);
                })?
            }
        });
        before += layout.len;
    }
    let lengths = files.iter().map(|(_, layout)| layout.len);
    let written = output::publish(sealed, options.force)?.into_iter().zip(lengths);
    Ok(written.map(|((path, sha256), bytes)| Written { path, bytes, sha256 }).collect())
}

/// Refuses what [`quantize`] would refuse about the destination, before the sources are hashed: something stands there,
/// or where a part of a split file would, or it is the source.
///
/// # Errors
/// [`Error::Format`], [`Error::Refused`] naming the file.
pub fn check_destination(
    checkpoint: &Checkpoint,
    plan: &Plan,
    destination: &Path,
    split: Option<u64>,
    force: bool,
) -> Result<()> {
    // Names and number of the parts do not depend on the keys that come later.
    let files = layouts(plan, destination, split, &checkpoint.metadata)?;
    refuse(checkpoint, &files, force)
}

fn layouts(
    plan: &Plan,
    destination: &Path,
    split: Option<u64>,
    metadata: &Metadata,
) -> Result<Vec<(PathBuf, Layout)>> {
    Ok(Layout::split(destination, metadata, &plan.targets(), split.unwrap_or(u64::MAX))?)
}

fn refuse(checkpoint: &Checkpoint, files: &[(PathBuf, Layout)], force: bool) -> Result<()> {
    files.iter().try_for_each(|(path, _)| {
        output::refuse(path, force)?;
        refuse_source(checkpoint, path)
    })
}

/// Fills one file to its end.
fn fill(
    order: &Order<'_>,
    mut output: Output,
    work: &[Slab],
    layout: &Layout,
    options: &Options<'_>,
    advance: &dyn Fn(u64, &str),
) -> Result<output::Sealed> {
    let job =
        encode::Job { checkpoint: order.checkpoint, imatrix: order.imatrix, tier: options.tier };
    let rest = work.get(output.done()..).unwrap_or_default();
    queue::in_order(
        rest,
        options.threads,
        options.interrupt,
        |slab, buffers| job.encode(slab, buffers),
        |slab: &Slab, encoded| {
            output.write(slab, &encoded)?;
            advance(output.written(), &slab.name);
            Ok(())
        },
    )?;
    if options.interrupt.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    output.seal(layout)
}

fn refuse_source(checkpoint: &Checkpoint, destination: &Path) -> Result<()> {
    match checkpoint.sources.iter().find(|source| same_file(source, destination)) {
        Some(source) => Err(Error::refused(
            format!("{} is the source itself", source.display()),
            "write to another name",
        )),
        None => Ok(()),
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
