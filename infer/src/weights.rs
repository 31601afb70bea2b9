//! A model's weights: found by name, checked for shape, kept as they are stored.

use std::{cell::RefCell, collections::BTreeSet, ops::Range};

use mdl_formats::{Checkpoint, Error, Tensor, TensorBytes};
use mdl_kernels::{Compute, KernelError, TensorType, codec, matrix};

use crate::{Error as InferError, Result, arch::QkNorm, config::Config, keys::source_path};

/// Weights of a linear layer, or of a part of its outputs: bytes as stored, usually mapped.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    name: String,
    ty: TensorType,
    rows: usize,
    cols: usize,
    /// Where this part's rows lie in `stored`.
    range: Range<usize>,
    stored: TensorBytes,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Output features.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> &[u8] {
        self.stored.get(self.range.clone()).unwrap_or_default()
    }

    fn refused(&self, source: KernelError) -> InferError {
        InferError::Kernel { tensor: self.name.clone(), source }
    }

    /// The product with what `x` holds, bias added: `out` holds a row of [`Self::rows`] values for
    /// each token.
    pub(crate) fn apply(
        &self,
        compute: &Compute,
        x: &mut matrix::Activations,
        out: &mut [f32],
    ) -> Result<()> {
        matrix::Matrix::new(self.ty, self.rows, self.cols, self.bytes())
            .and_then(|weights| matrix::matmul(compute, &weights, x, out))
            .map_err(|source| self.refused(source))?;
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(bias.len()) {
                mdl_kernels::ops::add(row, bias);
            }
        }
        Ok(())
    }

    /// Decodes row `row` of the weights; [`Self::cols`] values.
    pub(crate) fn decode_row(&self, compute: &Compute, row: usize, out: &mut [f32]) -> Result<()> {
        let length = self.range.len() / self.rows;
        let bytes = self.bytes().get(row * length..(row + 1) * length).unwrap_or_default();
        codec::decode(compute.tier(), self.ty, bytes, out).map_err(|source| self.refused(source))
    }

    /// Rows `rows` of this as a layer of their own (without bias).
    fn part(&self, rows: Range<usize>) -> Self {
        let length = self.range.len() / self.rows;
        let start = self.range.start + rows.start * length;
        Self {
            name: self.name.clone(),
            ty: self.ty,
            rows: rows.len(),
            cols: self.cols,
            range: start..start + rows.len() * length,
            stored: self.stored.clone(),
            bias: self.bias.as_ref().and_then(|bias| bias.get(rows)).map(<[f32]>::to_vec),
        }
    }
}

/// One layer's weights.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Option<Vec<f32>>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) attention_out: Linear,
    pub(crate) attention_post_norm: Option<Vec<f32>>,
    pub(crate) ffn_norm: Option<Vec<f32>>,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) ffn_post_norm: Option<Vec<f32>>,
}

/// All weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embedding: Linear,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    pub(crate) output: Linear,
    /// Rope factors: `rope_freqs`, or those within the original context.
    pub(crate) rope_short: Option<Vec<f32>>,
    /// Those beyond it.
    pub(crate) rope_long: Option<Vec<f32>>,
}

impl Weights {
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        config: &Config,
        compute: &Compute,
    ) -> Result<Self> {
        let loader = Loader { checkpoint, compute, used: RefCell::default() };
        let width = config.width;
        let embedding = loader.matrix("token_embd", None, width)?;
        let vocab = embedding.rows();
        let output = match loader.find("output.weight") {
            Some(_) => loader.linear("output", vocab, width)?,
            None => embedding.clone(),
        };
        let pairs = config.rope.rotary / 2;
        let rope_short = match loader.factors("rope_freqs.weight", pairs)? {
            Some(factors) => Some(factors),
            None => loader.factors("rope_factors_short.weight", pairs)?,
        };
        let layers = (0..config.layers.len())
            .map(|index| Layer::load(&loader, config, index))
            .collect::<Result<_>>()?;
        let weights = Self {
            output_norm: loader.vector("output_norm.weight", width)?,
            rope_long: loader.factors("rope_factors_long.weight", pairs)?,
            embedding,
            layers,
            output,
            rope_short,
        };
        loader.refuse_unused()?;
        Ok(weights)
    }
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &Config, index: usize) -> Result<Self> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let norm = |wanted: bool, part: &str, len: usize| {
            wanted.then(|| loader.vector(&format!("blk.{index}.{part}.weight"), len)).transpose()
        };
        let (family, width) = (config.family, config.width);
        let (before, after) = (family.norms.before(), family.norms.after());
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        let values = config.kv_heads * config.value_dim;
        let [query, key, value] = loader.parts(
            &name("attn_qkv"),
            [&name("attn_q"), &name("attn_k"), &name("attn_v")],
            [queries, keys, values],
            width,
        )?;
        let [gate, up] = if loader.find(&format!("blk.{index}.ffn_gate.weight")).is_some() {
            let sizes = [config.ffn_width; 2];
            loader.parts("", [&name("ffn_gate"), &name("ffn_up")], sizes, width)?
        } else {
            loader.split(&name("ffn_up"), [config.ffn_width; 2], width)?
        };
        let (query_norm, key_norm) = match family.qk_norm {
            QkNorm::None => (0, 0),
            QkNorm::Head => (config.head_dim, config.head_dim),
            QkNorm::Row => (queries, keys),
        };
        let attended = config.heads * config.value_dim;
        Ok(Self {
            attention_norm: norm(before, "attn_norm", width)?,
            query,
            key,
            value,
            query_norm: norm(query_norm > 0, "attn_q_norm", query_norm)?,
            key_norm: norm(key_norm > 0, "attn_k_norm", key_norm)?,
            attention_out: loader.linear(&name("attn_output"), width, attended)?,
            attention_post_norm: norm(after, "post_attention_norm", width)?,
            ffn_norm: norm(before, "ffn_norm", width)?,
            gate,
            up,
            down: loader.linear(&name("ffn_down"), width, config.ffn_width)?,
            ffn_post_norm: norm(after, "post_ffw_norm", width)?,
        })
    }
}

/// Finds and checks tensors.
struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    compute: &'a Compute,
    /// Names that were asked for.
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Loader<'a> {
    fn find(&self, name: &str) -> Option<&'a Tensor> {
        let tensor = self.checkpoint.tensor(name)?;
        self.used.borrow_mut().insert(&tensor.name);
        Some(tensor)
    }

    /// Refuses a model that has weights which this forward pass would ignore.
    fn refuse_unused(&self) -> Result<()> {
        let used = self.used.borrow();
        let mut unused =
            self.checkpoint.tensors.iter().filter(|tensor| !used.contains(tensor.name.as_str()));
        let Some(first) = unused.next() else { return Ok(()) };
        let problem = format!(
            "tensor {} and {} others have no place in this architecture as this program runs it",
            first.name,
            unused.count()
        );
        Err(Error::unsupported(source_path(self.checkpoint), problem, "").into())
    }

    fn require(&self, name: &str) -> Result<&'a Tensor> {
        self.find(name).ok_or_else(|| self.malformed(name, "missing"))
    }

    fn malformed(&self, name: &str, problem: impl Into<String>) -> InferError {
        let place = format!("tensor {name}");
        Error::malformed(source_path(self.checkpoint), place, problem).into()
    }

    /// A matrix of `cols` columns and, where given, `rows` rows.
    fn matrix(&self, name: &str, rows: Option<usize>, cols: usize) -> Result<Linear> {
        let weight = format!("{name}.weight");
        let tensor = self.require(&weight)?;
        let [found_cols, found_rows] = tensor.shape[..] else {
            let problem = format!("has shape {:?} where two dimensions belong", tensor.shape);
            return Err(self.malformed(&weight, problem));
        };
        if found_cols != cols || found_rows == 0 || rows.is_some_and(|rows| rows != found_rows) {
            let rows = rows.map_or("any".to_owned(), |rows| rows.to_string());
            let problem = format!("has shape {:?} instead of [{cols}, {rows}]", tensor.shape);
            return Err(self.malformed(&weight, problem));
        }
        let stored = self.checkpoint.bytes(tensor)?;
        matrix::Matrix::new(tensor.ty, found_rows, cols, &stored)
            .map_err(|source| InferError::Kernel { tensor: weight.clone(), source })?;
        let bias = match self.find(&format!("{name}.bias")) {
            Some(_) => Some(self.vector(&format!("{name}.bias"), found_rows)?),
            None => None,
        };
        Ok(Linear {
            name: weight,
            ty: tensor.ty,
            rows: found_rows,
            cols,
            range: 0..stored.len(),
            stored,
            bias,
        })
    }

    /// A linear layer of `rows` outputs and `cols` inputs.
    fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        self.matrix(name, Some(rows), cols)
    }

    /// Layers of the given numbers of outputs out of the tensor `fused`, where the file has that, else
    /// each from its own.
    fn parts<const N: usize>(
        &self,
        fused: &str,
        names: [&str; N],
        sizes: [usize; N],
        cols: usize,
    ) -> Result<[Linear; N]> {
        if self.find(&format!("{fused}.weight")).is_some() {
            return self.split(fused, sizes, cols);
        }
        let mut parts = Vec::with_capacity(N);
        for (name, rows) in names.iter().zip(sizes) {
            parts.push(self.linear(name, rows, cols)?);
        }
        parts.try_into().map_err(|_| self.malformed(fused, "has lost a part"))
    }

    /// Layers of the given numbers of outputs, one after the other in the tensor `fused`.
    fn split<const N: usize>(
        &self,
        fused: &str,
        sizes: [usize; N],
        cols: usize,
    ) -> Result<[Linear; N]> {
        let whole = self.linear(fused, sizes.iter().sum(), cols)?;
        let mut start = 0;
        Ok(sizes.map(|rows| {
            start += rows;
            whole.part(start - rows..start)
        }))
    }

    /// A vector of `len` values, decoded.
    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let tensor = self.require(name)?;
        if tensor.cols() != len || tensor.elements() != len {
            let problem = format!("has shape {:?} instead of [{len}]", tensor.shape);
            return Err(self.malformed(name, problem));
        }
        let mut values = vec![0.0; len];
        self.checkpoint.decode_rows(tensor, 0..1, self.compute.tier(), &mut values)?;
        Ok(values)
    }

    /// Rope factors, one a pair, where the file has them.
    fn factors(&self, name: &str, pairs: usize) -> Result<Option<Vec<f32>>> {
        if self.find(name).is_none() {
            return Ok(None);
        }
        let factors = self.vector(name, pairs)?;
        match factors.iter().find(|factor| !factor.is_finite() || **factor <= 0.0) {
            Some(factor) => Err(self.malformed(name, format!("holds {factor} as a divisor"))),
            None => Ok(Some(factors)),
        }
    }
}
