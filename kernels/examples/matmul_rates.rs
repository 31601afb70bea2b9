//! Prints the rates of products with quantized activations: `matmul_rates [TYPE …] [--one]`.
//!
//! Weights of 64 MiB, so that one token sees the memory's rate; `256` rows stay in the cache and show
//! the instructions' own.

#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::time::Instant;

use mdl_kernels::matrix::{Activations, Matrix, Precision, matmul};
use mdl_kernels::{Compute, KernelError, TensorType, Tier};

const SHAPES: [(usize, usize); 5] =
    [(256, 1536), (1536, 576), (576, 1536), (896, 4864), (4096, 4096)];

fn main() -> Result<(), KernelError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let one = arguments.iter().any(|argument| argument == "--one");
    let mut types: Vec<TensorType> =
        arguments.iter().filter_map(|name| TensorType::from_name(name)).collect();
    if types.is_empty() {
        types = vec![TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_K, TensorType::Q6_K];
    }
    for ty in types {
        for (rows, cols) in SHAPES {
            let Some(row) = ty.row_bytes(cols) else { continue };
            let copies = if rows == 256 { 1 } else { (64 << 20) / (rows * row) };
            // The bytes 0x14 make small scales in every type.
            let bytes = vec![0x14; rows * row];
            let bytes = bytes.repeat(copies);
            for tier in Tier::available().into_iter().rev() {
                if tier == Tier::PORTABLE {
                    continue;
                }
                for tokens in if one { &[1][..] } else { &[1, 4, 512] } {
                    let best = measure(ty, rows, cols, &bytes, tier, *tokens)?;
                    let macs = (rows * cols * tokens) as f64;
                    println!(
                        "{ty} {rows}x{cols} {tier} {tokens}: {:.1} GB/s {:.1} GMAC/s",
                        (rows * row) as f64 / best / 1e9,
                        macs / best / 1e9
                    );
                }
            }
        }
    }
    Ok(())
}

/// Seconds for one product, the best of several runs on one thread.
fn measure(
    ty: TensorType,
    rows: usize,
    cols: usize,
    bytes: &[u8],
    tier: Tier,
    tokens: usize,
) -> Result<f64, KernelError> {
    let compute = Compute::new(tier, 1);
    let each = rows * ty.row_bytes(cols).unwrap_or(1);
    let matrices = bytes.chunks_exact(each).map(|bytes| Matrix::new(ty, rows, cols, bytes));
    let matrices: Vec<Matrix<'_>> = matrices.collect::<Result<_, _>>()?;
    let values: Vec<f32> = (0..tokens * cols).map(|at| (at % 251) as f32 / 125.0 - 1.0).collect();
    let mut x = Activations::new(Precision::Q8);
    x.load(&values, cols);
    let mut out = vec![0.0; tokens * rows];
    matmul(&compute, &matrices[0], &mut x, &mut out)?;
    let (mut best, mut next) = (f64::MAX, 0);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < 0.25 {
        let count = if tokens > 1 { 1 } else { (4 << 20) / each + 1 };
        let before = Instant::now();
        for _ in 0..count {
            matmul(&compute, &matrices[next % matrices.len()], &mut x, &mut out)?;
            next += 1;
        }
        best = best.min(before.elapsed().as_secs_f64() / count as f64);
    }
    Ok(best)
}
