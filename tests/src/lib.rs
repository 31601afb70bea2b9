//! Tests across crates. The tests themselves are in `tests/`; this holds what they share.
