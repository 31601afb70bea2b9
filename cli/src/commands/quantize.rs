//! `mdl quantize`: a model becomes a smaller one.

use std::{collections::BTreeSet, fs};

use mdl_formats::{Checkpoint, Limits};
use mdl_quant::{Imatrix, Override, Plan, Recipe, Request, Scheme};
use serde::Serialize;

use super::write::{self, FileReport};
use crate::{
    args::Quantize, failure::Failure, model_argument, printer::Printer,
    progress::stop_on_interrupt, settings::Settings, table::Table, units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    scheme: &'static str,
    parameters: u64,
    tensor_bytes: u64,
    bits_per_weight: f64,
    fallbacks: usize,
    unweighted: Vec<String>,
    notes: Vec<String>,
    tensors: Vec<TensorReport>,
    files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct TensorReport {
    name: String,
    shape: Vec<usize>,
    from: &'static str,
    #[serde(rename = "type")]
    ty: &'static str,
    method: mdl_quant::Method,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead_of: Option<&'static str>,
}

pub(crate) fn run(args: &Quantize, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let path = model_argument::path(&args.source)?;
    let limits = Limits::default();
    let checkpoint = Checkpoint::open(&path, &limits)?;
    let imatrix = args.imatrix.as_deref().map(|path| Imatrix::open(path, &limits)).transpose()?;
    let recipe = recipe(args)?;
    let plan = plan(args, &checkpoint, recipe.as_ref(), imatrix.as_ref())?;
    warn(&plan, &checkpoint, printer);
    if args.dry_run {
        if let Some(recipe) = recipe.filter(|recipe| !recipe.sources.is_empty()) {
            stop_on_interrupt()?;
            recipe.check_sources(&write::origins(&checkpoint, settings, printer)?)?;
        }
        return show(&plan, &checkpoint, Vec::new(), args.json, true, printer);
    }
    let Some(destination) = args.destination.as_deref() else {
        return Err(Failure::new("no destination").status(Failure::USAGE));
    };
    let job = write::Job {
        checkpoint: &checkpoint,
        plan: &plan,
        recipe: recipe.as_ref(),
        imatrix: imatrix.as_ref(),
        destination,
        split: None,
        force: args.force,
    };
    let files = write::run(&job, settings, printer)?;
    show(&plan, &checkpoint, files, args.json, false, printer)
}

fn recipe(args: &Quantize) -> Result<Option<Recipe>, Failure> {
    let Some(path) = &args.recipe else { return Ok(None) };
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    Ok(Some(Recipe::parse(path, &text)?))
}

fn plan(
    args: &Quantize,
    checkpoint: &Checkpoint,
    recipe: Option<&Recipe>,
    imatrix: Option<&Imatrix>,
) -> Result<Plan, Failure> {
    let overrides =
        args.tensor_type.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>()?;
    let request = Request {
        overrides,
        imatrix,
        strict: args.strict,
        allow_requantize: args.allow_requantize,
    };
    if let Some(recipe) = recipe {
        return Ok(Plan::from_recipe(checkpoint, recipe, &request)?);
    }
    let name = args.scheme.as_deref().unwrap_or_default();
    let scheme = Scheme::named(name)
        .map_err(|error| Failure::new(error.to_string()).status(Failure::USAGE))?;
    Ok(Plan::new(checkpoint, scheme, &request)?)
}

fn warn(plan: &Plan, checkpoint: &Checkpoint, printer: Printer) {
    for note in &checkpoint.notes {
        printer.warn(note);
    }
    write::warn_of_misfits(plan, printer);
    if !plan.unweighted.is_empty() {
        let names = plan.unweighted.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = if plan.unweighted.len() > 4 { " …" } else { "" };
        printer.warn(format!(
            "the importance matrix has nothing for {} matrices: {names}{more}",
            plan.unweighted.len()
        ));
    }
}

fn show(
    plan: &Plan,
    checkpoint: &Checkpoint,
    files: Vec<FileReport>,
    json: bool,
    table: bool,
    printer: Printer,
) -> Result<(), Failure> {
    if json {
        return printer.json(&report(plan, checkpoint, files));
    }
    if table {
        printer.line(plan_table(plan))?;
    }
    let size = files.iter().map(|file| file.bytes).sum::<u64>().max(plan.bytes());
    printer.line(format!(
        "{}: {} tensors, {}, {:.2} bits per weight",
        plan.scheme.name(),
        plan.tensors.len(),
        Size(size),
        plan.bits_per_weight()
    ))?;
    files.iter().try_for_each(|file| printer.line(format!("{}  sha256:{}", file.path, file.sha256)))
}

fn plan_table(plan: &Plan) -> String {
    let unweighted: BTreeSet<&str> = plan.unweighted.iter().map(String::as_str).collect();
    let mut table = Table::new(&["tensor", "shape", "from", "to", ">size", "note"]);
    for planned in &plan.tensors {
        let tensor = &planned.tensor;
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let mut notes = Vec::new();
        if let Some(wanted) = planned.instead_of {
            notes.push(format!(
                "instead of {wanted}: rows of {} do not divide into blocks of {}",
                tensor.cols(),
                wanted.block_len()
            ));
        }
        if unweighted.contains(tensor.name.as_str()) {
            notes.push("not in the importance matrix".to_owned());
        }
        table.row(vec![
            tensor.name.clone(),
            shape.join(" x "),
            planned.from.to_string(),
            tensor.ty.to_string(),
            Size(tensor.bytes() as u64).to_string(),
            notes.join("; "),
        ]);
    }
    table.text()
}

fn report(plan: &Plan, checkpoint: &Checkpoint, files: Vec<FileReport>) -> Report {
    let tensor = |planned: &mdl_quant::PlannedTensor| TensorReport {
        name: planned.tensor.name.clone(),
        shape: planned.tensor.shape.clone(),
        from: planned.from.name(),
        ty: planned.tensor.ty.name(),
        method: planned.method,
        bytes: planned.tensor.bytes(),
        instead_of: planned.instead_of.map(mdl_kernels::TensorType::name),
    };
    Report {
        version: 1,
        scheme: plan.scheme.name(),
        parameters: plan.elements(),
        tensor_bytes: plan.bytes(),
        bits_per_weight: plan.bits_per_weight(),
        fallbacks: plan.misfits().count(),
        unweighted: plan.unweighted.clone(),
        notes: checkpoint.notes.clone(),
        tensors: plan.tensors.iter().map(tensor).collect(),
        files,
    }
}
