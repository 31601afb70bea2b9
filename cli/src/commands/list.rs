//! `mdl list`: the packages of the local store.

use serde::Serialize;

use super::local;
use crate::{
    args::List, failure::Failure, printer::Printer, settings::Settings, table::Table, units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    packages: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    reference: String,
    digest: String,
    size: u64,
    kind: &'static str,
    architecture: Option<String>,
    parameters: Option<u64>,
    quantization: Option<String>,
    bits_per_weight: Option<f64>,
    #[serde(skip)]
    short: String,
    #[serde(skip)]
    label: Option<String>,
}

pub(crate) fn run(args: &List, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let layout = local::open(settings)?;
    let mut packages = Vec::new();
    for (reference, manifest) in layout.references()? {
        if args.filter.as_deref().is_some_and(|text| !reference.contains(text)) {
            continue;
        }
        let package = local::package(&layout, &manifest)?;
        let facts = &package.facts;
        packages.push(Row {
            size: package.bytes(),
            kind: package.kind.name(),
            architecture: facts.architecture.clone(),
            parameters: facts.parameters,
            quantization: facts.quantization.clone(),
            bits_per_weight: facts.bits_per_weight,
            short: local::short(&manifest.digest),
            label: facts.size_label(),
            digest: manifest.digest.to_string(),
            reference,
        });
    }
    if args.json {
        return printer.json(&Report { version: 1, packages });
    }
    if packages.is_empty() {
        printer.note("the local store holds no such package; `mdl pack` and `mdl pull` add to it");
        return Ok(());
    }
    let mut table =
        Table::new(&["reference", "digest", ">size", ">parameters", "quantization", "kind"]);
    for row in packages {
        table.row(vec![
            row.reference,
            row.short,
            Size(row.size).to_string(),
            row.label.unwrap_or_else(|| "-".to_owned()),
            row.quantization.unwrap_or_else(|| "-".to_owned()),
            row.kind.to_owned(),
        ]);
    }
    printer.line(table.text())
}
