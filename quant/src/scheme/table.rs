//! The mixes, as data.

use mdl_kernels::TensorType::{self, *};

use super::Scheme;

/// `general.file_type` numbers with the names that llama-quantize gives them.
pub(crate) const FILE_TYPES: [(u32, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

/// How a kind of tensor gets its type. `i` is the tensor's place among its kind, `n` the number of layers (for values:
/// of such tensors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The scheme's base type.
    Base,
    /// This type.
    Is(TensorType),
    /// This type where `i < n/8`, `i >= 7n/8` or `(i − n/8) % 3 == 2`, else the base.
    MoreBits(TensorType),
    /// The type for the first `count`, then the other.
    First(usize, TensorType, TensorType),
    /// The type where `i < n / share`, then the other.
    FirstShare(usize, TensorType, TensorType),
    /// The type where at least four query heads share a key head, else the other.
    Grouped(TensorType, TensorType),
    /// The type where `i < n/8`, if there is no importance matrix.
    FirstEighthUnweighted(TensorType),
    /// The type where `i < n/8`, if there is one.
    FirstEighthWeighted(TensorType),
}

/// The rules of one scheme, by kind of tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Values, fused queries-keys-values and what else llama.cpp counts with them.
    pub(crate) attn_v: Rule,
    pub(crate) ffn_down: Rule,
    pub(crate) attn_output: Rule,
    /// Attention output in models of exactly eight experts.
    pub(crate) attn_output_mixtral: Rule,
    /// Embeddings that are not the output too.
    pub(crate) token_embd: Rule,
    /// Stacked experts; everything else is then `Q8_0`.
    pub(crate) experts: Option<TensorType>,
}

const PLAIN: Rules = Rules {
    attn_v: Rule::Base,
    ffn_down: Rule::Base,
    attn_output: Rule::Base,
    attn_output_mixtral: Rule::Base,
    token_embd: Rule::Base,
    experts: None,
};
const MIXTRAL: Rules = Rules { attn_output_mixtral: Rule::Is(Q5_K), ..PLAIN };
const TERNARY: Rules = Rules { token_embd: Rule::Is(Q4_K), ..PLAIN };
const IQ4: Rules = Rules {
    attn_v: Rule::Grouped(Q5_K, IQ4_XS),
    ffn_down: Rule::FirstEighthUnweighted(Q5_K),
    ..MIXTRAL
};

const fn scheme(name: &'static str, file_type: u32, base: TensorType, rules: Rules) -> Scheme {
    Scheme { name, file_type, base, rules }
}

/// Every scheme whose types this program encodes.
pub(crate) const SCHEMES: [Scheme; 25] = [
    scheme("F32", 0, F32, PLAIN),
    scheme("F16", 1, F16, PLAIN),
    scheme("BF16", 32, BF16, PLAIN),
    scheme("Q8_0", 7, Q8_0, PLAIN),
    scheme("Q6_K", 18, Q6_K, PLAIN),
    scheme(
        "Q5_K_M",
        17,
        Q5_K,
        Rules { attn_v: Rule::MoreBits(Q6_K), ffn_down: Rule::MoreBits(Q6_K), ..PLAIN },
    ),
    scheme("Q5_K_S", 16, Q5_K, PLAIN),
    scheme(
        "Q4_K_M",
        15,
        Q4_K,
        Rules { attn_v: Rule::MoreBits(Q6_K), ffn_down: Rule::MoreBits(Q6_K), ..MIXTRAL },
    ),
    scheme(
        "Q4_K_S",
        14,
        Q4_K,
        Rules {
            attn_v: Rule::First(4, Q5_K, Q4_K),
            ffn_down: Rule::FirstShare(8, Q5_K, Q4_K),
            ..MIXTRAL
        },
    ),
    scheme(
        "Q3_K_L",
        13,
        Q3_K,
        Rules {
            attn_v: Rule::Is(Q5_K),
            ffn_down: Rule::Is(Q5_K),
            attn_output: Rule::Is(Q5_K),
            ..PLAIN
        },
    ),
    scheme(
        "Q3_K_M",
        12,
        Q3_K,
        Rules {
            attn_v: Rule::First(2, Q5_K, Q4_K),
            ffn_down: Rule::FirstShare(16, Q5_K, Q4_K),
            attn_output: Rule::Is(Q4_K),
            ..MIXTRAL
        },
    ),
    scheme("Q3_K_S", 11, Q3_K, MIXTRAL),
    scheme(
        "Q2_K",
        10,
        Q2_K,
        Rules {
            attn_v: Rule::Grouped(Q4_K, Q3_K),
            ffn_down: Rule::Is(Q3_K),
            attn_output: Rule::Is(Q3_K),
            ..MIXTRAL
        },
    ),
    scheme(
        "Q2_K_S",
        21,
        Q2_K,
        Rules {
            attn_v: Rule::Grouped(Q4_K, Q2_K),
            ffn_down: Rule::FirstShare(8, Q4_K, Q2_K),
            ..PLAIN
        },
    ),
    scheme("IQ4_XS", 30, IQ4_XS, IQ4),
    scheme("IQ4_NL", 25, IQ4_NL, Rules { attn_v: Rule::Grouped(Q5_K, IQ4_NL), ..IQ4 }),
    scheme("Q5_1", 9, Q5_1, PLAIN),
    scheme("Q5_0", 8, Q5_0, Rules { ffn_down: Rule::FirstEighthWeighted(Q5_1), ..PLAIN }),
    scheme("Q4_1", 3, Q4_1, PLAIN),
    scheme("Q4_0", 2, Q4_0, Rules { ffn_down: Rule::FirstEighthWeighted(Q4_1), ..PLAIN }),
    scheme("TQ1_0", 36, TQ1_0, TERNARY),
    scheme("TQ2_0", 37, TQ2_0, TERNARY),
    scheme("MXFP4_MOE", 38, MXFP4, Rules { experts: Some(MXFP4), ..PLAIN }),
    // llama.cpp offers these too; `Scheme::all` leaves them out while their types have no encoder.
    scheme("Q1_0", 40, Q1_0, PLAIN),
    scheme("Q2_0", 41, Q2_0, TERNARY),
];
