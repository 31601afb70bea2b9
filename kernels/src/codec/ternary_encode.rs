//! Encoding of the ternary types TQ1_0 and TQ2_0: 256 values of −d, 0 or d.
//!
//! # Search
//! Which values become ±d follows from a threshold t on the magnitude; the best d for them is their
//! weighted mean magnitude, rounded to F16, and the gain over all zeros is d(2Σw|x| − dΣw) over them.
//! Trials take thresholds from the mean and the greatest magnitude (half of that is ggml's choice); the
//! best is improved with t = d/2, which is where the nearest value changes. At the end the true error
//! decides between what was found and ggml's d, the greatest magnitude.

use super::Rows;
use super::groups::{BLOCK, Each, Uniform, Weights, normalized, transpose_bytes, transposed};
use super::lanes::{LANES, Lanes};
use super::tiers::lane_encoder;

/// Values in a block.
const VALUES: usize = 256;

/// Sixteen blocks, one a lane, in runs of 32 places.
type Wide<L> = [[L; BLOCK]; VALUES / BLOCK];

/// Trial thresholds as multiples of the mean magnitude; with that of the greatest one, two at a time.
const OF_MEAN: [f32; 5] = [0.5, 0.7, 0.9, 1.2, 1.6];

/// Times that the best is improved.
const ROUNDS: usize = 3;

lane_encoder! {
    /// LIMIT_TQ1_0
    pub(super) fn encode_tq1_0 = tq1_0
}

#[inline(always)]
fn tq1_0<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode::<L, 54>(rows, out, |codes, scales, out| {
        for (at, first, step, digits) in [(0, 0, 32, 5), (16, 16, 32, 5), (32, 160, 16, 5)] {
            let bytes = base_three(codes, first, step, digits);
            put(out, at, &transpose_bytes(&bytes), 16);
        }
        put(out, 48, &transpose_bytes(&base_three(codes, 240, 4, 4)), 4);
        put_scales(out, scales);
    });
}

lane_encoder! {
    /// LIMIT_TQ2_0
    pub(super) fn encode_tq2_0 = tq2_0
}

#[inline(always)]
fn tq2_0<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode::<L, 66>(rows, out, |codes, scales, out| {
        for (at, first) in [(0, 0), (16, 16), (32, 128), (48, 144)] {
            let mut bytes = [[0; LANES]; 16];
            for (place, bytes) in bytes.iter_mut().enumerate() {
                for row in (0..4).rev() {
                    let codes = &codes[first + place + 32 * row];
                    for (byte, code) in bytes.iter_mut().zip(codes) {
                        *byte = *byte << 2 | code;
                    }
                }
            }
            put(out, at, &transpose_bytes(&bytes), 16);
        }
        put_scales(out, scales);
    });
}

/// Bytes of `digits` codes that stand `step` places apart, the first of them the highest digit, as
/// fractions of 243 in 256ths, rounded up; 16 bytes from place `first` on (4 digits: 4 bytes).
#[inline(always)]
fn base_three(
    codes: &[[u8; LANES]; VALUES],
    first: usize,
    step: usize,
    digits: usize,
) -> [[u8; LANES]; 16] {
    let mut bytes = [[0; LANES]; 16];
    for (place, bytes) in bytes.iter_mut().enumerate().take(step) {
        let mut number = [0u16; LANES];
        for digit in 0..5 {
            for (lane, number) in number.iter_mut().enumerate() {
                let code =
                    if digit < digits { codes[first + place + step * digit][lane] } else { 0 };
                *number = *number * 3 + u16::from(code);
            }
        }
        #[expect(clippy::manual_div_ceil, reason = "one division; div_ceil adds a comparison")]
        for (byte, number) in bytes.iter_mut().zip(number) {
            *byte = ((u32::from(number) * 256 + 242) / 243) as u8;
        }
    }
    bytes
}

/// Puts `count` bytes of each lane at byte `at` of its block.
#[inline(always)]
fn put<const BYTES: usize>(
    out: &mut [[u8; BYTES]],
    at: usize,
    lanes: &[[u8; 16]; LANES],
    count: usize,
) {
    for (out, bytes) in out.iter_mut().zip(lanes) {
        out[at..at + count].copy_from_slice(&bytes[..count]);
    }
}

/// Puts the scales at the blocks' ends.
#[inline(always)]
fn put_scales<const BYTES: usize>(out: &mut [[u8; BYTES]], scales: [u16; LANES]) {
    for (out, scale) in out.iter_mut().zip(scales) {
        out[BYTES - 2..].copy_from_slice(&scale.to_le_bytes());
    }
}

/// Finds codes (0, 1, 2 for each place and lane) and scales, and has them written.
#[inline(always)]
fn encode<L: Lanes, const BYTES: usize>(
    rows: &Rows<'_>,
    out: &mut [u8],
    write: impl Fn(&[[u8; LANES]; VALUES], [u16; LANES], &mut [[u8; BYTES]]),
) {
    let weights = rows.weights.map(|weights| normalized(weights, VALUES));
    let (blocks, _) = out.as_chunks_mut::<BYTES>();
    for (group, out) in blocks.chunks_mut(LANES).enumerate() {
        let x: Wide<L> = wide(|lane| rows.values.get((group * LANES + lane) * VALUES..));
        let scale = match &weights {
            None => search(&x, &[Uniform; VALUES / BLOCK]),
            Some(weights) => {
                let per_row = rows.cols / VALUES;
                let w: Wide<L> =
                    wide(|lane| weights.get((group * LANES + lane) % per_row * VALUES..));
                let mut each = [Each(&w[0]); VALUES / BLOCK];
                for (each, w) in each.iter_mut().zip(&w) {
                    *each = Each(w);
                }
                search(&x, &each)
            }
        };
        let inverse = scale.reciprocal();
        let mut codes = [[0; LANES]; VALUES];
        for (code, x) in codes.iter_mut().zip(x.as_flattened()) {
            *code = ((*x * inverse).round().clamp(-1.0, 1.0) + L::splat(1.0)).to_bytes();
        }
        write(&codes, scale.to_f16(), out);
    }
}

/// The block of each lane, from where it starts; zeros where there is none.
#[inline(always)]
fn wide<'a, L: Lanes>(block: impl Fn(usize) -> Option<&'a [f32]>) -> Wide<L> {
    let mut out = [[L::splat(0.0); BLOCK]; VALUES / BLOCK];
    for (run, out) in out.iter_mut().enumerate() {
        let mut buffer = [0.0; BLOCK * LANES];
        for (lane, buffer) in buffer.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            if let Some(block) = block(lane).and_then(|block| block.first_chunk::<VALUES>()) {
                buffer.copy_from_slice(&block[BLOCK * run..BLOCK * (run + 1)]);
            }
        }
        *out = transposed(&buffer);
    }
    out
}

/// The best F16 scale found.
#[inline(always)]
fn search<L: Lanes, W: Weights<L>>(x: &Wide<L>, weights: &[W; VALUES / BLOCK]) -> L {
    let zero = L::splat(0.0);
    let (mut greatest, mut w, mut wx) = (zero, zero, zero);
    for (x, weights) in x.iter().zip(weights) {
        for (place, x) in x.iter().enumerate() {
            greatest = x.abs().max(greatest);
            w = w + weights.times(place, L::splat(1.0));
            wx = wx + weights.times(place, x.abs());
        }
    }
    let mean = wx.ratio(w);
    let mut best = (zero, zero);
    consider(&mut best, x, weights, greatest * L::splat(0.5));
    for multiple in OF_MEAN {
        consider(&mut best, x, weights, mean * L::splat(multiple));
    }
    for _ in 0..ROUNDS {
        let threshold = best.0 * L::splat(0.5);
        consider(&mut best, x, weights, threshold);
    }
    let plain = greatest.through_f16();
    let worse = error(x, weights, plain).less(error(x, weights, best.0));
    L::select(worse, plain, best.0)
}

/// Keeps the best scale for the values beyond the threshold if it gains more than the best so far.
#[inline(always)]
fn consider<L: Lanes, W: Weights<L>>(
    best: &mut (L, L),
    x: &Wide<L>,
    weights: &[W; VALUES / BLOCK],
    threshold: L,
) {
    let zero = L::splat(0.0);
    let (mut w, mut wx) = (zero, zero);
    for (x, weights) in x.iter().zip(weights) {
        for (place, x) in x.iter().enumerate() {
            let beyond = threshold.less(x.abs());
            w = w + L::select(beyond, weights.times(place, L::splat(1.0)), zero);
            wx = wx + L::select(beyond, weights.times(place, x.abs()), zero);
        }
    }
    let scale = wx.ratio(w).through_f16();
    let gain = scale * (wx + wx - scale * w);
    let better = best.1.less(gain);
    *best = (L::select(better, scale, best.0), L::select(better, gain, best.1));
}

/// Σw(x − x̂)² of each lane, in the order of the values.
#[inline(always)]
fn error<L: Lanes, W: Weights<L>>(x: &Wide<L>, weights: &[W; VALUES / BLOCK], scale: L) -> L {
    let inverse = scale.reciprocal();
    let mut sum = L::splat(0.0);
    for (x, weights) in x.iter().zip(weights) {
        for (place, x) in x.iter().enumerate() {
            let miss = *x - (*x * inverse).round().clamp(-1.0, 1.0) * scale;
            sum = sum + weights.times(place, miss) * miss;
        }
    }
    sum
}
