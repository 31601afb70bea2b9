//! Unpacked weights: what four rows of any type look like after their blocks were opened, so that
//! one set of product kernels serves all types. Lives in the caches of one thread.
//!
//! A weight is `scale · (code − offset) + min`. Codes are bytes without sign (what `vpdpbusd` and
//! `vpmaddubsw` multiply); the offset belongs to the type.

use super::format::{Form, Format};

/// Rows that are unpacked and multiplied together.
pub(super) const ROWS: usize = 4;

/// Values that share an activation scale in the small form.
pub(super) const SMALL: usize = 32;

/// Values that share an activation scale in the large form.
pub(super) const LARGE: usize = 256;

/// Small blocks in a record, and virtual lanes of their sum.
pub(super) const LANES: usize = 4;

/// Four small blocks of four rows.
///
/// The codes of a row are in *half order*: the first 16 of each of the four blocks, then the last 16
/// of each. So a 128-bit lane of a register holds half a block: of packed nibbles, the low or the
/// high ones.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct SmallWeights {
    /// `[row][half][block * 16 + …]`
    pub(super) codes: [[[u8; 64]; 2]; ROWS],
    /// `[half][block][row]`; the second half's are used only by types with a scale per 16 values.
    pub(super) scales: [[[f32; ROWS]; LANES]; 2],
    /// `[block][row]`
    pub(super) mins: [[f32; ROWS]; LANES],
}

/// One large block of four rows.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct LargeWeights {
    /// `[row][column]`
    pub(super) codes: [[u8; LARGE]; ROWS],
    /// `[row][column / 16]`: integer scales
    pub(super) sub: [[i32; 16]; ROWS],
    /// `[row][column / 16]`: integer minima
    pub(super) sub_mins: [[i16; 16]; ROWS],
    /// What the integer scales are multiplied with.
    pub(super) scales: [f32; ROWS],
    /// What the integer minima are multiplied with before they are added.
    pub(super) mins: [f32; ROWS],
}

const NO_SMALL: SmallWeights = SmallWeights {
    codes: [[[0; 64]; 2]; ROWS],
    scales: [[[0.0; ROWS]; LANES]; 2],
    mins: [[0.0; ROWS]; LANES],
};

const NO_LARGE: LargeWeights = LargeWeights {
    codes: [[0; LARGE]; ROWS],
    sub: [[0; 16]; ROWS],
    sub_mins: [[0; 16]; ROWS],
    scales: [0.0; ROWS],
    mins: [0.0; ROWS],
};

/// Unpacked rows, four at a time, of one form or the other.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Of the small form; the last record is padded with blocks whose scale is zero.
    pub(super) small: Vec<SmallWeights>,
    /// Of the large form.
    pub(super) large: Vec<LargeWeights>,
    /// Four packed rows with room behind each.
    pub(super) padded: Vec<u8>,
}

impl Group {
    /// Makes room for rows of `cols` values.
    pub(super) fn prepare(&mut self, format: &Format, cols: usize) {
        match format.form {
            Form::Small => {
                self.small.resize(cols.div_ceil(LANES * SMALL), NO_SMALL);
                if let Some(last) = self.small.last_mut() {
                    *last = NO_SMALL;
                }
            }
            Form::Large => self.large.resize(cols / LARGE, NO_LARGE),
        }
    }
}
