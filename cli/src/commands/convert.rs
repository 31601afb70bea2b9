//! `mdl convert`: between Hugging Face folders and GGUF.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdl_formats::{
    Checkpoint, Limits,
    convert::{self, FolderOptions},
    digest::DigestCache,
};
use mdl_kernels::TensorType;
use mdl_quant::{Plan, Request, Scheme, pipeline::Progress as _};
use serde::Serialize;

use super::write::{self, FileReport};
use crate::{
    args::{Convert, ConvertType},
    failure::Failure,
    model_argument,
    printer::Printer,
    progress::{Hashing, INTERRUPTED, Progress, stop_on_interrupt},
    settings::Settings,
    units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    files: Vec<FileReport>,
    notes: Vec<String>,
}

pub(crate) fn run(args: &Convert, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let path = model_argument::path(&args.source)?;
    let checkpoint = Checkpoint::open(&path, &Limits::default())?;
    let to_file = args.destination.extension().is_some_and(|extension| extension == "gguf");
    let files = if to_file {
        to_gguf(args, &checkpoint, settings, printer)?
    } else {
        to_folder(args, &checkpoint, settings, printer)?
    };
    for note in &checkpoint.notes {
        printer.warn(note);
    }
    if args.json {
        return printer.json(&Report { version: 1, files, notes: checkpoint.notes });
    }
    for file in &files {
        printer.line(format!("{}  {}", file.path, Size(file.bytes)))?;
    }
    Ok(())
}

fn to_gguf(
    args: &Convert,
    checkpoint: &Checkpoint,
    settings: &Settings,
    printer: Printer,
) -> Result<Vec<FileReport>, Failure> {
    let plan = match args.ty {
        None => Plan::lossless(checkpoint)?,
        Some(ty) => {
            let request = Request { allow_requantize: args.allow_requantize, ..Request::default() };
            Plan::new(
                checkpoint,
                Scheme::named(scheme_name(ty)).map_err(mdl_quant::Error::from)?,
                &request,
            )?
        }
    };
    write::warn_of_misfits(&plan, printer);
    let job = write::Job {
        checkpoint,
        plan: &plan,
        recipe: None,
        imatrix: None,
        destination: &args.destination,
        split: args.split_max_size.map(|size| size.0),
        force: args.force,
    };
    write::run(&job, settings, printer)
}

/// What each type is called among the schemes.
fn scheme_name(ty: ConvertType) -> &'static str {
    match ty {
        ConvertType::F32 => "F32",
        ConvertType::F16 => "F16",
        ConvertType::Bf16 => "BF16",
        ConvertType::Q8_0 => "Q8_0",
    }
}

fn to_folder(
    args: &Convert,
    checkpoint: &Checkpoint,
    settings: &Settings,
    printer: Printer,
) -> Result<Vec<FileReport>, Failure> {
    stop_on_interrupt()?;
    let mut options = FolderOptions {
        ty: folder_type(args.ty)?,
        replace: args.force,
        interrupt: Some(&INTERRUPTED),
        ..FolderOptions::default()
    };
    if let Some(size) = args.split_max_size {
        options.max_shard = size.0;
    }
    let width = options.ty.map_or(4, TensorType::block_bytes);
    let elements: usize = checkpoint.tensors.iter().map(mdl_formats::Tensor::elements).sum();
    let progress = Progress::bytes(printer);
    progress.begin((elements * width) as u64, 0);
    let mut written = 0;
    let done = convert::write_folder(
        checkpoint,
        &args.destination,
        &options,
        &Limits::default(),
        &mut |bytes| {
            written += bytes;
            progress.advance(written, "");
        },
    );
    progress.finish();
    done.map_err(|error| match error {
        mdl_formats::Error::Interrupted => {
            Failure::new("interrupted; nothing is left").status(Failure::INTERRUPTED)
        }
        other => other.into(),
    })?;
    reports(&args.destination, settings, printer)
}

fn folder_type(ty: Option<ConvertType>) -> Result<Option<TensorType>, Failure> {
    Ok(match ty {
        None => None,
        Some(ConvertType::F32) => Some(TensorType::F32),
        Some(ConvertType::F16) => Some(TensorType::F16),
        Some(ConvertType::Bf16) => Some(TensorType::BF16),
        Some(ConvertType::Q8_0) => {
            return Err(Failure::new("a Hugging Face folder holds no Q8_0")
                .hint("write f32, f16 or bf16, or a destination that ends in .gguf")
                .status(Failure::USAGE));
        }
    })
}

/// The folder's files with their digests.
fn reports(
    folder: &Path,
    settings: &Settings,
    printer: Printer,
) -> Result<Vec<FileReport>, Failure> {
    let listed = |error| Failure::new(format!("{}: {error}", folder.display()));
    let entries =
        fs::read_dir(folder).map_err(listed)?.collect::<Result<Vec<_>, _>>().map_err(listed)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    let watch = Hashing::new(printer);
    let digests = DigestCache::open(settings.home.as_deref()).sha256_all(&paths, &watch);
    watch.finish();
    let digests = digests?;
    let report = |(path, sha256): (PathBuf, String)| {
        let bytes = fs::metadata(&path).map_err(listed)?.len();
        Ok(FileReport { path: path.display().to_string(), bytes, sha256 })
    };
    paths.into_iter().zip(digests).map(report).collect()
}
