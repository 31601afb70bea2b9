//! The k-quants `Q2_K` to `Q6_K`: super-blocks of 256 values, cut into sub-blocks of 16 or 32 that
//! have small integer scales (and mins), which share one F16 scale (and one F16 min).
//!
//! A file per type knows the layout. `affine` searches for the types with mins (`Q2_K`, `Q4_K`,
//! `Q5_K`), `symmetric` for those without (`Q3_K`, `Q6_K`); both run on the virtual lanes of
//! `lanes`, one sub-block in each, so that the bytes are the same in every tier. What they minimise
//! is decided in `objective`.

mod affine;
mod lanes;
mod objective;
mod q2_k;
mod q3_k;
mod q4_k;
mod q5_k;
mod q6_k;
mod symmetric;

use half::f16;

use self::lanes::{LANES, Lanes, Task, dispatch};
use super::Rows;
use crate::Tier;

/// Values in a super-block.
const BLOCK: usize = 256;

/// The largest finite F16.
const HALF_MAX: f32 = 65504.0;

/// The contents of a super-block, before they are packed.
struct Fields {
    /// The stored codes: q, or q plus the type's bias.
    codes: [u8; BLOCK],
    /// Integer scales of the sub-blocks: 8 or 16 of them.
    scales: [i32; LANES],
    /// Integer mins of the sub-blocks.
    mins: [u8; LANES],
    d: f32,
    dmin: f32,
}

/// What a search finds for the sub-blocks in all lanes.
struct Found<const N: usize> {
    /// q, unbiased, by value and lane.
    codes: [[f32; LANES]; N],
    scales: [f32; LANES],
    mins: [f32; LANES],
    /// The F16 scale and min of the lane's super-block.
    d: [f32; LANES],
    dmin: [f32; LANES],
}

#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[inline(always)]
fn put_half(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// Decodes every block with `one`.
struct Decode<'a, const B: usize, F> {
    bytes: &'a [u8],
    out: &'a mut [f32],
    one: F,
}

impl<const B: usize, F: Fn(&[u8; B], &mut [f32; BLOCK])> Task for Decode<'_, B, F> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let blocks = self.bytes.as_chunks::<B>().0;
        for (block, out) in blocks.iter().zip(self.out.as_chunks_mut::<BLOCK>().0) {
            (self.one)(block, out);
        }
    }
}

pub(super) fn decode_q2_k(tier: Tier, bytes: &[u8], out: &mut [f32]) {
    dispatch(tier, Decode { bytes, out, one: q2_k::decode });
}

pub(super) fn decode_q3_k(tier: Tier, bytes: &[u8], out: &mut [f32]) {
    dispatch(tier, Decode { bytes, out, one: q3_k::decode });
}

pub(super) fn decode_q4_k(tier: Tier, bytes: &[u8], out: &mut [f32]) {
    dispatch(tier, Decode { bytes, out, one: q4_k::decode });
}

pub(super) fn decode_q5_k(tier: Tier, bytes: &[u8], out: &mut [f32]) {
    dispatch(tier, Decode { bytes, out, one: q5_k::decode });
}

pub(super) fn decode_q6_k(tier: Tier, bytes: &[u8], out: &mut [f32]) {
    dispatch(tier, Decode { bytes, out, one: q6_k::decode });
}

/// A search over the sub-blocks of one lane group.
trait Search<const N: usize> {
    fn find<L: Lanes>(&self, x: &[L; N], w: &[L; N]) -> Found<N>;
    /// What is added to q to store it.
    fn bias(&self) -> f32;
}

/// Encodes rows: `N` values in a sub-block, `B` bytes in a block.
struct Encode<'a, const N: usize, const B: usize, S, F> {
    rows: &'a Rows<'a>,
    out: &'a mut [u8],
    search: S,
    pack: F,
}

impl<const N: usize, const B: usize, S: Search<N>, F: Fn(&Fields, &mut [u8; B])> Task
    for Encode<'_, N, B, S, F>
{
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let per_block = BLOCK / N;
        let per_row = self.rows.cols / BLOCK;
        let blocks = self.rows.values.as_chunks::<BLOCK>().0;
        let outs = self.out.as_chunks_mut::<B>().0;
        let together = LANES / per_block;
        let groups = blocks.chunks(together).zip(outs.chunks_mut(together));
        for (group, (blocks, outs)) in groups.enumerate() {
            let (mut x, mut w) = ([[0.0; LANES]; N], [[1.0; LANES]; N]);
            for (index, values) in blocks.iter().enumerate() {
                let column = (group * together + index) % per_row * BLOCK;
                let weights = self.rows.weights.and_then(|w| w[column..].first_chunk());
                let weights = objective::weights::<N>(values, weights);
                spread(values, index * per_block, &mut x);
                spread(&weights, index * per_block, &mut w);
            }
            let (mut x_lanes, mut w_lanes) = ([L::splat(0.0); N], [L::splat(1.0); N]);
            for at in 0..N {
                x_lanes[at] = L::load(&x[at]);
                w_lanes[at] = L::load(&w[at]);
            }
            let found = self.search.find::<L>(&x_lanes, &w_lanes);
            for (index, out) in outs.iter_mut().enumerate() {
                (self.pack)(&gather(&found, index * per_block, self.search.bias()), out);
            }
        }
    }
}

/// Puts the sub-blocks of `values` into the lanes from `first`.
#[inline(always)]
fn spread<const N: usize>(values: &[f32; BLOCK], first: usize, lanes: &mut [[f32; LANES]; N]) {
    /// Far beyond what any k-quant can hold (65504 · 127 · 32), and its square is finite.
    const REACH: f32 = 1e9;
    for (sub, values) in values.as_chunks::<N>().0.iter().enumerate() {
        for (lanes, value) in lanes.iter_mut().zip(values) {
            lanes[first + sub] = value.clamp(-REACH, REACH);
        }
    }
}

/// Takes the super-block out of the lanes from `first`.
#[inline(always)]
fn gather<const N: usize>(found: &Found<N>, first: usize, bias: f32) -> Fields {
    let mut codes = [0; BLOCK];
    for (sub, codes) in codes.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        for (code, lanes) in codes.iter_mut().zip(&found.codes) {
            // 0 to 255 in the last place of a number near 2²³: as an integer, without a conversion's checks.
            *code = (lanes[first + sub] + bias + 8_388_608.0).to_bits() as u8;
        }
    }
    let (mut scales, mut mins) = ([0; LANES], [0; LANES]);
    for sub in 0..BLOCK / N {
        scales[sub] = found.scales[first + sub] as i32;
        mins[sub] = found.mins[first + sub] as i32 as u8;
    }
    Fields { codes, scales, mins, d: found.d[first], dmin: found.dmin[first] }
}

pub(super) fn encode_q2_k(tier: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    dispatch(tier, Encode { rows, out, search: affine::Q2_K, pack: q2_k::pack });
}

pub(super) fn encode_q3_k(tier: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    let weighted = rows.weights.is_some();
    let search = if weighted { symmetric::Q3_K } else { symmetric::Q3_K_ALIKE };
    dispatch(tier, Encode { rows, out, search, pack: q3_k::pack });
}

pub(super) fn encode_q4_k(tier: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    dispatch(tier, Encode { rows, out, search: affine::Q4_K, pack: q4_k::pack });
}

pub(super) fn encode_q5_k(tier: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    dispatch(tier, Encode { rows, out, search: affine::Q5_K, pack: q5_k::pack });
}

pub(super) fn encode_q6_k(tier: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    dispatch(tier, Encode { rows, out, search: symmetric::Q6_K, pack: q6_k::pack });
}

/// The sum over the lanes of each super-block (`group` lanes, in lane order), in all its lanes.
#[inline(always)]
fn group_sum<L: Lanes>(values: L, group: usize) -> L {
    let mut values = values.store();
    for lanes in values.chunks_exact_mut(group) {
        let sum = lanes.iter().fold(0.0, |sum, v| sum + v);
        lanes.fill(sum);
    }
    L::load(&values)
}

/// In all lanes of each super-block, the value of the lane whose magnitude is largest; the first of
/// several.
#[inline(always)]
fn group_extreme<L: Lanes>(values: L, group: usize) -> L {
    let mut values = values.store();
    for lanes in values.chunks_exact_mut(group) {
        let largest = |best: f32, v: &f32| if v.abs() > best.abs() { *v } else { best };
        let extreme = lanes.iter().fold(0.0, largest);
        lanes.fill(extreme);
    }
    L::load(&values)
}

/// Rounds to F16, held at the largest finite one. The lanes of a super-block hold the same value.
#[inline(always)]
fn round_to_half<L: Lanes>(values: L, group: usize) -> L {
    let mut values = values.store();
    for lanes in values.chunks_exact_mut(group) {
        let value = lanes[0].clamp(-HALF_MAX, HALF_MAX);
        lanes.fill(half_nearest(value));
    }
    L::load(&values)
}

/// The F16 nearest to `value`, ties to even, for |value| ≤ 65504. Plain arithmetic, so that it is
/// inlined whatever the tier.
#[inline(always)]
fn half_nearest(value: f32) -> f32 {
    // Below 2⁻¹⁴ F16 is a multiple of 2⁻²⁴, which is the last place of a number near 0.75.
    let small = (value + 0.75) - 0.75;
    // Above, 13 bits of the fraction are rounded off.
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0xfff + ((bits >> 13) & 1)) & !0x1fff;
    if value.abs() < 6.103515625e-5 { small } else { f32::from_bits(rounded) }
}
