//! `mdl convert`: between Hugging Face folders and GGUF.

use std::path::Path;

use mdl_formats::{Checkpoint, Limits};
use mdl_quant::{Plan, Request, Scheme};
use serde::Serialize;

use super::write::{self, FileReport};
use crate::{
    args::{Convert, ConvertType},
    failure::Failure,
    model_argument,
    printer::Printer,
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
        to_folder(args, &checkpoint, settings)?
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
            let request = Request { allow_requantize: true, ..Request::default() };
            Plan::new(
                checkpoint,
                Scheme::named(scheme_name(ty)).map_err(mdl_quant::Error::from)?,
                &request,
            )?
        }
    };
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
) -> Result<Vec<FileReport>, Failure> {
    use mdl_kernels::TensorType::{BF16, F16, F32};
    let ty = match args.ty {
        None => None,
        Some(ConvertType::F32) => Some(F32),
        Some(ConvertType::F16) => Some(F16),
        Some(ConvertType::Bf16) => Some(BF16),
        Some(ConvertType::Q8_0) => {
            return Err(Failure::new("a Hugging Face folder holds no Q8_0")
                .hint("write f32, f16 or bf16, or a destination that ends in .gguf")
                .status(Failure::USAGE));
        }
    };
    let destination: &Path = &args.destination;
    let _ = (ty, destination, checkpoint, settings);
    Err(Failure::new("folder"))
}
