//! SmolLM 3: as Llama, but every fourth layer (unless the file says otherwise) does not rotate.

use mdl_kernels::ops::RopePairs;

use super::Family;

pub(super) const FAMILY: Family = Family {
    architecture: "smollm3",
    pairs: RopePairs::Interleaved,
    unrotated_interval: 4,
    ..Family::PLAIN
};
