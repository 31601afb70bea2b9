//! Phi 3, 3.5 and 4: fused query-key-value and gate-up matrices, which are told by their tensor names;
//! long rope factors beyond the original context.

use super::Family;

pub(super) const FAMILY: Family = Family { architecture: "phi3", ..Family::PLAIN };
