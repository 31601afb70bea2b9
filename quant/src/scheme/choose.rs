//! Which type each tensor gets: the mix's rules, then what the tensor's shape can take.

use mdl_formats::{Checkpoint, Tensor};
use mdl_kernels::TensorType;

use super::{Rule, Rules, Scheme};

/// What the rules ask of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `general.architecture`.
    pub architecture: String,
    /// Transformer layers.
    pub layers: usize,
    /// Query heads of the first layer.
    pub heads: usize,
    /// Key and value heads of the first layer.
    pub kv_heads: usize,
    /// Experts; 0 in a dense model.
    pub experts: usize,
    /// No tensor of its own for the output.
    pub tied: bool,
    /// Tensors that count as values.
    pub values: usize,
    /// An importance matrix is at hand.
    pub imatrix: bool,
}

impl Facts {
    /// Reads them off a checkpoint.
    pub fn of(checkpoint: &Checkpoint, imatrix: bool) -> Self {
        let architecture = checkpoint.architecture().unwrap_or_default().to_owned();
        let number = |key: &str| {
            let key = format!("{architecture}.{key}");
            let first = || checkpoint.metadata.first_u64(&key);
            first().and_then(|number| usize::try_from(number).ok())
        };
        let heads = number("attention.head_count").unwrap_or(0);
        Self {
            layers: number("block_count").unwrap_or(0),
            heads,
            kv_heads: number("attention.head_count_kv").unwrap_or(heads),
            experts: number("expert_count").unwrap_or(0),
            tied: checkpoint.tensor("output.weight").is_none(),
            values: checkpoint
                .tensors
                .iter()
                .filter(|tensor| kind(&tensor.name).is_value())
                .count(),
            imatrix,
            architecture,
        }
    }

    /// At least four query heads share a key head.
    fn grouped(&self) -> bool {
        self.kv_heads > 0 && self.heads / self.kv_heads >= 4
    }

    /// What llama.cpp calls type 70B: 80 layers in the llama architecture with grouped heads, or in qwen2.
    fn is_70b(&self) -> bool {
        self.layers == 80
            && match self.architecture.as_str() {
                "llama" => self.heads != self.kv_heads,
                "qwen2" | "olmo" | "deci" => true,
                _ => false,
            }
    }
}

/// The role of a tensor, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Output,
    TokenEmbd,
    Qkv,
    KvB,
    Value,
    Key,
    AttnOutput,
    FfnDown,
    Other,
}

impl Kind {
    fn is_value(self) -> bool {
        matches!(self, Self::Value | Self::Qkv | Self::KvB)
    }
}

/// Parts of names and the roles that they mean; the first that is found counts.
const KINDS: [(&str, Kind); 6] = [
    ("attn_qkv.weight", Kind::Qkv),
    ("attn_kv_b.weight", Kind::KvB),
    ("attn_v.weight", Kind::Value),
    ("attn_k.weight", Kind::Key),
    ("attn_output.weight", Kind::AttnOutput),
    ("ffn_down", Kind::FfnDown),
];

fn kind(name: &str) -> Kind {
    match name {
        "output.weight" => Kind::Output,
        "token_embd.weight" | "per_layer_token_embd.weight" => Kind::TokenEmbd,
        _ => KINDS
            .iter()
            .find(|(part, _)| name.contains(part))
            .map_or(Kind::Other, |(_, kind)| *kind),
    }
}

/// Parts of the names of matrices that are never quantized: small, or read by code that wants floats.
const NEVER: [&str; 21] = [
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// Whether a scheme touches this tensor at all: a matrix of weights that is not on the list of exceptions.
pub(crate) fn quantizes(tensor: &Tensor) -> bool {
    let matrix = tensor.shape.iter().skip(1).any(|size| *size > 1);
    let exempt = ["position_embd.weight", "token_types.weight"].contains(&tensor.name.as_str());
    matrix
        && tensor.name.ends_with("weight")
        && !exempt
        && !NEVER.iter().any(|part| tensor.name.contains(part))
}

/// A tensor's type under a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The type to write.
    pub ty: TensorType,
    /// The type that the scheme asks for, where the tensor's rows cannot take it.
    pub instead_of: Option<TensorType>,
}

/// Chooses types tensor by tensor. The rules count tensors of a kind, so tensors must come in llama.cpp's order: by layer
/// number, then by name ([`Chooser::sort_key`]).
#[derive(Debug)]
pub struct Chooser {
    scheme: Scheme,
    facts: Facts,
    values: usize,
    downs: usize,
}

impl Chooser {
    /// A chooser at the first tensor.
    pub fn new(scheme: Scheme, facts: Facts) -> Self {
        Self { scheme, facts, values: 0, downs: 0 }
    }

    /// The order in which tensors must be asked for.
    pub fn sort_key(name: &str) -> (i64, &str) {
        (layer(name).map_or(-1, |layer| layer as i64), name)
    }

    /// The type of the next tensor. An override takes the place of the rules.
    pub fn next(&mut self, tensor: &Tensor, by_hand: Option<TensorType>) -> Choice {
        if !quantizes(tensor) {
            return Choice { ty: tensor.ty, instead_of: None };
        }
        let wanted = match by_hand {
            Some(ty) => ty,
            None if self.scheme.base().is_quantized() => self.by_rules(tensor),
            None => self.scheme.base(),
        };
        fitting(tensor.cols(), wanted)
    }

    fn by_rules(&mut self, tensor: &Tensor) -> TensorType {
        let (base, rules) = (self.scheme.base(), self.scheme.rules());
        let kind = kind(&tensor.name);
        if kind == Kind::Output || (self.facts.tied && kind == Kind::TokenEmbd) {
            return output(base, rules, tensor.cols());
        }
        if let Some(ty) = rules.experts {
            let stacked = tensor.shape.get(2).is_some_and(|experts| *experts > 1);
            return if stacked { ty } else { TensorType::Q8_0 };
        }
        match kind {
            Kind::TokenEmbd => self.apply(rules.token_embd, 0, 1),
            Kind::Value | Kind::Qkv | Kind::KvB => self.value(rules),
            Kind::FfnDown => self.down(rules, &tensor.name),
            Kind::Key if self.facts.experts == 8 => TensorType::Q8_0,
            Kind::AttnOutput if self.facts.experts == 8 => {
                self.apply(rules.attn_output_mixtral, 0, 1)
            }
            Kind::AttnOutput => self.apply(rules.attn_output, 0, 1),
            _ => base,
        }
    }

    fn value(&mut self, rules: Rules) -> TensorType {
        let index = self.values;
        self.values += 1;
        if self.facts.experts == 8 {
            return TensorType::Q8_0;
        }
        let ty = self.apply(rules.attn_v, index, self.facts.values);
        let small = matches!(ty, TensorType::Q3_K | TensorType::Q4_K);
        if self.facts.is_70b() && small { TensorType::Q5_K } else { ty }
    }

    fn down(&mut self, rules: Rules, name: &str) -> TensorType {
        let counted = self.downs;
        self.downs += 1;
        // Experts do not come one after another, so with them the name tells the layer.
        let index = if self.facts.experts > 1 { layer(name).unwrap_or(counted) } else { counted };
        self.apply(rules.ffn_down, index, self.facts.layers)
    }

    fn apply(&self, rule: Rule, i: usize, n: usize) -> TensorType {
        let base = self.scheme.base();
        match rule {
            Rule::Base => base,
            Rule::Is(ty) => ty,
            Rule::MoreBits(ty) if more_bits(i, n) => ty,
            Rule::First(count, ty, rest) => {
                if i < count {
                    ty
                } else {
                    rest
                }
            }
            Rule::FirstShare(share, ty, rest) => {
                if i < n / share {
                    ty
                } else {
                    rest
                }
            }
            Rule::Grouped(ty, rest) => {
                if self.facts.grouped() {
                    ty
                } else {
                    rest
                }
            }
            Rule::FirstEighthUnweighted(ty) if i < n / 8 && !self.facts.imatrix => ty,
            Rule::FirstEighthWeighted(ty) if i < n / 8 && self.facts.imatrix => ty,
            Rule::MoreBits(_) | Rule::FirstEighthUnweighted(_) | Rule::FirstEighthWeighted(_) => {
                base
            }
        }
    }
}

/// The output matrix, and embeddings that serve as it.
fn output(base: TensorType, rules: Rules, cols: usize) -> TensorType {
    let small = base == TensorType::Q8_0
        || rules.experts.is_some()
        || !cols.is_multiple_of(base.block_len());
    if small { TensorType::Q8_0 } else { TensorType::Q6_K }
}

fn more_bits(i: usize, n: usize) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

fn layer(name: &str) -> Option<usize> {
    let (number, _) = name.strip_prefix("blk.")?.split_once('.')?;
    number.parse().ok()
}

/// Types that take blocks of 32 in the place of types that take more.
const FALLBACKS: [(TensorType, TensorType); 8] = [
    (TensorType::IQ4_XS, TensorType::IQ4_NL),
    (TensorType::Q2_K, TensorType::Q4_0),
    (TensorType::Q3_K, TensorType::Q4_0),
    (TensorType::TQ1_0, TensorType::Q4_0),
    (TensorType::TQ2_0, TensorType::Q4_0),
    (TensorType::Q4_K, TensorType::Q5_0),
    (TensorType::Q5_K, TensorType::Q5_1),
    (TensorType::Q6_K, TensorType::Q8_0),
];

/// The wanted type where rows of `cols` values are whole blocks of it, else the one that stands in.
pub(crate) fn fitting(cols: usize, wanted: TensorType) -> Choice {
    let fits = |ty: TensorType| cols.is_multiple_of(ty.block_len());
    if fits(wanted) {
        return Choice { ty: wanted, instead_of: None };
    }
    let smaller = FALLBACKS.iter().find(|(large, _)| *large == wanted).map(|(_, small)| *small);
    let ty = smaller.filter(|ty| fits(*ty)).unwrap_or(TensorType::F16);
    Choice { ty, instead_of: Some(wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_do_not_fit_take_the_smaller_block_and_at_last_f16() {
        use TensorType::{F16, IQ4_NL, IQ4_XS, Q4_0, Q4_K, Q5_0, Q6_K, Q8_0};
        assert_eq!(fitting(512, Q4_K), Choice { ty: Q4_K, instead_of: None });
        assert_eq!(fitting(576, Q4_K), Choice { ty: Q5_0, instead_of: Some(Q4_K) });
        assert_eq!(fitting(576, IQ4_XS).ty, IQ4_NL);
        assert_eq!(fitting(896, Q6_K).ty, Q8_0);
        assert_eq!(fitting(100, Q6_K).ty, F16);
        assert_eq!(fitting(100, Q4_0).ty, F16);
    }

    #[test]
    fn vectors_norms_and_routers_are_left_alone() {
        let tensor = |name: &str, shape: &[usize]| Tensor {
            name: name.into(),
            ty: TensorType::F32,
            shape: shape.to_vec(),
        };
        assert!(quantizes(&tensor("blk.0.ffn_up.weight", &[64, 2])));
        assert!(!quantizes(&tensor("blk.0.ffn_up.weight", &[64, 1])));
        assert!(!quantizes(&tensor("blk.0.attn_q.bias", &[64, 2])));
        assert!(!quantizes(&tensor("blk.0.ffn_gate_inp.weight", &[64, 8])));
        assert!(!quantizes(&tensor("blk.0.attn_q_norm.weight", &[64, 8])));
    }
}
