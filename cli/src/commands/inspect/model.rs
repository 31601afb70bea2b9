//! A file or folder: what its headers say.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use mdl_artifact::{Facts, TypeShare};
use mdl_formats::{
    Checkpoint, Limits,
    gguf::{Array, Value},
};
use serde::Serialize;
use serde_json::{Map, json};

use super::words::{count, type_table};
use crate::{args::Inspect, failure::Failure, printer::Printer, table::Table, units::Size};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    path: String,
    architecture: Option<String>,
    name: Option<String>,
    parameters: u64,
    tensor_bytes: u64,
    bits_per_weight: f64,
    context_length: Option<u64>,
    layers: Option<u64>,
    vocabulary: Option<u64>,
    tokenizer: Option<String>,
    pre_tokenizer: Option<String>,
    license: Option<String>,
    chat_template: bool,
    quantization: Option<String>,
    types: Vec<TypeShare>,
    recipe: Option<String>,
    sources: BTreeMap<String, String>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<TensorRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, serde_json::Value>>,
}

#[derive(Debug, Serialize)]
struct TensorRow {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    shape: Vec<usize>,
    bytes: usize,
}

/// Shows the model in a file or folder; `shown` is what the user calls it.
pub(super) fn run(
    path: &Path,
    shown: &str,
    args: &Inspect,
    printer: Printer,
) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(path, &Limits::default())?;
    let mut report = report(&checkpoint, shown);
    if args.tensors {
        report.tensors = Some(tensor_rows(&checkpoint));
    }
    if args.metadata {
        report.metadata = Some(metadata(&checkpoint));
    }
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn report(checkpoint: &Checkpoint, path: &str) -> Report {
    let facts = Facts::of_checkpoint(checkpoint);
    Report {
        version: 1,
        path: path.to_owned(),
        architecture: facts.architecture,
        name: facts.name,
        parameters: facts.parameters.unwrap_or_default(),
        tensor_bytes: facts.tensor_bytes.unwrap_or_default(),
        bits_per_weight: facts.bits_per_weight.unwrap_or_default(),
        context_length: facts.context_length,
        layers: facts.layers,
        vocabulary: facts.vocabulary,
        tokenizer: facts.tokenizer,
        pre_tokenizer: facts.pre_tokenizer,
        license: facts.license,
        chat_template: facts.chat_template.unwrap_or_default(),
        quantization: facts.quantization,
        types: facts.types,
        recipe: facts.recipe,
        sources: facts.sources,
        notes: facts.notes,
        tensors: None,
        metadata: None,
    }
}

fn tensor_rows(checkpoint: &Checkpoint) -> Vec<TensorRow> {
    let row = |tensor: &mdl_formats::Tensor| TensorRow {
        name: tensor.name.clone(),
        ty: tensor.ty.to_string(),
        shape: tensor.shape.clone(),
        bytes: tensor.bytes(),
    };
    checkpoint.tensors.iter().map(row).collect()
}

/// Long arrays (vocabularies, merges) are shown by their length.
fn metadata(checkpoint: &Checkpoint) -> Map<String, serde_json::Value> {
    const SHOWN: usize = 16;
    macro_rules! array {
        ($items:expr) => {
            if $items.len() <= SHOWN { json!($items) } else { json!({ "length": $items.len() }) }
        };
    }
    let value = |value: &Value| match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Array(array) => match array {
            Array::U8(v) => array!(v),
            Array::I8(v) => array!(v),
            Array::U16(v) => array!(v),
            Array::I16(v) => array!(v),
            Array::U32(v) => array!(v),
            Array::I32(v) => array!(v),
            Array::F32(v) => array!(v),
            Array::Bool(v) => array!(v),
            Array::String(v) => array!(v),
            Array::U64(v) => array!(v),
            Array::I64(v) => array!(v),
            Array::F64(v) => array!(v),
        },
    };
    checkpoint.metadata.iter().map(|(key, item)| (key.to_owned(), value(item))).collect()
}

fn text(report: &Report) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(lines, "{label:<16}{value}");
        }
    };
    line("name", report.name.clone());
    line("family", report.architecture.clone());
    line("parameters", Some(count(report.parameters)));
    line("size", Some(Size(report.tensor_bytes).to_string()));
    line("bits per weight", Some(format!("{:.2}", report.bits_per_weight)));
    line("quantization", report.quantization.clone());
    line("layers", report.layers.map(|n| n.to_string()));
    line("context", report.context_length.map(|n| format!("{n} tokens")));
    line("tokenizer", tokenizer(report));
    line("chat template", Some(if report.chat_template { "yes" } else { "none" }.to_owned()));
    line("licence", Some(report.license.clone().unwrap_or_else(|| "not stated".to_owned())));
    for (name, digest) in report.sources.iter().filter(|(key, _)| key.ends_with(".sha256")) {
        let named = report.sources.get(&name.replace(".sha256", ".name"));
        line("made from", Some(format!("{} sha256:{digest}", named.map_or("", String::as_str))));
    }
    for note in &report.notes {
        line("note", Some(note.clone()));
    }

    let mut text = format!("{lines}\n{}", type_table(&report.types));
    if let Some(metadata) = &report.metadata {
        text.push_str("\n\nmetadata");
        for (key, value) in metadata {
            let _ = write!(text, "\n{key} = {}", shortened(&value.to_string()));
        }
    }
    if let Some(tensors) = &report.tensors {
        let mut table = Table::new(&["tensor", "type", "shape", ">size"]);
        for row in tensors {
            let shape: Vec<String> = row.shape.iter().map(usize::to_string).collect();
            let size = Size(row.bytes as u64).to_string();
            table.row(vec![row.name.clone(), row.ty.clone(), shape.join(" x "), size]);
        }
        let _ = write!(text, "\n\n{}", table.text());
    }
    if let Some(recipe) = &report.recipe {
        let lines: Vec<&str> = recipe.lines().take(8).collect();
        let _ = write!(text, "\n\nrecipe (whole with --json)\n  {}", lines.join("\n  "));
    }
    text
}

fn tokenizer(report: &Report) -> Option<String> {
    let mut text = report.tokenizer.clone()?;
    if let Some(pre) = &report.pre_tokenizer {
        let _ = write!(text, " ({pre})");
    }
    if let Some(tokens) = report.vocabulary {
        let _ = write!(text, ", {tokens} tokens");
    }
    Some(text)
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 100;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
