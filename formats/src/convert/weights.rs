//! Weights of a checkpoint in a folder's layout: decoded, reordered, encoded, slab by slab.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use mdl_kernels::{TensorType, Tier, codec};

use super::{FolderOptions, config::Model};
use crate::{
    Checkpoint, Error, Result, Tensor,
    family::{Need, Spec, Transform},
    safetensors::{self, Layout},
};

/// Values decoded at a time.
const SLAB: usize = 1 << 21;

/// Tensors that stand for keys of `config.json`.
const DIVISORS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// What is written, in order.
#[derive(Debug)]
pub(super) struct Plan {
    ty: TensorType,
    /// Under the folder's names.
    tensors: Vec<Tensor>,
    /// Where each comes from.
    specs: Vec<Spec>,
    files: Vec<Layout>,
}

/// The type that all matrices have, where it is a plain one.
fn own_type(checkpoint: &Checkpoint) -> Option<TensorType> {
    let mut matrices = checkpoint.tensors.iter().filter(|tensor| tensor.shape.len() > 1);
    let first = matrices.next()?.ty;
    let plain = matches!(first, TensorType::F32 | TensorType::F16 | TensorType::BF16);
    (plain && matrices.all(|tensor| tensor.ty == first)).then_some(first)
}

impl Plan {
    pub(super) fn new(
        checkpoint: &Checkpoint,
        model: &Model,
        options: &FolderOptions,
    ) -> Result<Self> {
        let path = checkpoint.path();
        let ty = options.ty.or_else(|| own_type(checkpoint)).unwrap_or(TensorType::F32);
        if !matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16) {
            let problem = format!("a folder's weights cannot be {ty}");
            return Err(Error::unsupported(path, problem, "F32, F16 and BF16 are possible"));
        }
        let mut specs = matched(checkpoint, model)?;
        specs.sort_by(|a, b| a.hf.cmp(&b.hf));
        let mut tensors = Vec::with_capacity(specs.len());
        for spec in &specs {
            let ty = if spec.shape.len() > 1 { ty } else { vector_type(checkpoint, spec, ty)? };
            tensors.push(Tensor { name: spec.hf.clone(), ty, shape: spec.shape.clone() });
        }
        let files = Layout::files(path, &tensors, options.max_shard)?;
        Ok(Self { ty, tensors, specs, files })
    }

    /// Type of the matrices.
    pub(super) fn ty(&self) -> TensorType {
        self.ty
    }

    pub(super) fn write(
        &self,
        checkpoint: &Checkpoint,
        folder: &Path,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        for layout in &self.files {
            let path = folder.join(&layout.name);
            let file = File::create(&path).map_err(Error::io(&path, "create"))?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            out.write_all(&layout.header).map_err(Error::io(&path, "write"))?;
            for index in &layout.tensors {
                if let (Some(tensor), Some(spec)) =
                    (self.tensors.get(*index), self.specs.get(*index))
                {
                    write_tensor(checkpoint, tensor, spec, &path, &mut out, progress)?;
                }
            }
            let file = out.into_inner().map_err(|e| Error::io(&path, "write")(e.into_error()))?;
            file.sync_all().map_err(Error::io(&path, "flush"))?;
        }
        if self.files.len() > 1 {
            let path = folder.join("model.safetensors.index.json");
            let text = safetensors::index(&self.files, &self.tensors);
            std::fs::write(&path, text).map_err(Error::io(&path, "write"))?;
        }
        Ok(())
    }
}

/// The family's tensors that the checkpoint has, each of the right shape; every tensor has its place.
fn matched(checkpoint: &Checkpoint, model: &Model) -> Result<Vec<Spec>> {
    let path = checkpoint.path();
    let mut rest: BTreeMap<&str, &Tensor> =
        checkpoint.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut found = Vec::new();
    for spec in model.family.tensors(&model.dims) {
        let place = || format!("tensor {}", spec.gguf);
        match rest.remove(spec.gguf.as_str()) {
            Some(tensor) if tensor.shape == spec.shape => found.push(spec),
            Some(tensor) => {
                let problem =
                    format!("has shape {:?}, but the keys ask for {:?}", tensor.shape, spec.shape);
                return Err(Error::malformed(path, place(), problem));
            }
            None if spec.need == Need::Required => {
                return Err(Error::malformed(path, place(), "is missing"));
            }
            None => {}
        }
    }
    for name in DIVISORS {
        rest.remove(name);
    }
    match rest.keys().next() {
        Some(name) => Err(Error::malformed(
            path,
            format!("tensor {name}"),
            format!("has no place in a folder of {:?}", model.family),
        )),
        None => Ok(found),
    }
}

/// The matrices' type for a vector that it can hold exactly, else F32.
fn vector_type(checkpoint: &Checkpoint, spec: &Spec, ty: TensorType) -> Result<TensorType> {
    if ty == TensorType::F32 {
        return Ok(ty);
    }
    let Some(tensor) = checkpoint.tensor(&spec.gguf) else { return Ok(ty) };
    let values = rows(checkpoint, tensor, spec.transform, 0..tensor.rows())?;
    let mut bytes = vec![0; ty.row_bytes(values.len()).unwrap_or(0)];
    let mut back = vec![0.0; values.len()];
    let tier = Tier::detect();
    let exact = codec::encode(tier, ty, values.len(), &values, None, &mut bytes).is_ok()
        && codec::decode(tier, ty, &bytes, &mut back).is_ok()
        && back == values;
    Ok(if exact { ty } else { TensorType::F32 })
}

/// The folder's rows `range`, which begin and end with whole heads where heads are reordered.
fn rows(
    checkpoint: &Checkpoint,
    tensor: &Tensor,
    transform: Transform,
    range: std::ops::Range<usize>,
) -> Result<Vec<f32>> {
    let cols = tensor.cols();
    let mut values = vec![0.0; range.len() * cols];
    checkpoint.decode_rows(tensor, range.clone(), Tier::detect(), &mut values)?;
    match transform {
        Transform::None => {}
        Transform::PlusOne => values.iter_mut().for_each(|value| *value -= 1.0),
        Transform::Heads { .. } => {
            // A vector's own values take the part of rows.
            let vector = tensor.shape.len() <= 1;
            let (width, all) = if vector { (1, cols) } else { (cols, tensor.rows()) };
            let (start, count) = if vector { (0, cols) } else { (range.start, range.len()) };
            let mut ordered = Vec::with_capacity(values.len());
            for row in start..start + count {
                let from = transform.target_row(row, all).saturating_sub(start) * width;
                ordered.extend_from_slice(values.get(from..from + width).unwrap_or_default());
            }
            values = ordered;
        }
    }
    Ok(values)
}

fn write_tensor(
    checkpoint: &Checkpoint,
    tensor: &Tensor,
    spec: &Spec,
    path: &Path,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let Some(source) = checkpoint.tensor(&spec.gguf) else { return Ok(()) };
    let (cols, count) = (source.cols(), source.rows());
    let unit = match spec.transform {
        Transform::Heads { count: heads } => (count / heads.max(1)).max(1),
        Transform::None | Transform::PlusOne => 1,
    };
    let step = (SLAB / cols.max(1)).max(1).next_multiple_of(unit);
    let row_bytes = tensor.ty.row_bytes(cols).unwrap_or(0);
    let mut start = 0;
    while start < count {
        let range = start..(start + step).min(count);
        let values = rows(checkpoint, source, spec.transform, range.clone())?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let row = range.start + index / cols.max(1);
            let place =
                format!("tensor `{}`, row {row}, column {}", spec.gguf, index % cols.max(1));
            return Err(Error::malformed(checkpoint.path_of(source), place, "NaN or infinite"));
        }
        let mut bytes = vec![0; range.len() * row_bytes];
        codec::encode(Tier::detect(), tensor.ty, cols, &values, None, &mut bytes).map_err(
            |error| {
                let place = format!("tensor {}", spec.gguf);
                Error::malformed(checkpoint.path(), place, error.to_string())
            },
        )?;
        out.write_all(&bytes).map_err(Error::io(path, "write"))?;
        progress(bytes.len() as u64)?;
        checkpoint.release_rows(source, range.clone());
        start = range.end;
    }
    Ok(())
}
