//! mdl's block encoders, measured through the same interface as ggml's (`tests/scripts/ggml_encode.cpp`):
//!
//! `mdl_encode TYPE COLS VALUES.f32 [WEIGHTS.f32 | -] [OUT.bin | -] [REPEATS]`
//!
//! One thread. Prints one line of JSON: the median seconds of REPEATS, bytes, and the weighted squared error.

use std::{error::Error, fs, time::Instant};

use mdl_kernels::{TensorType, Tier, codec};

fn floats(path: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let arg = |index: usize| args.get(index).map(String::as_str).filter(|text| *text != "-");
    let usage = "usage: mdl_encode TYPE COLS VALUES.f32 [WEIGHTS.f32 | -] [OUT.bin | -] [REPEATS]";
    let ty = TensorType::from_name(arg(1).ok_or(usage)?).ok_or("unknown type")?;
    let cols: usize = arg(2).ok_or(usage)?.parse()?;
    let values = floats(arg(3).ok_or(usage)?)?;
    let weights = arg(4).map(floats).transpose()?;
    let repeats: usize = arg(6).map_or(Ok(1), str::parse)?;
    let tier = match std::env::var("MDL_TIER") {
        Ok(name) => Tier::named(&name).ok_or("this machine lacks the tier in MDL_TIER")?,
        Err(_) => Tier::detect(),
    };

    let mut out =
        vec![0; ty.row_bytes(cols).ok_or("rows are not whole blocks")? * (values.len() / cols)];
    let mut seconds = Vec::new();
    for _ in 0..repeats.max(1) {
        let start = Instant::now();
        codec::encode(tier, ty, cols, &values, weights.as_deref(), &mut out)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);

    let mut decoded = vec![0.0; values.len()];
    codec::decode(tier, ty, &out, &mut decoded)?;
    let weight = |index: usize| weights.as_ref().map_or(1.0, |w| f64::from(w[index % cols]));
    let error: f64 = values
        .iter()
        .zip(&decoded)
        .enumerate()
        .map(|(i, (x, y))| (f64::from(*x) - f64::from(*y)).powi(2) * weight(i))
        .sum();
    if let Some(path) = arg(5) {
        fs::write(path, &out)?;
    }
    let median = seconds[seconds.len() / 2];
    let line = serde_json::json!({"type": ty.name(), "values": values.len(), "bytes": out.len(),
        "seconds": median, "error": error, "tier": tier.name()});
    writeln_out(&line.to_string());
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a bench prints its result")]
fn writeln_out(line: &str) {
    println!("{line}");
}
