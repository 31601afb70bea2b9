//! Schemes, recipes, importance matrices, the quantizing pipeline and evaluation.
#![forbid(unsafe_code)]
