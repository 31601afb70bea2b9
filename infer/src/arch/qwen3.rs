//! Qwen 3: queries and keys are normalized head by head.

use super::{Family, QkNorm};

pub(super) const FAMILY: Family =
    Family { architecture: "qwen3", qk_norm: QkNorm::Head, ..Family::PLAIN };
