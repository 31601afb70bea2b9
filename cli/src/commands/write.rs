//! What `convert` and `quantize` share: a plan becomes a file.

use std::{collections::BTreeSet, path::Path};

use mdl_formats::{Checkpoint, digest::DigestCache};
use mdl_quant::{
    Error, Imatrix, Origin, Plan, PlannedTensor, Recipe,
    pipeline::{self, Options, Order},
};
use serde::Serialize;

use crate::{
    failure::Failure,
    printer::Printer,
    progress::{Hashing, INTERRUPTED, Progress, stop_on_interrupt},
    settings::Settings,
};

/// A file that was written, for reports.
#[derive(Debug, Serialize)]
pub(crate) struct FileReport {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) plan: &'a Plan,
    /// A recipe whose sources must be these.
    pub(crate) recipe: Option<&'a Recipe>,
    pub(crate) imatrix: Option<&'a Imatrix>,
    pub(crate) destination: &'a Path,
    pub(crate) split: Option<u64>,
    pub(crate) force: bool,
}

/// Writes it, showing progress; Ctrl-C leaves it to be gone on with.
pub(crate) fn run(
    job: &Job<'_>,
    settings: &Settings,
    printer: Printer,
) -> Result<Vec<FileReport>, Failure> {
    pipeline::check_destination(job.checkpoint, job.plan, job.destination, job.split, job.force)?;
    stop_on_interrupt()?;
    let sources = origins(job.checkpoint, settings, printer)?;
    if let Some(recipe) = job.recipe {
        recipe.check_sources(&sources)?;
    }
    let recipe = job.plan.recipe(sources);
    let order = Order {
        checkpoint: job.checkpoint,
        plan: job.plan,
        recipe: &recipe,
        imatrix: job.imatrix,
        destination: job.destination,
        split: job.split,
    };
    let options = Options {
        threads: settings.threads,
        tier: settings.tier,
        force: job.force,
        interrupt: &INTERRUPTED,
    };
    let progress = Progress::bytes(printer);
    let written = pipeline::quantize(&order, &options, &progress);
    progress.finish();
    let written = written.map_err(explain)?;
    // So that packing and pushing them hashes nothing again.
    let mut digests = DigestCache::open(settings.home.as_deref());
    digests.note(written.iter().map(|file| (file.path.as_path(), file.sha256.as_str())));
    let report = |file: pipeline::Written| FileReport {
        path: file.path.display().to_string(),
        bytes: file.bytes,
        sha256: file.sha256,
    };
    Ok(written.into_iter().map(report).collect())
}

/// Names and digests of the model's files, showing progress.
pub(crate) fn origins(
    checkpoint: &Checkpoint,
    settings: &Settings,
    printer: Printer,
) -> Result<Vec<Origin>, Failure> {
    let mut digests = DigestCache::open(settings.home.as_deref());
    let watch = Hashing::new(printer);
    let origins = pipeline::origins(checkpoint, &mut digests, &watch);
    watch.finish();
    origins.map_err(explain)
}

/// Says how to go on after an interruption.
fn explain(error: Error) -> Failure {
    match error {
        Error::Interrupted => Failure::new("interrupted; what is done is kept")
            .hint("give the same command again: it goes on from there")
            .status(Failure::INTERRUPTED),
        other => other.into(),
    }
}

/// Says which types stand in for others, each pair once: `Q4_K becomes Q5_0`.
pub(crate) fn warn_of_misfits(plan: &Plan, printer: Printer) {
    let pair = |planned: &PlannedTensor| {
        planned.instead_of.map(|wanted| format!("{wanted} becomes {}", planned.tensor.ty))
    };
    let kinds: BTreeSet<String> = plan.misfits().filter_map(pair).collect();
    if !kinds.is_empty() {
        printer.warn(format!(
            "{} of {} tensors cannot take the type asked for: {}",
            plan.misfits().count(),
            plan.tensors.len(),
            Vec::from_iter(kinds).join(", ")
        ));
    }
}
