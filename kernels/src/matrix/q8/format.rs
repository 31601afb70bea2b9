//! What the product kernels need to know of a type: one table row each.

use super::quantized::{LargeRow, SmallRow};
use super::scratch::{Group, LANES, LARGE, ROWS, SMALL};
use super::unpack::{Half, Soft, iq, kquant, small, ternary};
#[cfg(target_arch = "x86_64")]
use super::{avx512_large as direct_large, avx512_small as direct};
use crate::TensorType;
use crate::tier::{Kind, Tier};

/// Which blocks the activations are quantized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Blocks of 32 with an F16-rounded scale and sum: ggml's `Q8_0` and `Q8_1`.
    Small,
    /// Blocks of 256 with an F32 scale: ggml's `Q8_K`.
    Large,
}

/// Opens one stored row into a slot of a group.
type Unpack = fn(&[u8], usize, &mut Group);
/// The same, compiled for instructions that the caller has checked.
type UnpackTier = unsafe fn(&[u8], usize, &mut Group);

/// A product of four packed rows of that many blocks with a token, for instructions that the caller
/// has checked. The rows are padded to whole records.
pub(super) type DirectSmall = unsafe fn([&[u8]; ROWS], usize, &[SmallRow]) -> [f32; ROWS];
/// The same for the large form.
pub(super) type DirectLarge = unsafe fn([&[u8]; ROWS], &[LargeRow]) -> [f32; ROWS];

/// Products that need no unpacked rows, by tier.
#[derive(Debug, Default)]
pub(super) struct Direct {
    pub(super) small_avx512: Option<DirectSmall>,
    pub(super) large_avx512: Option<DirectLarge>,
}

/// A type as the product kernels see it.
#[derive(Debug)]
pub(super) struct Format {
    /// The type.
    pub(super) ty: TensorType,
    /// The activations that go with it.
    pub(super) form: Form,
    /// Values that share a scale: 16 or 32.
    pub(super) per_scale: usize,
    /// What is subtracted from a code.
    pub(super) offset: i32,
    /// The largest code.
    pub(super) max_code: u8,
    /// Whether a minimum is added.
    pub(super) mins: bool,
    /// The product of four packed rows with a token, where there is one of its own.
    pub(super) direct: Direct,
    unpack: Unpack,
    unpack_avx2: UnpackTier,
    unpack_avx512: UnpackTier,
}

/// Codes, scales and minimum of 32 values of a small block.
pub(super) struct Part {
    /// In the order of the columns.
    pub(super) codes: [u8; SMALL],
    /// Of each half; equal where `PER_SCALE` is 32.
    pub(super) scales: [f32; 2],
    /// Added to each value.
    pub(super) min: f32,
}

/// A type whose scales are floats, each for 16 or 32 values.
pub(super) trait Small {
    const TYPE: TensorType;
    const PER_SCALE: usize = SMALL;
    const OFFSET: i32;
    const MAX_CODE: u8;
    const MINS: bool = false;
    /// Opens the `part`-th 32 values of a stored block.
    fn part<H: Half>(block: &[u8], part: usize) -> Part;
}

/// A block of 256 values in the making.
pub(super) struct Block<'a> {
    /// In the order of the columns.
    pub(super) codes: &'a mut [u8; LARGE],
    /// The integer scale of each 16 values.
    pub(super) scales: &'a mut [i32; 16],
    /// The integer minimum of each 16 values; not looked at where the type has none.
    pub(super) mins: &'a mut [i16; 16],
}

/// A type whose scales are integers below one float scale per 256 values.
pub(super) trait Large {
    const TYPE: TensorType;
    const PER_SCALE: usize;
    const OFFSET: i32;
    const MAX_CODE: u8;
    const MINS: bool = false;
    /// Opens a stored block; gives the scale of its scales and what its minima are multiplied with
    /// before they are added.
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32);
}

#[inline(always)]
fn unpack_small<T: Small, H: Half>(row: &[u8], slot: usize, out: &mut Group) {
    let parts = T::TYPE.block_len() / SMALL;
    for (index, stored) in row.chunks_exact(T::TYPE.block_bytes()).enumerate() {
        for part in 0..parts {
            let block = index * parts + part;
            let (record, lane) = (&mut out.small[block / LANES], block % LANES);
            let open = T::part::<H>(stored, part);
            let codes = &mut record.codes[slot];
            codes[0][lane * 16..lane * 16 + 16].copy_from_slice(&open.codes[..16]);
            codes[1][lane * 16..lane * 16 + 16].copy_from_slice(&open.codes[16..]);
            record.scales[0][lane][slot] = open.scales[0];
            if T::PER_SCALE < SMALL {
                record.scales[1][lane][slot] = open.scales[1];
            }
            if T::MINS {
                record.mins[lane][slot] = open.min;
            }
        }
    }
}

#[inline(always)]
fn unpack_large<T: Large, H: Half>(row: &[u8], slot: usize, out: &mut Group) {
    for (stored, record) in row.chunks_exact(T::TYPE.block_bytes()).zip(&mut out.large) {
        let mut block = Block {
            codes: &mut record.codes[slot],
            scales: &mut record.sub[slot],
            mins: &mut record.sub_mins[slot],
        };
        let (scale, min) = T::open::<H>(stored, &mut block);
        record.scales[slot] = scale;
        record.mins[slot] = min;
    }
}

#[cfg(target_arch = "x86_64")]
mod tiers {
    use super::super::unpack::F16c;
    use super::{Group, Large, Small, unpack_large, unpack_small};

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn small_avx2<T: Small>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_small::<T, F16c>(row, slot, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    pub(super) fn small_avx512<T: Small>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_small::<T, F16c>(row, slot, out);
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn large_avx2<T: Large>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_large::<T, F16c>(row, slot, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    pub(super) fn large_avx512<T: Large>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_large::<T, F16c>(row, slot, out);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tiers {
    use super::super::unpack::Soft;
    use super::{Group, Large, Small, unpack_large, unpack_small};

    pub(super) fn small_avx2<T: Small>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_small::<T, Soft>(row, slot, out);
    }

    pub(super) use small_avx2 as small_avx512;

    pub(super) fn large_avx2<T: Large>(row: &[u8], slot: usize, out: &mut Group) {
        unpack_large::<T, Soft>(row, slot, out);
    }

    pub(super) use large_avx2 as large_avx512;
}

const fn small_row<T: Small>() -> Format {
    Format {
        ty: T::TYPE,
        form: Form::Small,
        per_scale: T::PER_SCALE,
        offset: T::OFFSET,
        max_code: T::MAX_CODE,
        mins: T::MINS,
        direct: Direct { small_avx512: None, large_avx512: None },
        unpack: unpack_small::<T, Soft>,
        unpack_avx2: tiers::small_avx2::<T>,
        unpack_avx512: tiers::small_avx512::<T>,
    }
}

const fn large_row<T: Large>() -> Format {
    Format {
        ty: T::TYPE,
        form: Form::Large,
        per_scale: T::PER_SCALE,
        offset: T::OFFSET,
        max_code: T::MAX_CODE,
        mins: T::MINS,
        direct: Direct { small_avx512: None, large_avx512: None },
        unpack: unpack_large::<T, Soft>,
        unpack_avx2: tiers::large_avx2::<T>,
        unpack_avx512: tiers::large_avx512::<T>,
    }
}

/// A row with a product of its own, on machines that have one.
#[cfg(target_arch = "x86_64")]
macro_rules! with_direct {
    ($row:expr, $form:ident, $product:path) => {
        $row.$form($product)
    };
}

#[cfg(not(target_arch = "x86_64"))]
macro_rules! with_direct {
    ($row:expr, $form:ident, $product:path) => {
        $row
    };
}

static TABLE: [Format; 25] = [
    with_direct!(small_row::<small::Q4_0>(), small, direct::q4_0_row),
    with_direct!(small_row::<small::Q4_1>(), small, direct::q4_1_row),
    with_direct!(small_row::<small::Q5_0>(), small, direct::q5_0_row),
    with_direct!(small_row::<small::Q5_1>(), small, direct::q5_1_row),
    with_direct!(small_row::<small::Q8_0>(), small, direct::q8_0_row),
    with_direct!(small_row::<small::Iq4Nl>(), small, direct::iq4_nl_row),
    with_direct!(small_row::<small::Mxfp4>(), small, direct::mxfp4_row),
    small_row::<small::Nvfp4>(),
    small_row::<small::Q1_0>(),
    small_row::<small::Q2_0>(),
    with_direct!(large_row::<kquant::Q2K>(), large, direct_large::q2_k_row),
    with_direct!(large_row::<kquant::Q3K>(), large, direct_large::q3_k_row),
    with_direct!(large_row::<kquant::Q4K>(), large, direct_large::q4_k_row),
    with_direct!(large_row::<kquant::Q5K>(), large, direct_large::q5_k_row),
    with_direct!(large_row::<kquant::Q6K>(), large, direct_large::q6_k_row),
    with_direct!(large_row::<kquant::Iq4Xs>(), large, direct_large::iq4_xs_row),
    large_row::<ternary::Tq1_0>(),
    large_row::<ternary::Tq2_0>(),
    large_row::<iq::Iq1S>(),
    large_row::<iq::Iq1M>(),
    large_row::<iq::Iq2Xxs>(),
    large_row::<iq::Iq2Xs>(),
    large_row::<iq::Iq2S>(),
    large_row::<iq::Iq3Xxs>(),
    large_row::<iq::Iq3S>(),
];

impl Format {
    #[cfg(target_arch = "x86_64")]
    const fn small(mut self, avx512: DirectSmall) -> Self {
        self.direct.small_avx512 = Some(avx512);
        self
    }

    #[cfg(target_arch = "x86_64")]
    const fn large(mut self, avx512: DirectLarge) -> Self {
        self.direct.large_avx512 = Some(avx512);
        self
    }

    /// The row of a type, if its products take quantized activations.
    pub(super) fn of(ty: TensorType) -> Option<&'static Self> {
        TABLE.iter().find(|format| format.ty == ty)
    }

    /// Opens one stored row into a slot of `out`, which was prepared for it.
    pub(super) fn unpack(&self, tier: Tier, row: &[u8], slot: usize, out: &mut Group) {
        match tier.kind() {
            Kind::Portable => (self.unpack)(row, slot, out),
            // SAFETY: the tier proves that the machine has the instructions.
            Kind::Avx2 => unsafe { (self.unpack_avx2)(row, slot, out) },
            // SAFETY: as above.
            Kind::Avx512 => unsafe { (self.unpack_avx512)(row, slot, out) },
        }
    }
}
