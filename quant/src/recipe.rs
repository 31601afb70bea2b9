//! Recipes: what was decided, in a form that people read and edit and that makes the same file again.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use mdl_kernels::{TensorType, codec};
use serde::{Deserialize, Serialize};

use crate::{Error, Imatrix, Result, Scheme};

/// Version of the form that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

/// Everything that was decided for one file. Its text is deterministic and names no path, clock or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Version of this form: 1.
    pub version: u32,
    /// mdl's version.
    pub mdl: String,
    /// The scheme that it was made from, which gives `general.file_type`.
    pub scheme: String,
    /// The importance matrix that encoding used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imatrix: Option<Origin>,
    /// The files that the model was read from.
    #[serde(default, rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Origin>,
    /// Type and method of every tensor, by GGUF name.
    pub tensors: BTreeMap<String, Step>,
}

/// A file by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name, without folders.
    pub name: String,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}

/// What is done to one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The type written, by GGUF name.
    #[serde(rename = "type", with = "type_name")]
    pub ty: TensorType,
    /// How.
    pub method: Method,
}

/// How a tensor's blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Bytes as they are in the source.
    Copy,
    /// Rounded to the nearest value of a plain type.
    Round,
    /// Scales searched for the least squared error.
    Search,
    /// Scales searched for the least squared error, columns weighted by the importance matrix.
    Weighted,
}

impl Recipe {
    /// Reads a recipe, checking that every type is one that can be written.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line, or the newer mdl that it was made by.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        check_version(path, text)?;
        let recipe: Self =
            toml::from_str(text).map_err(|error| Error::input(path, error.to_string()))?;
        Scheme::named(&recipe.scheme)?;
        for (name, step) in &recipe.tensors {
            if step.method != Method::Copy && !codec::encodable(step.ty) {
                return Err(Error::input(
                    path,
                    format!("`{name}`: {} is not written by this program", step.ty),
                ));
            }
        }
        Ok(recipe)
    }

    /// Its text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail. The keys are ours and the strings are quoted by toml, so that parsing gives
        // the same recipe back.
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let _ = writeln!(text, "version = {}", self.version);
        let _ = writeln!(text, "mdl = {}", quoted(&self.mdl));
        let _ = writeln!(text, "scheme = {}", quoted(&self.scheme));
        let mut origin = |heading: &str, origin: &Origin| {
            let _ = write!(
                text,
                "\n{heading}\nname = {}\nsha256 = {}\n",
                quoted(&origin.name),
                quoted(&origin.sha256)
            );
        };
        if let Some(imatrix) = &self.imatrix {
            origin("[imatrix]", imatrix);
        }
        for source in &self.sources {
            origin("[[source]]", source);
        }
        text.push_str("\n[tensors]\n");
        for (name, step) in &self.tensors {
            let method = match step.method {
                Method::Copy => "copy",
                Method::Round => "round",
                Method::Search => "search",
                Method::Weighted => "weighted",
            };
            let _ = writeln!(
                text,
                "{} = {{ type = \"{}\", method = \"{method}\" }}",
                quoted(name),
                step.ty
            );
        }
        text
    }

    /// Refuses an importance matrix that is not the recipe's.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn check_imatrix(&self, given: Option<&Imatrix>) -> Result<()> {
        match (&self.imatrix, given) {
            (None, None) => Ok(()),
            (Some(wanted), Some(given)) if wanted.sha256 == given.sha256 => Ok(()),
            (Some(wanted), Some(given)) => Err(Error::refused(
                format!(
                    "{} is not the importance matrix of the recipe, `{}` (sha256 {})",
                    given.name, wanted.name, wanted.sha256
                ),
                "give that file, or edit the recipe's [imatrix]",
            )),
            (Some(wanted), None) => Err(Error::refused(
                format!(
                    "the recipe uses the importance matrix `{}` (sha256 {})",
                    wanted.name, wanted.sha256
                ),
                "give it with --imatrix",
            )),
            (None, Some(_)) => {
                Err(Error::refused("the recipe uses no importance matrix", "leave out --imatrix"))
            }
        }
    }

    /// Refuses sources that are not the recipe's; a recipe without sources fits any.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the file.
    pub fn check_sources(&self, found: &[Origin]) -> Result<()> {
        if self.sources.is_empty() || self.sources == found {
            return Ok(());
        }
        let differs = self.sources.iter().find(|source| !found.contains(source));
        let which = differs.map_or_else(String::new, |source| {
            format!(": `{}` (sha256 {}) is not there", source.name, source.sha256)
        });
        Err(Error::refused(
            format!("the source is not the one that the recipe was made for{which}"),
            "to use its decisions for another source, delete the [[source]] entries from the recipe",
        ))
    }
}

/// The version comes first: another one has fields that mean nothing here.
fn check_version(path: &Path, text: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<i64>,
        mdl: Option<String>,
    }
    let head: Head = toml::from_str(text).map_err(|error| Error::input(path, error.to_string()))?;
    let by = head.mdl.map(|mdl| format!(" ({mdl})")).unwrap_or_default();
    let problem = match head.version {
        // What is missing is named with its line.
        None => return Ok(()),
        Some(version) if version == i64::from(VERSION) => return Ok(()),
        Some(version) if version > i64::from(VERSION) => format!(
            "a recipe of version {version}, made by a newer mdl{by}; this one reads version {VERSION}"
        ),
        Some(version) => format!("there is no version {version} of recipes"),
    };
    Err(Error::input(path, problem))
}

/// Types as their GGUF names.
mod type_name {
    use mdl_kernels::TensorType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(
        ty: &TensorType,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ty.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TensorType, D::Error> {
        let name = String::deserialize(deserializer)?;
        TensorType::from_name(&name)
            .ok_or_else(|| D::Error::custom(format!("`{name}` is no tensor type")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let origin = |name: &str| Origin { name: name.into(), sha256: "ab".repeat(32) };
        let step = |ty, method| Step { ty, method };
        Recipe {
            version: VERSION,
            mdl: "0.1.0".into(),
            scheme: "Q4_K_M".into(),
            imatrix: Some(origin("im\"a.gguf")),
            sources: vec![origin("model.safetensors"), origin("config.json")],
            tensors: BTreeMap::from([
                ("blk.0.attn_q.weight".into(), step(TensorType::Q4_K, Method::Weighted)),
                ("output_norm.weight".into(), step(TensorType::F32, Method::Copy)),
            ]),
        }
    }

    #[test]
    fn text_and_recipe_are_the_same_thing() {
        let recipe = recipe();
        let text = recipe.text();
        assert_eq!(Recipe::parse(Path::new("r"), &text).unwrap(), recipe);
        assert_eq!(Recipe::parse(Path::new("r"), &text).unwrap().text(), text);
    }

    #[test]
    fn what_it_does_not_know_is_refused_by_name() {
        for (from, to, says) in [
            ("version = 1", "version = 2", "made by a newer mdl (0.1.0)"),
            ("version = 1", "version = 2\nsurprise = 1", "made by a newer mdl (0.1.0)"),
            ("version = 1", "version = 0", "version 0"),
            ("version = 1\n", "", "missing field `version`"),
            ("Q4_K_M", "Q9", "Q9"),
            ("type = \"Q4_K\"", "type = \"Q4_Z\"", "Q4_Z"),
            ("method = \"copy\"", "method = \"guess\"", "guess"),
            ("mdl =", "surprise = 1\nmdl =", "surprise"),
        ] {
            let text = recipe().text().replace(from, to);
            let error = Recipe::parse(Path::new("r"), &text).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
