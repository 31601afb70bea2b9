//! `mdl inspect`: what a model is, from its headers alone.

use std::{collections::BTreeMap, fmt::Write as _};

use mdl_formats::{
    Checkpoint, Limits,
    gguf::{Array, Value},
};
use serde::Serialize;
use serde_json::{Map, json};

use crate::{
    args::Inspect, failure::Failure, model_argument, printer::Printer, table::Table, units::Size,
};

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

/// How much of the model is stored in one type.
#[derive(Debug, Serialize)]
struct TypeShare {
    #[serde(rename = "type")]
    ty: String,
    tensors: u64,
    parameters: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct TensorRow {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    shape: Vec<usize>,
    bytes: usize,
}

pub(crate) fn run(args: &Inspect, printer: Printer) -> Result<(), Failure> {
    let path = model_argument::path(&args.model)?;
    let checkpoint = Checkpoint::open(&path, &Limits::default())?;
    let mut report = report(&checkpoint, &path.display().to_string());
    if args.tensors {
        report.tensors = Some(tensor_rows(&checkpoint));
    }
    if args.metadata {
        report.metadata = Some(metadata(&checkpoint));
    }
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn report(checkpoint: &Checkpoint, path: &str) -> Report {
    let keys = &checkpoint.metadata;
    let text = |key: &str| keys.str(key).map(str::to_owned);
    let architecture = text("general.architecture");
    let of_family =
        |key: &str| keys.u64(&format!("{}.{key}", architecture.as_deref().unwrap_or_default()));
    let parameters: u64 = checkpoint.tensors.iter().map(|t| t.elements() as u64).sum();
    let tensor_bytes: u64 = checkpoint.tensors.iter().map(|t| t.bytes() as u64).sum();
    let sources = keys.iter().filter_map(|(key, value)| match value {
        Value::String(value) => Some((key.strip_prefix("mdl.source.")?.to_owned(), value.clone())),
        _ => None,
    });
    Report {
        version: 1,
        path: path.to_owned(),
        name: text("general.name"),
        parameters,
        tensor_bytes,
        bits_per_weight: tensor_bytes as f64 * 8.0 / (parameters as f64).max(1.0),
        context_length: of_family("context_length"),
        layers: of_family("block_count"),
        vocabulary: keys.strings("tokenizer.ggml.tokens").map(|tokens| tokens.len() as u64),
        tokenizer: text("tokenizer.ggml.model"),
        pre_tokenizer: text("tokenizer.ggml.pre"),
        license: text("general.license"),
        chat_template: keys.str("tokenizer.chat_template").is_some(),
        quantization: keys
            .u64("general.file_type")
            .and_then(mdl_quant::scheme::name_of_file_type)
            .map(str::to_owned),
        types: type_shares(checkpoint),
        recipe: text("mdl.recipe"),
        sources: sources.collect(),
        notes: checkpoint.notes.clone(),
        tensors: None,
        metadata: None,
        architecture,
    }
}

fn type_shares(checkpoint: &Checkpoint) -> Vec<TypeShare> {
    let mut shares = BTreeMap::new();
    for tensor in &checkpoint.tensors {
        let share = shares.entry(tensor.ty).or_insert_with(|| TypeShare {
            ty: tensor.ty.to_string(),
            tensors: 0,
            parameters: 0,
            bytes: 0,
        });
        share.tensors += 1;
        share.parameters += tensor.elements() as u64;
        share.bytes += tensor.bytes() as u64;
    }
    let mut shares: Vec<TypeShare> = shares.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
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

    let mut table = Table::new(&["type", ">tensors", ">parameters", ">size"]);
    for share in &report.types {
        let size = Size(share.bytes).to_string();
        table.row(vec![share.ty.clone(), share.tensors.to_string(), count(share.parameters), size]);
    }
    let mut text = format!("{lines}\n{}", table.text());
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

/// A number of parameters as people say it.
fn count(parameters: u64) -> String {
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => format!("{:.1} K", parameters as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        _ => format!("{:.2} B", parameters as f64 / 1e9),
    }
}
