//! The tensor types of GGUF: their numbers, names and block shapes.
//!
//! Source: `enum ggml_type` and the block structs of llama.cpp (ggml 0.25).

use std::fmt;

/// How the values of a tensor are stored. The discriminants are GGUF's type numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types, reason = "these are the format's own names")]
#[allow(missing_docs, reason = "each is described by the table below")]
#[repr(u32)]
#[non_exhaustive]
pub enum TensorType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    Q8_K = 15,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

use TensorType as T;

/// Type, name, values in a block, bytes in a block.
const TABLE: [(TensorType, &str, usize, usize); 35] = [
    (T::F32, "F32", 1, 4),
    (T::F16, "F16", 1, 2),
    (T::Q4_0, "Q4_0", 32, 18),
    (T::Q4_1, "Q4_1", 32, 20),
    (T::Q5_0, "Q5_0", 32, 22),
    (T::Q5_1, "Q5_1", 32, 24),
    (T::Q8_0, "Q8_0", 32, 34),
    (T::Q8_1, "Q8_1", 32, 36),
    (T::Q2_K, "Q2_K", 256, 84),
    (T::Q3_K, "Q3_K", 256, 110),
    (T::Q4_K, "Q4_K", 256, 144),
    (T::Q5_K, "Q5_K", 256, 176),
    (T::Q6_K, "Q6_K", 256, 210),
    (T::Q8_K, "Q8_K", 256, 292),
    (T::IQ2_XXS, "IQ2_XXS", 256, 66),
    (T::IQ2_XS, "IQ2_XS", 256, 74),
    (T::IQ3_XXS, "IQ3_XXS", 256, 98),
    (T::IQ1_S, "IQ1_S", 256, 50),
    (T::IQ4_NL, "IQ4_NL", 32, 18),
    (T::IQ3_S, "IQ3_S", 256, 110),
    (T::IQ2_S, "IQ2_S", 256, 82),
    (T::IQ4_XS, "IQ4_XS", 256, 136),
    (T::I8, "I8", 1, 1),
    (T::I16, "I16", 1, 2),
    (T::I32, "I32", 1, 4),
    (T::I64, "I64", 1, 8),
    (T::F64, "F64", 1, 8),
    (T::IQ1_M, "IQ1_M", 256, 56),
    (T::BF16, "BF16", 1, 2),
    (T::TQ1_0, "TQ1_0", 256, 54),
    (T::TQ2_0, "TQ2_0", 256, 66),
    (T::MXFP4, "MXFP4", 32, 17),
    (T::NVFP4, "NVFP4", 64, 36),
    (T::Q1_0, "Q1_0", 128, 18),
    (T::Q2_0, "Q2_0", 64, 18),
];

impl TensorType {
    /// Every type, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The type of that GGUF number, if it is one.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::all().find(|ty| ty.id() == id)
    }

    /// The type of that name, upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// GGUF's number for it.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Its name, as GGUF tools print it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Values in a block: 1 for the plain types.
    pub fn block_len(self) -> usize {
        self.row().2
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    /// Whether blocks hold several values that share scales.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Bits a value takes, scales included.
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_len() as f64
    }

    /// Bytes of a row of `cols` values; `None` where it does not divide into blocks or overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    fn row(self) -> &'static (TensorType, &'static str, usize, usize) {
        // The table is sorted by number and complete, which `table_is_complete` checks.
        match TABLE.binary_search_by_key(&(self as u32), |row| row.0 as u32) {
            Ok(index) | Err(index) => &TABLE[index],
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_complete() {
        assert!(TABLE.is_sorted_by_key(|row| row.0 as u32));
        for row in TABLE {
            assert_eq!(TensorType::from_id(row.0.id()), Some(row.0));
            assert_eq!(TensorType::from_name(row.0.name()), Some(row.0));
            assert_eq!(row.0.name(), row.1);
        }
        assert_eq!(TensorType::from_id(4), None);
        assert_eq!(TensorType::Q4_K.row_bytes(512), Some(288));
        assert_eq!(TensorType::Q4_K.row_bytes(500), None);
    }
}
