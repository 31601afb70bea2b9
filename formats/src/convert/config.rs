//! `config.json` from GGUF keys: the inverse of [`crate::family::Description`].

use mdl_kernels::{TensorType, Tier};
use serde_json::{Map, Value, json};

use crate::{
    Checkpoint, Error, Limits, Result,
    family::{self, Dims, Family, Rope, Scaling},
    gguf::Metadata,
};

/// What GGUF keys and tensors say about a model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) family: &'static dyn Family,
    pub(super) dims: Dims,
    pub(super) rope: Rope,
}

/// All values of a small tensor.
fn values(checkpoint: &Checkpoint, name: &str) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = checkpoint.tensor(name) else { return Ok(None) };
    let mut out = vec![0.0; tensor.elements()];
    checkpoint.decode_rows(tensor, 0..tensor.rows(), Tier::detect(), &mut out)?;
    Ok(Some(out))
}

impl Model {
    pub(super) fn read(checkpoint: &Checkpoint, limits: &Limits) -> Result<Self> {
        let path = checkpoint.path();
        let metadata = &checkpoint.metadata;
        let family = family::of_metadata(metadata)
            .map_err(|problem| Error::unsupported(path, problem, ""))?;
        let mut dims = Dims::from_metadata(metadata, limits)
            .map_err(|(key, problem)| Error::malformed(path, key, problem))?;
        let embedding = checkpoint
            .tensor("token_embd.weight")
            .ok_or_else(|| Error::malformed(path, "tensor token_embd.weight", "is missing"))?;
        dims.vocabulary = embedding.rows();
        let has = |name: &str| checkpoint.tensor(name).is_some();
        dims.tied = !has("output.weight");
        dims.attention_bias = has("blk.0.attn_output.bias") || has("blk.0.attn_q.bias");
        dims.mlp_bias = has("blk.0.ffn_up.bias");
        let rope = rope(checkpoint, &dims)?;
        Ok(Self { family, dims, rope })
    }

    /// The file, for weights of type `ty`.
    pub(super) fn config(&self, metadata: &Metadata, ty: TensorType) -> Value {
        let mut out = Map::new();
        let model_type = self.family.model_types().first().copied().unwrap_or_default();
        out.insert("architectures".into(), json!([self.family.class()]));
        out.insert("model_type".into(), json!(model_type));
        out.extend(self.dims.to_json());
        let dtype = match ty {
            TensorType::F16 => "float16",
            TensorType::BF16 => "bfloat16",
            _ => "float32",
        };
        // transformers 5 reads the first, 4 the second.
        out.insert("dtype".into(), json!(dtype));
        out.insert("torch_dtype".into(), json!(dtype));
        let architecture = self.family.architecture();
        let epsilon = metadata.f32(&format!("{architecture}.attention.layer_norm_rms_epsilon"));
        out.insert("rms_norm_eps".into(), json!(family::shortest(epsilon.unwrap_or(1e-5))));
        for kind in ["bos", "eos", "pad"] {
            out.insert(format!("{kind}_token_id"), Value::Null);
        }
        out.extend(super::special_ids(metadata));
        out.insert("attention_dropout".into(), json!(0.0));
        out.insert("initializer_range".into(), json!(0.02));
        out.insert("use_cache".into(), json!(true));
        self.rope_json(model_type, &mut out);
        self.family.config(metadata, &self.dims, &mut out);
        Value::Object(out)
    }

    /// `rope_theta` and `rope_scaling` for transformers 4, `rope_parameters` for 5.
    fn rope_json(&self, model_type: &str, out: &mut Map<String, Value>) {
        let rope = &self.rope;
        let theta = number(rope.theta);
        let mut new = rope.scaling.to_json();
        let mut old = new.clone();
        new.insert("rope_theta".into(), theta.clone());
        if matches!(rope.scaling, Scaling::LongRope { .. }) {
            // transformers 4 wants these three and nothing else.
            old.retain(|key, _| key.ends_with("_factor") && key != "attention_factor");
            old.insert("type".into(), json!("longrope"));
        }
        if rope.partial < 1.0 {
            new.insert("partial_rotary_factor".into(), json!(rope.partial));
            out.insert("partial_rotary_factor".into(), json!(rope.partial));
        }
        let scaled = rope.scaling != Scaling::None;
        out.insert("rope_theta".into(), theta);
        out.insert("rope_scaling".into(), if scaled { Value::Object(old) } else { Value::Null });
        let new = match rope.local_theta {
            Some(local) if model_type.starts_with("gemma3") => {
                out.insert("rope_local_base_freq".into(), number(local));
                json!({"full_attention": new,
                    "sliding_attention": {"rope_type": "default", "rope_theta": number(local)}})
            }
            _ => Value::Object(new),
        };
        out.insert("rope_parameters".into(), new);
    }
}

/// A number as JSON, as the shortest decimal that names its `f32`.
fn number(value: f64) -> Value {
    json!(family::shortest(value as f32))
}

/// Rotary positions from keys and the tensors of divisors.
fn rope(checkpoint: &Checkpoint, dims: &Dims) -> Result<Rope> {
    let metadata = &checkpoint.metadata;
    let architecture = checkpoint.architecture().unwrap_or_default();
    let f32 = |key: &str| metadata.f32(&format!("{architecture}.rope.{key}")).map(f64::from);
    let theta = f32("freq_base").unwrap_or(10000.0);
    let rotated = metadata.u64(&format!("{architecture}.rope.dimension_count"));
    let rotated = rotated.and_then(|count| usize::try_from(count).ok()).unwrap_or(dims.head);
    if rotated == 0 || rotated > dims.head {
        let key = format!("{architecture}.rope.dimension_count");
        let problem = format!("{rotated} is not between 1 and the head's {}", dims.head);
        return Err(Error::malformed(checkpoint.path(), key, problem));
    }
    let local = f32("freq_base_swa").or((architecture == "gemma3").then_some(10000.0));
    Ok(Rope {
        theta,
        local_theta: local,
        partial: rotated as f64 / dims.head as f64,
        scaling: scaling(checkpoint, dims, theta)?,
    })
}

fn scaling(checkpoint: &Checkpoint, dims: &Dims, theta: f64) -> Result<Scaling> {
    let metadata = &checkpoint.metadata;
    let architecture = checkpoint.architecture().unwrap_or_default();
    let key = |name: &str| format!("{architecture}.rope.scaling.{name}");
    let f32 = |name: &str| metadata.f32(&key(name)).map(family::shortest);
    let original = metadata.u64(&key("original_context_length"));
    let original = original.and_then(|n| usize::try_from(n).ok()).unwrap_or(dims.context);
    let factor = f32("factor").filter(|factor| *factor > 0.0).unwrap_or(1.0);
    let attention = f32("attn_factor").unwrap_or(1.0);
    let refuse = |problem: String| Err(Error::unsupported(checkpoint.path(), problem, ""));
    if let (Some(long), Some(short)) = (
        values(checkpoint, "rope_factors_long.weight")?,
        values(checkpoint, "rope_factors_short.weight")?,
    ) {
        return Ok(Scaling::LongRope { short, long, original, attention });
    }
    if let Some(divisors) = values(checkpoint, "rope_freqs.weight")? {
        return match family::fit_llama3(theta, &divisors) {
            Some(found) => Ok(found),
            None if divisors.iter().all(|divisor| *divisor == 1.0) => Ok(Scaling::None),
            None => {
                refuse("rope_freqs.weight follows no formula that config.json can state".into())
            }
        };
    }
    match metadata.str(&key("type")) {
        None | Some("linear") if factor != 1.0 => Ok(Scaling::Linear { factor }),
        None | Some("linear" | "none" | "longrope") => Ok(Scaling::None),
        Some("yarn") => Ok(Scaling::Yarn {
            factor,
            original,
            attention: family::yarn_attention(factor) * attention,
            beta_fast: f32("yarn_beta_fast").unwrap_or(32.0),
            beta_slow: f32("yarn_beta_slow").unwrap_or(1.0),
            truncate: metadata.bool(&key("yarn_truncate")).unwrap_or(true),
        }),
        Some(other) => refuse(format!("the rope scaling {other:?} is not known")),
    }
}
