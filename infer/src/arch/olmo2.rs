//! OLMo 2: norms after attention and feed-forward network only; queries and keys normalized as rows.
//! OLMo 3 files carry the same architecture name with a window in three of four layers, which rotate
//! with the same base, unscaled.

use super::{Family, LocalRope, Norms, QkNorm};

pub(super) const FAMILY: Family = Family {
    architecture: "olmo2",
    norms: Norms::Post,
    qk_norm: QkNorm::Row,
    window_interval: 4,
    local_rope: LocalRope::Unscaled(None),
    ..Family::PLAIN
};
