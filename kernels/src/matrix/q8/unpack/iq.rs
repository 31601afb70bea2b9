//! The types whose values are points of a lattice, given by tables that the codecs keep.
//!
//! A block's codes are what the codec decodes when its scale is set to one, over the integer scale
//! of each group: all exact, so that the division gives the lattice point itself.

use super::Half;
use crate::TensorType;
use crate::matrix::q8::format::{Block, Large};
use crate::tier::Tier;

/// What is added to lattice points to make codes.
const OFFSET: u8 = 64;

/// The F16 number one.
const ONE: [u8; 2] = 0x3c00_u16.to_le_bytes();

/// Fills `block.codes` from a stored block whose scale is one; `unit` times a value is its integer
/// scale times its lattice point.
fn codes(ty: TensorType, stored: &[u8], unit: f32, block: &mut Block<'_>) {
    let mut values = [0.0_f32; 256];
    if crate::codec::decode(Tier::PORTABLE, ty, stored, &mut values).is_err() {
        // Not reached: the lengths fit and the type is decodable. Leaves zeros.
        values.fill(0.0);
    }
    let groups = block.codes.chunks_exact_mut(16).zip(values.chunks_exact(16));
    for ((codes, values), scale) in groups.zip(block.scales.iter()) {
        let scale = *scale as f32;
        for (code, value) in codes.iter_mut().zip(values) {
            *code = ((value * unit / scale) as i8).wrapping_add_unsigned(OFFSET).cast_unsigned();
        }
    }
}

/// A copy of a stored block with its leading scale set to one.
#[inline(always)]
fn unscaled<const N: usize>(stored: &[u8]) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&stored[..N]);
    copy[..2].copy_from_slice(&ONE);
    copy
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// `2 s + 1` for both halves of a group of 32.
fn set_scale(block: &mut Block<'_>, group: usize, first: u32, second: u32) {
    block.scales[2 * group] = (2 * first + 1).cast_signed();
    block.scales[2 * group + 1] = (2 * second + 1).cast_signed();
}

pub(crate) struct Iq2Xxs;
impl Large for Iq2Xxs {
    const TYPE: TensorType = TensorType::IQ2_XXS;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let scale = u32::from(stored[2 + group * 8 + 7] >> 4);
            set_scale(block, group, scale, scale);
        }
        codes(Self::TYPE, &unscaled::<66>(stored), 8.0, block);
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

/// Scales of four bits, two in a byte.
fn nibble_scales(bytes: &[u8], block: &mut Block<'_>) {
    for (group, byte) in bytes[..8].iter().enumerate() {
        set_scale(block, group, u32::from(byte & 15), u32::from(byte >> 4));
    }
}

pub(crate) struct Iq2Xs;
impl Large for Iq2Xs {
    const TYPE: TensorType = TensorType::IQ2_XS;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        nibble_scales(&stored[66..74], block);
        codes(Self::TYPE, &unscaled::<74>(stored), 8.0, block);
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq2S;
impl Large for Iq2S {
    const TYPE: TensorType = TensorType::IQ2_S;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        nibble_scales(&stored[74..82], block);
        codes(Self::TYPE, &unscaled::<82>(stored), 8.0, block);
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq3Xxs;
impl Large for Iq3Xxs {
    const TYPE: TensorType = TensorType::IQ3_XXS;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 62;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let scale = u32::from(stored[66 + group * 4 + 3] >> 4);
            set_scale(block, group, scale, scale);
        }
        codes(Self::TYPE, &unscaled::<98>(stored), 4.0, block);
        (H::at(stored, 0) * 0.25, 0.0)
    }
}

pub(crate) struct Iq3S;
impl Large for Iq3S {
    const TYPE: TensorType = TensorType::IQ3_S;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 62;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let scale = u32::from(stored[106 + group / 2] >> (group % 2 * 4) & 15);
            set_scale(block, group, scale, scale);
        }
        codes(Self::TYPE, &unscaled::<110>(stored), 1.0, block);
        (H::at(stored, 0), 0.0)
    }
}

pub(crate) struct Iq1S;
impl Large for Iq1S {
    const TYPE: TensorType = TensorType::IQ1_S;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    // Eight times a value of −1, 0 or 1, plus or minus the shift of an eighth.
    const MAX_CODE: u8 = 64 + 9;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let scale = u32::from(u16_at(stored, 34 + group * 2) >> 12 & 7);
            set_scale(block, group, scale, scale);
        }
        codes(Self::TYPE, &unscaled::<50>(stored), 8.0, block);
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq1M;
impl Large for Iq1M {
    const TYPE: TensorType = TensorType::IQ1_M;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 9;
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        let mut copy = [0; 56];
        copy.copy_from_slice(&stored[..56]);
        // The F16 scale stands in the top four bits of four words, low bits first.
        let mut bits = 0;
        for word in 0..4 {
            let scales = u16_at(stored, 48 + word * 2);
            bits |= (scales >> 12) << (4 * word);
            let one = scales & 0x0fff | (0x3c00 >> (4 * word) & 15) << 12;
            copy[48 + word * 2..50 + word * 2].copy_from_slice(&one.to_le_bytes());
            for half in 0..2 {
                let pair = u32::from(scales >> (6 * half));
                set_scale(block, 2 * word + half, pair & 7, pair >> 3 & 7);
            }
        }
        codes(Self::TYPE, &copy, 8.0, block);
        (H::at(&bits.to_le_bytes(), 0) * 0.125, 0.0)
    }
}
