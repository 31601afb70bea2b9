//! Tokens per second: `infer_rate MODEL.gguf [PREFILL] [DECODE] [THREADS] [f32|q8]`.
//!
//! As llama-bench: the prompt's tokens are arbitrary, one pass warms up, the medians of three are
//! printed as JSON (`prefill` and `decode` in tokens per second).
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::{env, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use mdl_formats::{Checkpoint, Limits};
use mdl_infer::{Model, Options, Precision, Session, Wanted, greedy};
use mdl_kernels::{Compute, Tier};

const REPEATS: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let number = |index: usize, default: usize| -> Result<usize> {
        argument(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let path = argument(0).context("which model?")?;
    let (prefill, decode) = (number(1, 512)?, number(2, 128)?);
    let tier = match env::var("MDL_TIER") {
        Ok(name) => Tier::named(&name).context("MDL_TIER names no tier of this machine")?,
        Err(_) => Tier::detect(),
    };
    let compute = Arc::new(Compute::new(tier, number(3, 2)?));
    let precision = if argument(4) == Some("f32") { Precision::F32 } else { Precision::Q8 };
    let checkpoint = Checkpoint::open(Path::new(path), &Limits::default())?;
    let options = Options { precision, ..Options::new(compute) };
    let model = Model::load(&checkpoint, &options)?;

    let tokens: Vec<u32> =
        (0..prefill as u32).map(|index| index * 7 % model.vocab() as u32).collect();
    let mut rates = [const { Vec::new() }; 2];
    for repeat in 0..=REPEATS {
        let (prefill_rate, decode_rate) = measure(&model, &tokens, decode)?;
        if repeat > 0 {
            rates[0].push(prefill_rate);
            rates[1].push(decode_rate);
        }
    }
    let [prefill_rate, decode_rate] = rates.map(median);
    println!(
        r#"{{"prefill": {prefill_rate:.2}, "decode": {decode_rate:.2}, "tier": "{}"}}"#,
        tier.name()
    );
    Ok(())
}

/// Tokens a second of a prompt in one call, and of single tokens in a fresh session.
fn measure(model: &Model, prompt: &[u32], decode: usize) -> Result<(f64, f64)> {
    let mut session = Session::new(model);
    session.reserve(prompt.len().max(decode))?;
    let start = Instant::now();
    session.forward(prompt, Wanted::Last, &mut |_| {})?;
    let prefill_rate = prompt.len() as f64 / start.elapsed().as_secs_f64();
    session.truncate(0);
    let mut token = 1;
    let start = Instant::now();
    for _ in 0..decode {
        token = greedy(session.next_logits(&[token])?).context("no finite logit")?;
    }
    Ok((prefill_rate, decode as f64 / start.elapsed().as_secs_f64()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
