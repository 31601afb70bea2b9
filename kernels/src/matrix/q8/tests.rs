//! Every tier of the products of quantized weights against a plain sum.

use super::*;
use proptest::prelude::*;

/// Every type that this module multiplies, with the places of the F16 numbers in its block.
const TYPES: [(TensorType, &[usize]); 25] = [
    (TensorType::Q4_0, &[0]),
    (TensorType::Q4_1, &[0, 2]),
    (TensorType::Q5_0, &[0]),
    (TensorType::Q5_1, &[0, 2]),
    (TensorType::Q8_0, &[0]),
    (TensorType::IQ4_NL, &[0]),
    (TensorType::MXFP4, &[]),
    (TensorType::NVFP4, &[]),
    (TensorType::Q1_0, &[0]),
    (TensorType::Q2_0, &[0]),
    (TensorType::Q2_K, &[80, 82]),
    (TensorType::Q3_K, &[108]),
    (TensorType::Q4_K, &[0, 2]),
    (TensorType::Q5_K, &[0, 2]),
    (TensorType::Q6_K, &[208]),
    (TensorType::IQ4_XS, &[0]),
    (TensorType::TQ1_0, &[52]),
    (TensorType::TQ2_0, &[64]),
    (TensorType::IQ1_S, &[0]),
    (TensorType::IQ1_M, &[]),
    (TensorType::IQ2_XXS, &[0]),
    (TensorType::IQ2_XS, &[0]),
    (TensorType::IQ2_S, &[0]),
    (TensorType::IQ3_XXS, &[0]),
    (TensorType::IQ3_S, &[0]),
];

/// A small generator, so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1_u64 << 30) as f32 - 1.0
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        // An outlier now and then.
        (0..count)
            .map(|_| {
                let value = self.unit();
                if self.next().is_multiple_of(97) { value * 20.0 } else { value }
            })
            .collect()
    }
}

/// Gives the block's scales reasonable values: `scale` for F16 numbers.
fn tame(ty: TensorType, halves: &[usize], block: &mut [u8], scale: f32, random: &mut Random) {
    for at in halves {
        let scale = half::f16::from_f32(scale * (1.5 + random.unit()));
        block[*at..*at + 2].copy_from_slice(&scale.to_le_bytes());
    }
    match ty {
        TensorType::MXFP4 => block[0] = 118 + (random.next() % 8) as u8,
        TensorType::IQ1_M => {
            // 0x2000 | …: between 2^-7 and 2^-5, in the top nibbles of four words.
            for (word, nibble) in [(0, 5), (1, 9), (2, 4), (3, 2)] {
                let at = 48 + word * 2 + 1;
                block[at] = block[at] & 15 | nibble << 4;
            }
        }
        _ => {}
    }
}

/// `rows` of random blocks, or, with `fill`, of blocks of that byte.
fn weights(ty: TensorType, rows: usize, cols: usize, fill: Option<u8>, seed: u64) -> Vec<u8> {
    let halves = TYPES.iter().find(|row| row.0 == ty).unwrap().1;
    let mut random = Random(seed);
    let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for byte in block.iter_mut() {
            *byte = fill.unwrap_or(random.next() as u8);
        }
        tame(ty, halves, block, 0.01, &mut random);
    }
    bytes
}

fn multiply(tier: Tier, threads: usize, w: &Matrix<'_>, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / w.cols() * w.rows()];
    matmul(&Compute::new(tier, threads), w, x, &mut Quantized::default(), &mut out).unwrap();
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// ggml's reference quantization, written as its source reads, and back to values.
fn through_q8(form: format::Form, x: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    match form {
        format::Form::Small => {
            for x in x.chunks(32) {
                let largest = x.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                let scale = largest / 127.0;
                let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
                let stored = half::f16::from_f32(scale).to_f32();
                out.extend(x.iter().map(|x| (x * inverse).round() * stored));
            }
        }
        format::Form::Large => {
            for x in x.chunks(256) {
                let mut max = 0.0_f32;
                for x in x {
                    if x.abs() > max.abs() {
                        max = *x;
                    }
                }
                let inverse = -127.0 / max;
                let code = |x: f32| (x * inverse).round_ties_even().min(127.0);
                out.extend(x.iter().map(|x| if max == 0.0 { 0.0 } else { code(*x) / inverse }));
            }
        }
    }
    out
}

#[test]
fn products_match_the_decoded_weights() {
    for (ty, _) in TYPES {
        let format = Format::of(ty).unwrap();
        for (rows, blocks, tokens) in [(1, 1, 1), (3, 3, 2), (7, 5, 3), (17, 2, 19)] {
            let cols = blocks * ty.block_len();
            let bytes = weights(ty, rows, cols, None, 7);
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            let x = Random(3).values(tokens * cols);
            let quantized = through_q8(format.form, &x);
            let mut decoded = vec![0.0; rows * cols];
            crate::codec::decode(Tier::PORTABLE, ty, &bytes, &mut decoded).unwrap();
            let found = multiply(Tier::PORTABLE, 1, &w, &x);
            for token in 0..tokens {
                for row in 0..rows {
                    let pairs = decoded[row * cols..][..cols]
                        .iter()
                        .zip(&quantized[token * cols..][..cols])
                        .map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let expected: f64 = pairs.clone().sum();
                    let size: f64 = pairs.map(f64::abs).sum();
                    let found = f64::from(found[token * rows + row]);
                    // Q8_1's sums are rounded to F16, of which 2^-11 of the minimum's part is lost.
                    let tolerance = if format.mins && ty.block_len() == 32 { 1e-3 } else { 2e-6 };
                    assert!(
                        (found - expected).abs() <= tolerance * size + 1e-9,
                        "{ty} row {row} token {token}: {found} for {expected} (of {size})"
                    );
                }
            }
        }
    }
}

#[test]
fn tiers_threads_and_batches_agree() {
    for (ty, _) in TYPES {
        for (rows, blocks) in [(1, 1), (2, 3), (7, 4), (17, 5), (33, 9)] {
            let cols = blocks * ty.block_len();
            let bytes = weights(ty, rows, cols, None, 11 + rows as u64);
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            let x = Random(5).values(33 * cols);
            let expected = bits(&multiply(Tier::PORTABLE, 1, &w, &x));
            for tier in Tier::available() {
                for tokens in [1, 2, 3, 4, 5, 7, 8, 16, 17, 33] {
                    let threads = 1 + tokens % 3;
                    let found = bits(&multiply(tier, threads, &w, &x[..tokens * cols]));
                    assert!(
                        found == expected[..tokens * rows],
                        "{ty} {rows}x{cols} {tier} {tokens} tokens {threads} threads"
                    );
                }
            }
        }
    }
}

/// Codes at their ends with activations at theirs: nothing saturates.
#[test]
fn extremes_are_exact() {
    for (ty, _) in TYPES {
        let (rows, cols) = (5, 2 * ty.block_len().max(64));
        for fill in [0x00, 0xff, 0x7f, 0x80, 0x88, 0xf0, 0x0f, 0x77] {
            let bytes = weights(ty, rows, cols, Some(fill), 1);
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            for sign in [1.0, -1.0] {
                let x: Vec<f32> = (0..34 * cols)
                    .map(|at| if at / cols % 2 == 0 || at % 2 == 0 { sign } else { -sign })
                    .collect();
                let expected = bits(&multiply(Tier::PORTABLE, 1, &w, &x));
                for tier in Tier::available() {
                    for tokens in [2, 34] {
                        let found = bits(&multiply(tier, 1, &w, &x[..tokens * cols]));
                        assert!(found == expected[..tokens * rows], "{ty} {fill:#x} {tier}");
                    }
                }
            }
        }
    }
}

#[test]
fn bad_activations_spoil_their_token_alone() {
    let (ty, rows, cols) = (TensorType::Q8_0, 5, 64);
    let bytes = weights(ty, rows, cols, None, 1);
    let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
    for tier in Tier::available() {
        for (bad, tokens) in [(f32::NAN, 3), (f32::INFINITY, 20), (f32::NEG_INFINITY, 33)] {
            let mut x = Random(5).values(tokens * cols);
            let clean = multiply(tier, 1, &w, &x);
            x[cols + 3] = bad;
            let found = multiply(tier, 1, &w, &x);
            assert!(found[rows..2 * rows].iter().all(|value| value.is_nan()));
            assert_eq!(found[..rows], clean[..rows]);
            assert_eq!(found[2 * rows..], clean[2 * rows..]);
        }
    }
}

#[test]
fn shapes_are_checked() {
    let bytes = weights(TensorType::Q8_0, 2, 32, None, 1);
    let w = Matrix::new(TensorType::Q8_0, 2, 32, &bytes).unwrap();
    let compute = Compute::new(Tier::PORTABLE, 1);
    let mut forms = Quantized::default();
    let call = |forms: &mut Quantized, x: usize, out: usize| {
        matmul(&compute, &w, &vec![0.0; x], forms, &mut vec![0.0; out])
    };
    assert!(matches!(call(&mut forms, 33, 2), Err(KernelError::Length { .. })));
    assert!(matches!(call(&mut forms, 32, 3), Err(KernelError::Length { .. })));
    assert_eq!(call(&mut forms, 0, 0), Ok(()));
    assert_eq!(call(&mut forms, 64, 4), Ok(()));
}

/// The same activations asked for with another row length are quantized anew.
#[test]
fn another_row_length_is_noticed() {
    let compute = Compute::new(Tier::PORTABLE, 1);
    let bytes = weights(TensorType::Q8_0, 3, 64, None, 1);
    let narrow = Matrix::new(TensorType::Q8_0, 6, 32, &bytes).unwrap();
    let wide = Matrix::new(TensorType::Q8_0, 3, 64, &bytes).unwrap();
    let x = Random(9).values(128);
    let mut forms = Quantized::default();
    let mut out = [0.0; 24];
    matmul(&compute, &narrow, &x, &mut forms, &mut out).unwrap();
    let mut found = [0.0; 6];
    matmul(&compute, &wide, &x, &mut forms, &mut found).unwrap();
    assert_eq!(found[..], multiply(Tier::PORTABLE, 1, &wide, &x)[..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape_agrees(
        index in 0..TYPES.len(),
        rows in 1_usize..40,
        blocks in 1_usize..7,
        tokens in 1_usize..40,
        magnitude in -60_i32..30,
        seed: u64,
    ) {
        let ty = TYPES[index].0;
        let cols = blocks * ty.block_len();
        let bytes = weights(ty, rows, cols, None, seed);
        let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
        let mut x = Random(seed ^ 1).values(tokens * cols);
        for x in &mut x {
            *x *= 2.0_f32.powi(magnitude);
        }
        let expected = bits(&multiply(Tier::PORTABLE, 1, &w, &x));
        for tier in Tier::available() {
            prop_assert!(bits(&multiply(tier, 2, &w, &x)) == expected, "{ty} {tier}");
        }
    }
}
