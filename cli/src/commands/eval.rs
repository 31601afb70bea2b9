//! `mdl eval`: how good a model is.

use std::{fmt::Write as _, fs, num::NonZeroUsize};

use mdl_quant::eval::{self, Divergence, Figure, Gates, Report, Text, Verdict};
use serde::Serialize;

use super::model::{self, Loaded};
use crate::{
    args::Eval,
    failure::Failure,
    printer::Printer,
    progress::{INTERRUPTED, Progress, stop_on_interrupt},
    settings::Settings,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    report: &'a Report,
    gates: &'a [Verdict],
}

pub(crate) fn run(args: &Eval, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let compute = model::compute(settings);
    let context = args.context.get();
    let model = model::load(&args.model, &compute, args.activations, Some(context))?;
    let base = args.against.as_deref();
    let base = base
        .map(|base| model::load(base, &compute, args.activations, Some(context)))
        .transpose()?;
    model::warn_of_context(&args.model, &model, context, printer);
    if let (Some(base), Some(name)) = (&base, &args.against) {
        model::warn_of_context(name, base, context, printer);
    }
    let text = text(args, &model, base.as_ref())?;
    let total = args.chunks.map_or(text.tokens.len() / context, NonZeroUsize::get);
    let progress =
        Progress::steps(printer, "chunks", total.min(text.tokens.len() / context) as u64);
    let measured = eval::evaluate(
        &model.model,
        base.as_ref().map(|base| &base.model),
        &text,
        &INTERRUPTED,
        &mut |done, _, perplexity| {
            progress.step(done as u64, &format!("perplexity {perplexity:.4}"));
        },
    );
    progress.finish();
    let report = measured?;
    let gates =
        Gates { max_kld: args.max_kld, max_ppl_ratio: args.max_ppl_ratio, min_top1: args.min_top1 };
    let verdicts = gates.decide(&report);
    if args.json {
        printer.json(&Output { report: &report, gates: &verdicts })?;
    } else {
        printer.line(words(&report))?;
    }
    refuse(&verdicts)
}

fn text(args: &Eval, model: &Loaded, base: Option<&Loaded>) -> Result<Text, Failure> {
    let bytes = fs::read(&args.data)
        .map_err(|error| Failure::new(format!("{}: {error}", args.data.display())))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        Failure::new(format!("{}: not UTF-8 text at byte {place}", args.data.display()))
    })?;
    let tokenizer = model::tokenizer(model)?;
    let tokens = tokenizer.encode(&text, true, false)?;
    if let Some(base) = base {
        let theirs = model::tokenizer(base)?.encode(&text, true, false)?;
        if theirs != tokens {
            return Err(Failure::new("the two models cut the text into different tokens")
                .hint("compare a model with the one that it was made from"));
        }
    }
    let begin = if tokenizer.adds_bos() { tokenizer.bos() } else { None };
    Ok(Text {
        tokens,
        begin,
        context: args.context.get(),
        chunks: args.chunks.map(NonZeroUsize::get),
    })
}

/// Status 3 where a gate says no, naming each.
fn refuse(verdicts: &[Verdict]) -> Result<(), Failure> {
    let broken: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.passed)
        .map(|verdict| format!("--{} {}: found {:.6}", verdict.gate, verdict.limit, verdict.found))
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the model does not pass: {}", broken.join("; ")))
        .status(Failure::REFUSED))
}

fn words(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<22}{value}");
    };
    line(
        "text",
        format!("{} chunks of {} tokens, {} scored", report.chunks, report.context, report.tokens),
    );
    line("perplexity", figure(report.perplexity, 4));
    if let Some(divergence) = &report.divergence {
        divergence_words(divergence, &mut line);
    }
    text.trim_end().to_owned()
}

fn divergence_words(found: &Divergence, line: &mut dyn FnMut(&str, String)) {
    let percent =
        |part: Figure| figure(Figure { value: part.value * 100.0, error: part.error * 100.0 }, 3);
    line("perplexity of base", figure(found.perplexity_base, 4));
    line("ratio", figure(found.perplexity_ratio, 5));
    line("difference", figure(found.perplexity_difference, 4));
    line("ln ratio", figure(found.log_perplexity_ratio, 6));
    line("correlation", format!("{:.2} %", found.perplexity_correlation * 100.0));
    line("mean divergence", figure(found.kld.mean, 6));
    let kld = &found.kld;
    line("  maximum, 99.9 %", format!("{:.6}  {:.6}", kld.maximum, kld.p99_9));
    line("  99 %, 95 %, 90 %", format!("{:.6}  {:.6}  {:.6}", kld.p99, kld.p95, kld.p90));
    line("  median", format!("{:.6}", kld.median));
    line("  10 %, 5 %, 1 %", format!("{:.6}  {:.6}  {:.6}", kld.p10, kld.p5, kld.p1));
    line("  0.1 %, minimum", format!("{:.6}  {:.6}", kld.p0_1, kld.minimum));
    line("mean change of p", format!("{} %", percent(found.delta_p.mean)));
    line("rms change of p", format!("{} %", percent(found.delta_p_rms)));
    line("same top token", format!("{} %", percent(found.same_top)));
}

fn figure(figure: Figure, places: usize) -> String {
    format!("{:.places$} ± {:.places$}", figure.value, figure.error)
}
