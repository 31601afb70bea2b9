//! The plan: for every tensor what will be written, decided and checked before work starts.

use std::collections::BTreeMap;

use mdl_formats::{Checkpoint, Tensor, gguf::Metadata};
use mdl_kernels::{TensorType, codec};
use regex::Regex;

use crate::{
    Error, Imatrix, Method, Origin, Recipe, Result, Scheme, Step, imatrix,
    scheme::{Choice, Chooser, Facts, fitting, quantizes},
};

/// What the user asks for besides the scheme.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Types by hand; the first match wins.
    pub overrides: Vec<Override>,
    /// Weights of columns.
    pub imatrix: Option<&'a Imatrix>,
    /// Refuse tensors whose shape cannot take the type asked for.
    pub strict: bool,
    /// Quantize tensors that are themselves quantized; to make floats of them is always allowed.
    pub allow_requantize: bool,
}

/// `PATTERN=TYPE`: a type for the tensors whose GGUF name matches.
#[derive(Debug, Clone)]
pub struct Override {
    pattern: Regex,
    ty: TensorType,
}

impl Override {
    /// Reads `PATTERN=TYPE`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: String| {
            let hint = "write PATTERN=TYPE, for instance --tensor-type ffn_down=Q6_K";
            Error::usage(format!("--tensor-type `{text}`: {problem}"), hint)
        };
        let (pattern, name) = text.rsplit_once('=').ok_or_else(|| wrong("no `=`".into()))?;
        let ty = TensorType::from_name(name.trim()).filter(|ty| codec::encodable(*ty));
        let ty = ty.ok_or_else(|| wrong(format!("`{name}` is no type that can be written")))?;
        if pattern.is_empty() {
            return Err(wrong("no pattern".into()));
        }
        let pattern = Regex::new(pattern).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { pattern, ty })
    }

    /// Refuses a pattern without effect: it matches nothing, or only what no scheme touches.
    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        let matches = |tensor: &&Tensor| self.pattern.is_match(&tensor.name);
        let mut matched = checkpoint.tensors.iter().filter(matches).peekable();
        let problem = match matched.peek() {
            None => "matches no tensor".to_owned(),
            Some(first) => {
                let kept = format!(
                    "matches only tensors that are never quantized, such as `{}`",
                    first.name
                );
                if matched.any(quantizes) {
                    return Ok(());
                }
                kept
            }
        };
        Err(Error::usage(
            format!("--tensor-type: `{}` {problem}", self.pattern),
            "patterns are regular expressions on GGUF names; `mdl inspect --tensors` lists those",
        ))
    }
}

/// What will be done to one tensor.
#[derive(Debug, Clone)]
pub struct PlannedTensor {
    /// As it will be written.
    pub tensor: Tensor,
    /// As the source stores it.
    pub from: TensorType,
    /// How.
    pub method: Method,
    /// The type asked for, where the shape cannot take it.
    pub instead_of: Option<TensorType>,
}

/// What will be written.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Scheme that gives the file its type number.
    pub scheme: Scheme,
    /// In writing order.
    pub tensors: Vec<PlannedTensor>,
    /// Matrices that the importance matrix has no entry for, though one was given.
    pub unweighted: Vec<String>,
    imatrix: Option<Origin>,
}

impl Plan {
    /// Decides by a scheme.
    ///
    /// # Errors
    /// [`Error::Refused`] for quantized sources, misfits under `strict`, and foreign importance matrices;
    /// [`Error::Usage`] for overrides without effect.
    pub fn new(checkpoint: &Checkpoint, scheme: Scheme, request: &Request<'_>) -> Result<Self> {
        request.overrides.iter().try_for_each(|rule| rule.check(checkpoint))?;
        let choices = choose(checkpoint, scheme, request);
        let mut plan = Self::empty(scheme, request.imatrix);
        for tensor in &checkpoint.tensors {
            let choice = choices.get(tensor.name.as_str()).copied();
            let choice = choice.unwrap_or(Choice { ty: tensor.ty, instead_of: None });
            plan.push(tensor, choice, request)?;
        }
        plan.check(request)?;
        Ok(plan)
    }

    /// Writes every tensor as the source has it.
    pub fn lossless(checkpoint: &Checkpoint) -> Result<Self> {
        let mut bytes = BTreeMap::new();
        for tensor in &checkpoint.tensors {
            *bytes.entry(tensor.ty).or_insert(0) += tensor.bytes();
        }
        let most =
            bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(TensorType::F32, |(ty, _)| ty);
        // The file's type number: that of the scheme whose base most of its bytes have.
        let scheme = Scheme::all().find(|scheme| scheme.base() == most);
        let scheme = scheme.map_or_else(|| Scheme::named("F32"), Ok)?;
        let mut plan = Self::empty(scheme, None);
        for tensor in &checkpoint.tensors {
            plan.push(tensor, Choice { ty: tensor.ty, instead_of: None }, &Request::default())?;
        }
        Ok(plan)
    }

    /// Decides by a recipe, which must name exactly the checkpoint's tensors.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the tensors that are missing, unknown or misfit.
    pub fn from_recipe(
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        request: &Request<'_>,
    ) -> Result<Self> {
        recipe.check_imatrix(request.imatrix)?;
        let hint = "the recipe was made for another model";
        if let Some(name) = recipe.tensors.keys().find(|name| checkpoint.tensor(name).is_none()) {
            return Err(Error::refused(
                format!("the recipe names `{name}`, which this model does not have"),
                hint,
            ));
        }
        let mut plan = Self::empty(Scheme::named(&recipe.scheme)?, request.imatrix);
        for tensor in &checkpoint.tensors {
            let step = recipe.tensors.get(&tensor.name);
            let step = step.ok_or_else(|| {
                Error::refused(format!("the recipe does not name `{}`", tensor.name), hint)
            })?;
            if fitting(tensor.cols(), step.ty).instead_of.is_some() {
                let problem = format!(
                    "rows of {} values do not divide into {} blocks",
                    tensor.cols(),
                    step.ty
                );
                return Err(Error::refused(
                    format!("`{}`: {problem}", tensor.name),
                    "edit the recipe",
                ));
            }
            plan.push(tensor, Choice { ty: step.ty, instead_of: None }, request)?;
            let decided = plan.tensors.last().map(|planned| planned.method);
            if decided != Some(step.method) {
                let problem = format!(
                    "`{}`: the recipe says {:?}, but from {} to {} it is {decided:?}",
                    tensor.name, step.method, tensor.ty, step.ty
                );
                return Err(Error::refused(problem, hint));
            }
        }
        plan.check(request)?;
        Ok(plan)
    }

    fn empty(scheme: Scheme, imatrix: Option<&Imatrix>) -> Self {
        let imatrix =
            imatrix.map(|given| Origin { name: given.name.clone(), sha256: given.sha256.clone() });
        Self { scheme, tensors: Vec::new(), unweighted: Vec::new(), imatrix }
    }

    fn push(&mut self, tensor: &Tensor, choice: Choice, request: &Request<'_>) -> Result<()> {
        let method = if choice.ty == tensor.ty {
            Method::Copy
        } else if !choice.ty.is_quantized() {
            Method::Round
        } else if weighted(tensor, request.imatrix)? {
            Method::Weighted
        } else {
            if request.imatrix.is_some() {
                self.unweighted.push(tensor.name.clone());
            }
            Method::Search
        };
        let target = Tensor { ty: choice.ty, ..tensor.clone() };
        let planned = PlannedTensor {
            tensor: target,
            from: tensor.ty,
            method,
            instead_of: choice.instead_of,
        };
        self.tensors.push(planned);
        Ok(())
    }

    fn check(&self, request: &Request<'_>) -> Result<()> {
        // Rounding to floats loses next to nothing: that is expanding.
        let quantizing = |method| matches!(method, Method::Search | Method::Weighted);
        let requantized = self
            .tensors
            .iter()
            .find(|planned| planned.from.is_quantized() && quantizing(planned.method));
        if let Some(planned) = requantized.filter(|_| !request.allow_requantize) {
            return Err(Error::refused(
                format!(
                    "the source is quantized already (`{}` is {})",
                    planned.tensor.name, planned.from
                ),
                "take the original, or accept the loss with --allow-requantize",
            ));
        }
        let misfits: Vec<&PlannedTensor> = self.misfits().collect();
        if let Some(first) = misfits.first().filter(|_| request.strict) {
            let names: Vec<&str> =
                misfits.iter().take(8).map(|planned| planned.tensor.name.as_str()).collect();
            let wanted = first.instead_of.map_or("", TensorType::name);
            return Err(Error::refused(
                format!(
                    "{} tensors cannot take the type asked for ({wanted}): {} …",
                    misfits.len(),
                    names.join(", ")
                ),
                "leave out --strict, choose a scheme with blocks of 32, or name types with --tensor-type",
            ));
        }
        Ok(())
    }

    /// Tensors whose shape cannot take the type asked for.
    pub fn misfits(&self) -> impl Iterator<Item = &PlannedTensor> {
        self.tensors.iter().filter(|planned| planned.instead_of.is_some())
    }

    /// The tensors as they will be written.
    pub fn targets(&self) -> Vec<Tensor> {
        self.tensors.iter().map(|planned| planned.tensor.clone()).collect()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|planned| planned.tensor.bytes() as u64).sum()
    }

    /// Values of all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(|planned| planned.tensor.elements() as u64).sum()
    }

    /// Bits a value takes on average.
    pub fn bits_per_weight(&self) -> f64 {
        self.bytes() as f64 * 8.0 / (self.elements() as f64).max(1.0)
    }

    /// The recipe for this plan and these sources.
    pub fn recipe(&self, sources: Vec<Origin>) -> Recipe {
        let step = |planned: &PlannedTensor| {
            (planned.tensor.name.clone(), Step { ty: planned.tensor.ty, method: planned.method })
        };
        Recipe {
            version: crate::recipe::VERSION,
            mdl: env!("CARGO_PKG_VERSION").to_owned(),
            scheme: self.scheme.name().to_owned(),
            imatrix: self.imatrix.clone(),
            sources,
            tensors: self.tensors.iter().map(step).collect(),
        }
    }

    /// The keys of the file: the model's own, what llama-quantize adds, the recipe and the sources.
    pub fn metadata(
        &self,
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        imatrix: Option<&Imatrix>,
    ) -> Metadata {
        let mut keys = checkpoint.metadata.clone();
        let stale =
            |key: &str| key.starts_with("mdl.source.") || key.starts_with("quantize.imatrix.");
        let old: Vec<String> =
            keys.iter().map(|(key, _)| key.to_owned()).filter(|key| stale(key)).collect();
        for key in old {
            keys.remove(&key);
        }
        keys.set("general.quantization_version", 2_u32);
        keys.set("general.file_type", self.scheme.file_type());
        if let Some(imatrix) = imatrix {
            imatrix::record(&mut keys, imatrix);
        }
        for (index, source) in recipe.sources.iter().enumerate() {
            keys.set(format!("mdl.source.{index}.name"), source.name.as_str());
            keys.set(format!("mdl.source.{index}.sha256"), source.sha256.as_str());
        }
        keys.set("mdl.recipe", recipe.text());
        keys
    }
}

fn weighted(tensor: &Tensor, imatrix: Option<&Imatrix>) -> Result<bool> {
    Ok(match imatrix {
        Some(imatrix) => imatrix.weights(tensor)?.is_some(),
        None => false,
    })
}

/// The scheme's choice for every tensor, asked for in the order that its counting rules want.
fn choose<'a>(
    checkpoint: &'a Checkpoint,
    scheme: Scheme,
    request: &Request<'_>,
) -> BTreeMap<&'a str, Choice> {
    let mut order: Vec<&Tensor> = checkpoint.tensors.iter().collect();
    order.sort_by_key(|tensor| Chooser::sort_key(&tensor.name));
    let mut chooser = Chooser::new(scheme, Facts::of(checkpoint, request.imatrix.is_some()));
    let by_hand = |tensor: &Tensor| {
        let found = request.overrides.iter().find(|rule| rule.pattern.is_match(&tensor.name));
        found.filter(|_| quantizes(tensor)).map(|rule| rule.ty)
    };
    order
        .into_iter()
        .map(|tensor| (tensor.name.as_str(), chooser.next(tensor, by_hand(tensor))))
        .collect()
}
