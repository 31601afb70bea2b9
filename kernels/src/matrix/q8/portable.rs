//! The products in plain Rust: what every tier must equal.

use super::format::Format;
use super::quantized::{LargeRow, SmallRow};
use super::scratch::{LANES, LargeWeights, ROWS, SmallWeights};

#[inline(always)]
fn dot(weights: &[u8], codes: &[i8], offset: i32) -> i32 {
    weights.iter().zip(codes).map(|(w, x)| (i32::from(*w) - offset) * i32::from(*x)).sum()
}

/// Four rows with one token, small form.
pub(super) fn small(format: &Format, weights: &[SmallWeights], token: &[SmallRow]) -> [f32; ROWS] {
    let mut lanes = [[0.0_f32; ROWS]; LANES];
    for (w, x) in weights.iter().zip(token) {
        for (block, lane) in lanes.iter_mut().enumerate() {
            for (row, sum) in lane.iter_mut().enumerate() {
                let half = |half: usize| {
                    let place = block * 16..block * 16 + 16;
                    dot(&w.codes[row][half][place.clone()], &x.codes[half][place], format.offset)
                };
                let (first, second) = (half(0), half(1));
                let scale = w.scales[0][block][row] * x.scales[block][0];
                if format.per_scale == 32 {
                    *sum = ((first + second) as f32).mul_add(scale, *sum);
                } else {
                    *sum = (first as f32).mul_add(scale, *sum);
                    let scale = w.scales[1][block][row] * x.scales[block][0];
                    *sum = (second as f32).mul_add(scale, *sum);
                }
                if format.mins {
                    *sum = w.mins[block][row].mul_add(x.value_sums[block][0], *sum);
                }
            }
        }
    }
    std::array::from_fn(|row| {
        // The last addition makes a negative zero positive: padding cannot be told from its absence.
        (lanes[0][row] + lanes[2][row]) + (lanes[1][row] + lanes[3][row]) + 0.0
    })
}

/// Four rows with one token, large form.
pub(super) fn large(format: &Format, weights: &[LargeWeights], token: &[LargeRow]) -> [f32; ROWS] {
    let mut sums = [0.0_f32; ROWS];
    for (w, x) in weights.iter().zip(token) {
        for (row, sum) in sums.iter_mut().enumerate() {
            let mut total = 0;
            let mut min = 0;
            for sub in 0..16 {
                let place = sub * 16..sub * 16 + 16;
                let dot = dot(&w.codes[row][place.clone()], &x.codes[place], format.offset);
                total += w.sub[row][sub] * dot;
                if format.mins {
                    min += i32::from(w.sub_mins[row][sub]) * x.sums[sub];
                }
            }
            *sum = (total as f32).mul_add(w.scales[row] * x.scale, *sum);
            if format.mins {
                *sum = (min as f32).mul_add(w.mins[row] * x.scale, *sum);
            }
        }
    }
    sums
}
