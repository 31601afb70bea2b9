//! Matches a folder's tensors with what the family lists: each under its GGUF name, with where its
//! values come from.

use std::{collections::BTreeMap, path::Path};

use mdl_kernels::TensorType;

use crate::{
    Error, Result, Tensor,
    family::{Description, Need, Part, Spec, Transform},
};

/// A tensor as the folder has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    /// Its name there.
    pub(crate) name: &'a str,
    /// Its type.
    pub(crate) ty: TensorType,
    /// Its dimensions in GGUF order, the row length first.
    pub(crate) shape: &'a [usize],
}

/// Where a tensor's values come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// The folder's tensor of that index, transformed.
    Raw {
        /// Index among the folder's tensors.
        index: usize,
        /// What is done to it.
        transform: Transform,
    },
    /// Computed from the configuration.
    Values(Vec<f32>),
}

/// All tensors of the checkpoint with their origins; what the folder has besides is an error, or a
/// note where it is another part of the model.
pub(crate) fn plan(
    description: &Description,
    path: &Path,
    raws: &[Raw<'_>],
    notes: &mut Vec<String>,
) -> Result<Vec<(Tensor, Origin)>> {
    let mut found = index(description, path, raws, notes)?;
    let specs = description.family.tensors(&description.dims);
    let mut all = Vec::with_capacity(specs.len() + 2);
    let mut used = Vec::with_capacity(specs.len());
    let mut missing = Vec::new();
    for spec in &specs {
        match found.get(&spec.hf) {
            Some(&index) => {
                used.push(&spec.hf);
                all.push(tensor(path, spec, raws[index], index)?);
            }
            None if spec.need == Need::Required => missing.push(spec.hf.as_str()),
            None => {}
        }
    }
    if !missing.is_empty() {
        let problem = format!("{} missing: {}", count(missing.len()), some(&missing));
        return Err(Error::malformed(path, "tensors", problem));
    }
    for name in used {
        found.remove(name);
    }
    if description.dims.tied && found.remove("lm_head.weight").is_some() {
        notes.push(
            "lm_head.weight is left out: config.json ties the output to the embedding.".into(),
        );
    }
    if !found.is_empty() {
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let problem = format!(
            "{} that {:?} does not have: {}",
            count(names.len()),
            description.family,
            some(&names)
        );
        return Err(Error::malformed(path, "tensors", problem));
    }
    insert_divisors(description, &mut all);
    Ok(all)
}

/// Names of the text model's tensors with their indices; the others are left out.
fn index(
    description: &Description,
    path: &Path,
    raws: &[Raw<'_>],
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    let mut others = 0usize;
    for (index, raw) in raws.iter().enumerate() {
        match description.family.part(raw.name) {
            Part::Other => others += usize::from(!raw.name.ends_with(".inv_freq")),
            Part::Text(name) => {
                if found.insert(name.into_owned(), index).is_some() {
                    let problem = "stands twice, under two prefixes";
                    return Err(Error::malformed(path, format!("tensor {}", raw.name), problem));
                }
            }
        }
    }
    if others > 0 {
        notes.push(format!(
            "{others} tensors of other parts (vision) are left out; this is the text model alone."
        ));
    }
    Ok(found)
}

fn tensor(path: &Path, spec: &Spec, raw: Raw<'_>, index: usize) -> Result<(Tensor, Origin)> {
    let place = || format!("tensor {}", raw.name);
    if raw.shape != spec.shape {
        let listed = |shape: &[usize]| {
            let sizes: Vec<_> = shape.iter().rev().map(ToString::to_string).collect();
            format!("[{}]", sizes.join(", "))
        };
        let problem = format!(
            "has shape {}, but config.json asks for {}",
            listed(raw.shape),
            listed(&spec.shape)
        );
        return Err(Error::malformed(path, place(), problem));
    }
    if !matches!(raw.ty, TensorType::F32 | TensorType::F16 | TensorType::BF16) {
        let problem = format!("{} is of type {:?}", place(), raw.ty);
        return Err(Error::unsupported(path, problem, "weights may be F32, F16 or BF16"));
    }
    let ty = if spec.is_f32() { TensorType::F32 } else { raw.ty };
    let tensor = Tensor { name: spec.gguf.clone(), ty, shape: spec.shape.clone() };
    Ok((tensor, Origin::Raw { index, transform: spec.transform }))
}

/// Puts the frequencies' divisors behind the embedding.
fn insert_divisors(description: &Description, all: &mut Vec<(Tensor, Origin)>) {
    let rope = &description.rope;
    let rotated = rope.dimensions(description.dims.head);
    let divisors = rope.scaling.tensors(rope.theta, rotated).into_iter().map(|(name, values)| {
        let shape = vec![values.len()];
        (Tensor { name: name.into(), ty: TensorType::F32, shape }, Origin::Values(values))
    });
    let at = all.len().min(1);
    all.splice(at..at, divisors);
}

fn count(number: usize) -> String {
    if number == 1 { "1 tensor".into() } else { format!("{number} tensors") }
}

/// The first few names.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Config, Limits};

    fn describe(more: &Value) -> Description {
        let mut value = json!({"model_type": "llama", "vocab_size": 320, "hidden_size": 64,
            "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5});
        value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let config = Config::new(Path::new("c"), value.as_object().cloned().unwrap()).unwrap();
        Description::read(config, &Limits::default()).unwrap()
    }

    fn run(
        description: &Description,
        change: impl Fn(&mut Vec<(String, Vec<usize>)>),
    ) -> Result<Vec<(Tensor, Origin)>> {
        let specs = description.family.tensors(&description.dims);
        let mut list: Vec<_> = specs.into_iter().map(|spec| (spec.hf, spec.shape)).collect();
        change(&mut list);
        let raws: Vec<_> =
            list.iter().map(|(name, shape)| Raw { name, ty: TensorType::BF16, shape }).collect();
        plan(description, Path::new("m"), &raws, &mut Vec::new())
    }

    #[test]
    fn norms_become_f32_and_matrices_keep_their_type() {
        let found = run(&describe(&json!({})), |_| {}).unwrap();
        let ty = |name: &str| found.iter().find(|(t, _)| t.name == name).unwrap().0.ty;
        assert_eq!(ty("blk.1.attn_norm.weight"), TensorType::F32);
        assert_eq!(ty("blk.1.attn_q.weight"), TensorType::BF16);
        let q = found.iter().find(|(t, _)| t.name == "blk.0.attn_k.weight").unwrap();
        assert!(matches!(q.1, Origin::Raw { transform: Transform::Heads { count: 2 }, .. }));
    }

    #[test]
    fn wrong_missing_and_unexpected_tensors_are_named() {
        let description = describe(&json!({}));
        let error = |change: fn(&mut Vec<(String, Vec<usize>)>)| {
            run(&description, change).unwrap_err().to_string()
        };
        let missing = error(|list| drop(list.remove(1)));
        assert!(missing.contains("model.layers.0.input_layernorm.weight"), "{missing}");
        let wrong = error(|list| list[0].1 = vec![64, 319]);
        assert!(wrong.contains("embed_tokens") && wrong.contains("[320, 64]"), "{wrong}");
        let more = error(|list| list.push(("model.extra".into(), vec![1])));
        assert!(more.contains("model.extra"), "{more}");
    }

    #[test]
    fn llama3_scaling_adds_its_divisors() {
        let rope = json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}, "tie_word_embeddings": true});
        let found = run(&describe(&rope), |_| {}).unwrap();
        assert_eq!(found[1].0.name, "rope_freqs.weight");
        assert_eq!(found[1].0.shape, [8]);
        assert!(!found.iter().any(|(tensor, _)| tensor.name == "output.weight"));
    }
}
