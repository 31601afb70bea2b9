//! Sixteen F32 lanes, the same in every tier: what the encoders' searches are written with.
//!
//! # Defined order
//! A lane holds one block (of sixteen that are encoded at once) and never meets another: each sum runs
//! over a block's values in their order, one operation after the other. An encoder written with
//! [`Lanes`] thus gives the same bytes whether a vector is one register, two, or an array, and there
//! is nothing to fold. Multiplication and addition are never fused.

use std::ops::{Add, Div, Mul, Sub};

/// Lanes in a vector: blocks that are encoded at once.
pub(super) const LANES: usize = 16;

/// Adding and subtracting this rounds to an integer, halves to even, for |x| ≤ 2²².
const ROUND: f32 = 12582912.0;

/// Thresholds between IQ4's levels on the scale u = 2·level + 254, in bins of 16: the one threshold
/// that bin holds (or 1000), the level below it and the one above. The levels lie 9 apart or more, so
/// no bin holds two.
pub(super) struct Iq4Bins {
    pub(super) threshold: [f32; 32],
    pub(super) below: [f32; 32],
    pub(super) above: [f32; 32],
    /// The same as a plain table: the level of every whole u from 0 to 480.
    pub(super) level: [f32; 481],
}

pub(super) static IQ4_BINS: Iq4Bins = iq4_bins();

const fn iq4_bins() -> Iq4Bins {
    const LEVELS: [i8; 16] = super::lookup::IQ4_LEVELS;
    let mut bins =
        Iq4Bins { threshold: [1000.0; 32], below: [0.0; 32], above: [0.0; 32], level: [0.0; 481] };
    let mut index = 0;
    let mut u = 0;
    while u <= 480 {
        // The threshold between two levels is their mean: on this scale a + b + 254.
        if index < 15 && u >= LEVELS[index] as i32 + LEVELS[index + 1] as i32 + 254 {
            index += 1;
            if u % 16 != 0 {
                bins.threshold[u as usize / 16] = u as f32;
            }
        }
        bins.level[u as usize] = LEVELS[index] as f32;
        if u % 16 == 0 {
            bins.below[u as usize / 16] = LEVELS[index] as f32;
        }
        bins.above[u as usize / 16] = LEVELS[index] as f32;
        u += 1;
    }
    bins
}

/// Sixteen F32 values.
///
/// The vector types of a tier are used only inside functions compiled for that tier, which are only
/// reached with a [`crate::Tier`] in hand: this is what makes their instructions available.
pub(super) trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// A choice for each lane.
    type Mask: Copy;

    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn array(self) -> [f32; LANES];
    /// `self` where it is less, else `other`.
    fn min(self, other: Self) -> Self;
    /// `self` where it is greater, else `other`.
    fn max(self, other: Self) -> Self;
    fn abs(self) -> Self;
    fn less(self, other: Self) -> Self::Mask;
    /// `a` where the mask says so, else `b`.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// The nearest F16, halves to even; infinite beyond its range.
    fn to_f16(self) -> [u16; LANES];
    fn from_f16(bits: [u16; LANES]) -> Self;
    /// The low bytes of lanes that hold integers.
    fn to_bytes(self) -> [u8; LANES];
    /// The level of IQ4 for u = 2·value + 254, which is brought into 0 … 480 first.
    fn iq4_level(self) -> Self;
    /// Values of sixteen blocks one after the other → for each place in a block, the blocks' values.
    fn transpose(blocks: &[f32; 32 * LANES], places: &mut [Self; 32]);

    /// The nearest integer, halves to even, for |x| ≤ 2²².
    #[inline(always)]
    fn round(self) -> Self {
        (self + Self::splat(ROUND)) - Self::splat(ROUND)
    }

    /// Into the range of `low` to `high`.
    #[inline(always)]
    fn clamp(self, low: f32, high: f32) -> Self {
        self.max(Self::splat(low)).min(Self::splat(high))
    }

    /// The nearest finite F16.
    #[inline(always)]
    fn through_f16(self) -> Self {
        Self::from_f16(self.clamp(-65504.0, 65504.0).to_f16())
    }

    /// 1/self, and 0 for 0.
    #[inline(always)]
    fn reciprocal(self) -> Self {
        let zero = Self::splat(0.0);
        Self::select(zero.less(self.abs()), Self::splat(1.0) / self, zero)
    }

    /// self/other, and 0 where `other` is not positive.
    #[inline(always)]
    fn ratio(self, other: Self) -> Self {
        let zero = Self::splat(0.0);
        Self::select(zero.less(other), self / other, zero)
    }
}

/// The portable form: an array.
#[derive(Clone, Copy)]
pub(super) struct Array([f32; LANES]);

macro_rules! array_operator {
    ($trait:ident, $method:ident, $operator:tt) => {
        impl $trait for Array {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] $operator other.0[i]))
            }
        }
    };
}

array_operator!(Add, add, +);
array_operator!(Sub, sub, -);
array_operator!(Mul, mul, *);
array_operator!(Div, div, /);

impl Lanes for Array {
    type Mask = [bool; LANES];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        Self(*x)
    }

    #[inline(always)]
    fn array(self) -> [f32; LANES] {
        self.0
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] < other.0[i] { self.0[i] } else { other.0[i] }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    #[inline(always)]
    fn less(self, other: Self) -> [bool; LANES] {
        std::array::from_fn(|i| self.0[i] < other.0[i])
    }

    #[inline(always)]
    fn select(mask: [bool; LANES], a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| if mask[i] { a.0[i] } else { b.0[i] }))
    }

    #[inline(always)]
    fn to_f16(self) -> [u16; LANES] {
        self.0.map(|x| half::f16::from_f32_const(x).to_bits())
    }

    #[inline(always)]
    fn from_f16(bits: [u16; LANES]) -> Self {
        Self(bits.map(super::tiers::f16_to_f32))
    }

    #[inline(always)]
    fn to_bytes(self) -> [u8; LANES] {
        self.0.map(|x| x as i32 as u8)
    }

    #[inline(always)]
    fn iq4_level(self) -> Self {
        Self(self.clamp(0.0, 480.0).0.map(|u| IQ4_BINS.level[u as usize]))
    }

    #[inline(always)]
    fn transpose(blocks: &[f32; 32 * LANES], places: &mut [Self; 32]) {
        for (place, values) in places.iter_mut().enumerate() {
            *values = Self(std::array::from_fn(|lane| blocks[32 * lane + place]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_and_table_agree_with_the_nearest_level() {
        for step in 0..=480u16 {
            let u = f32::from(step) + 0.25;
            let value = (u - 254.0) / 2.0;
            let distance = |level: f32| (level - value).abs();
            let nearest = super::super::lookup::IQ4_LEVELS
                .map(f32::from)
                .into_iter()
                .min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
            let bin = usize::from(step / 16);
            let from_bin =
                if u < IQ4_BINS.threshold[bin] { IQ4_BINS.below[bin] } else { IQ4_BINS.above[bin] };
            assert_eq!(Some(IQ4_BINS.level[usize::from(step)]), nearest, "{value}");
            assert_eq!(Some(from_bin), nearest, "{value}");
        }
    }
}
