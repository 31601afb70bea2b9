//! A family's tensors: names on both sides, shapes and what lies between the layouts.

/// How a tensor's values in a Hugging Face folder become those in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// They are the same.
    None,
    /// Rows of each head in another order: Hugging Face rotates value i with value i + half,
    /// GGUF's llama layout value 2i with value 2i + 1.
    Heads {
        /// How many heads the rows are of.
        count: usize,
    },
    /// One is added: the folder has the weight's distance from 1.
    PlusOne,
}

impl Transform {
    /// The folder's row that GGUF row `row` of `rows` comes from.
    pub fn source_row(self, row: usize, rows: usize) -> usize {
        match self {
            Self::Heads { count } => {
                let head = rows / count.max(1);
                let within = row % head.max(1);
                row - within + within % 2 * (head / 2) + within / 2
            }
            Self::None | Self::PlusOne => row,
        }
    }

    /// The GGUF row that the folder's row `row` of `rows` comes from: the inverse.
    pub fn target_row(self, row: usize, rows: usize) -> usize {
        match self {
            Self::Heads { count } => {
                let head = rows / count.max(1);
                let within = row % head.max(1);
                let half = (head / 2).max(1);
                row - within + within % half * 2 + within / half
            }
            Self::None | Self::PlusOne => row,
        }
    }
}

/// Whether a model must have a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// Some have it.
    Optional,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name in GGUF.
    pub gguf: String,
    /// Name in a Hugging Face folder.
    pub hf: String,
    /// GGUF dimensions, the row length first; a folder's stand the other way round.
    pub shape: Vec<usize>,
    /// What lies between.
    pub transform: Transform,
    /// Whether it must be there.
    pub need: Need,
}

impl Spec {
    /// A required tensor that is the same on both sides.
    pub fn new(gguf: impl Into<String>, hf: impl Into<String>, shape: &[usize]) -> Self {
        Self {
            gguf: gguf.into(),
            hf: hf.into(),
            shape: shape.to_vec(),
            transform: Transform::None,
            need: Need::Required,
        }
    }

    /// Whether GGUF keeps it in F32 whatever the folder has: vectors and norms.
    pub fn is_f32(&self) -> bool {
        self.shape.len() <= 1 || self.gguf.ends_with("_norm.weight")
    }
}

/// Lists one layer's tensors.
pub struct Layer<'a> {
    index: usize,
    all: &'a mut Vec<Spec>,
}

impl<'a> Layer<'a> {
    pub(super) fn new(index: usize, all: &'a mut Vec<Spec>) -> Self {
        Self { index, all }
    }

    /// A tensor under its names within the layer. Gives it for changes.
    pub fn tensor(&mut self, gguf: &str, hf: &str, shape: &[usize]) -> &mut Spec {
        let gguf = format!("blk.{}.{gguf}", self.index);
        let hf = format!("model.layers.{}.{hf}", self.index);
        let at = self.all.len();
        self.all.push(Spec::new(gguf, hf, shape));
        &mut self.all[at]
    }

    /// A matrix, and its bias where `bias`.
    pub fn linear(&mut self, gguf: &str, hf: &str, shape: [usize; 2], bias: bool, how: Transform) {
        let (weight, hf_weight) = (format!("{gguf}.weight"), format!("{hf}.weight"));
        self.tensor(&weight, &hf_weight, &shape).transform = how;
        if bias {
            let (bias, hf_bias) = (format!("{gguf}.bias"), format!("{hf}.bias"));
            self.tensor(&bias, &hf_bias, &shape[1..]).transform = how;
        }
    }

    /// A vector of norm weights.
    pub fn norm(&mut self, gguf: &str, hf: &str, length: usize) -> &mut Spec {
        self.tensor(&format!("{gguf}.weight"), &format!("{hf}.weight"), &[length])
    }

    /// Query, key, value and output matrices. `permuted`: q and k are in llama's row order.
    pub fn attention(&mut self, dims: &super::Dims, permuted: bool, qkv_bias: bool, o_bias: bool) {
        let order = |count| if permuted { Transform::Heads { count } } else { Transform::None };
        let (width, queries, keys) = (dims.embedding, dims.queries(), dims.keys());
        let (of_queries, of_keys) = (order(dims.heads), order(dims.kv_heads));
        self.linear("attn_q", "self_attn.q_proj", [width, queries], qkv_bias, of_queries);
        self.linear("attn_k", "self_attn.k_proj", [width, keys], qkv_bias, of_keys);
        self.linear("attn_v", "self_attn.v_proj", [width, keys], qkv_bias, Transform::None);
        self.linear("attn_output", "self_attn.o_proj", [queries, width], o_bias, Transform::None);
    }

    /// Gate, up and down matrices.
    pub fn gated(&mut self, dims: &super::Dims, bias: bool) {
        let (width, inner) = (dims.embedding, dims.feed_forward);
        self.linear("ffn_gate", "mlp.gate_proj", [width, inner], bias, Transform::None);
        self.linear("ffn_up", "mlp.up_proj", [width, inner], bias, Transform::None);
        self.linear("ffn_down", "mlp.down_proj", [inner, width], bias, Transform::None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_rows_go_there_and_back() {
        let order = Transform::Heads { count: 2 };
        let there: Vec<_> = (0..8).map(|row| order.source_row(row, 8)).collect();
        assert_eq!(there, [0, 2, 1, 3, 4, 6, 5, 7]);
        let wide = Transform::Heads { count: 3 };
        for row in 0..48 {
            assert_eq!(wide.target_row(wide.source_row(row, 48), 48), row);
        }
    }
}
