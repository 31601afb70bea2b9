//! `mdl openness`: which class of the Model Openness Framework a model is of.

use mdl_artifact::{attest::OpennessReport, trust::Openness as Class};
use serde::Serialize;

use super::attest;
use crate::{args::Openness, failure::Failure, printer::Printer, settings::Settings, table::Table};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    model: String,
    #[serde(flatten)]
    openness: OpennessReport,
}

pub(crate) fn run(args: &Openness, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let material = attest::material(&args.model, args.local, &args.reach, settings, printer)?;
    let report = Report { version: 1, model: args.model.clone(), openness: material.openness() };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn text(report: &Report) -> String {
    let openness = &report.openness;
    let class = match openness.class {
        Some(Class::Science) => "I, open science",
        Some(Class::Tooling) => "II, open tooling",
        Some(Class::Model) => "III, open model",
        None => "none",
    };
    let license = openness.license.as_deref().unwrap_or("not stated");
    let open = if openness.license_open { "open" } else { "not open" };
    let mut table = Table::new(&["component", "class", "found"]);
    for component in &openness.components {
        let found = match (&component.found[..], component.required) {
            ([], true) => "missing".to_owned(),
            ([], false) => "none (optional)".to_owned(),
            ([one], _) => one.clone(),
            ([one, rest @ ..], _) => format!("{one} and {} more", rest.len()),
        };
        table.row(vec![component.name.clone(), component.class.name().to_owned(), found]);
    }
    let mut text = format!(
        "model       {}\nclass       {class}\nlicence     {license} ({open})\n\n{}",
        report.model,
        table.text()
    );
    if !openness.missing.is_empty() {
        text.push_str("\n\nmissing for the next class: ");
        text.push_str(&openness.missing.join(", "));
    }
    text
}
