//! Qwen 2 and 2.5: biases on queries, keys and values, which are used wherever a file has them.

use super::Family;

pub(super) const FAMILY: Family = Family { architecture: "qwen2", ..Family::PLAIN };
