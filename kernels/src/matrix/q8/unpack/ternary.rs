//! The ternary types: one scale for 256 values of −1, 0 or 1.

use super::Half;
use crate::TensorType;
use crate::matrix::q8::format::{Block, Large};

/// The `digit`-th base-3 digit of a byte, most significant first: the byte is the digits' fraction
/// of 3^5, scaled to 256.
#[inline(always)]
fn digit(byte: u8, digit: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let shifted = byte.wrapping_mul(POWERS[digit]);
    ((u16::from(shifted) * 3) >> 8) as u8
}

pub(crate) struct Tq1_0;
impl Large for Tq1_0 {
    const TYPE: TensorType = TensorType::TQ1_0;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = 1;
    const MAX_CODE: u8 = 2;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        // Five digits of 32 bytes, five of 16 bytes, four of 4 bytes.
        for (bytes, digits, from) in
            [(&stored[..32], 5, 0), (&stored[32..48], 5, 160), (&stored[48..52], 4, 240)]
        {
            for place in 0..digits {
                for (at, byte) in bytes.iter().enumerate() {
                    block.codes[from + place * bytes.len() + at] = digit(*byte, place);
                }
            }
        }
        block.scales.fill(1);
        (H::at(stored, 52), 0.0)
    }
}

pub(crate) struct Tq2_0;
impl Large for Tq2_0 {
    const TYPE: TensorType = TensorType::TQ2_0;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = 1;
    const MAX_CODE: u8 = 3;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for (index, codes) in block.codes.chunks_exact_mut(32).enumerate() {
            for (code, byte) in codes.iter_mut().zip(&stored[index / 4 * 32..][..32]) {
                *code = byte >> (index % 4 * 2) & 3;
            }
        }
        block.scales.fill(1);
        (H::at(stored, 64), 0.0)
    }
}
