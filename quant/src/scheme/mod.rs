//! Schemes: named mixes of types, and which type each tensor gets under one.
//!
//! The names, numbers and rules are llama-quantize's, so that a name means the same in both programs. Source: `enum
//! llama_ftype` and `src/llama-quant.cpp` of llama.cpp (ggml 0.25).

mod choose;
mod table;

pub use choose::{Choice, Chooser, Facts};
pub(crate) use choose::{fitting, quantizes};
use mdl_kernels::{TensorType, codec};
pub(crate) use table::{Rule, Rules};

/// A named mix of types.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    name: &'static str,
    file_type: u32,
    base: TensorType,
    rules: Rules,
}

/// Why a name is no scheme that can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// Nobody uses that name.
    #[error("`{name}` is no scheme; known: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that can be written.
        known: String,
    },
    /// llama.cpp has it, but this program cannot encode one of its types.
    #[error("`{name}` uses types that mdl reads but does not write; it writes: {known}")]
    NotWritten {
        /// What was asked for.
        name: String,
        /// The names that can be written.
        known: String,
    },
}

impl Scheme {
    /// The scheme of that name, upper or lower case; `Q3_K`, `Q4_K` and `Q5_K` mean their `_M`.
    ///
    /// # Errors
    /// [`SchemeError`], naming what there is.
    pub fn named(name: &str) -> Result<Self, SchemeError> {
        let full = match name.to_ascii_uppercase().as_str() {
            short @ ("Q3_K" | "Q4_K" | "Q5_K") => format!("{short}_M"),
            "MXFP4" => "MXFP4_MOE".to_owned(),
            full => full.to_owned(),
        };
        if let Some(scheme) = Self::all().find(|scheme| scheme.name == full) {
            return Ok(scheme);
        }
        let known = Self::all().map(|scheme| scheme.name).collect::<Vec<_>>().join(" ");
        let name = name.to_owned();
        let read_only = table::FILE_TYPES.iter().any(|(_, other)| *other == full);
        Err(if read_only {
            SchemeError::NotWritten { name, known }
        } else {
            SchemeError::Unknown { name, known }
        })
    }

    /// Every scheme that can be written.
    pub fn all() -> impl Iterator<Item = Self> {
        table::SCHEMES.iter().copied().filter(|scheme| codec::encodable(scheme.base))
    }

    /// Its name, as `--scheme` takes it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// GGUF's `general.file_type` for it.
    pub fn file_type(&self) -> u32 {
        self.file_type
    }

    /// The type of most of its tensors.
    pub fn base(&self) -> TensorType {
        self.base
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }
}

/// The scheme that a file's `general.file_type` names, whether this program can write it or not.
pub fn name_of_file_type(number: u64) -> Option<&'static str> {
    table::FILE_TYPES.iter().find(|(known, _)| u64::from(*known) == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_by_alias() {
        assert_eq!(Scheme::named("q4_k_m").unwrap().file_type(), 15);
        assert_eq!(Scheme::named("Q4_K").unwrap().name(), "Q4_K_M");
        assert_eq!(Scheme::named("F16").unwrap().base(), TensorType::F16);
        assert_eq!(name_of_file_type(30), Some("IQ4_XS"));
        assert_eq!(name_of_file_type(4), None);
    }

    #[test]
    fn what_cannot_be_written_is_told_apart_from_what_nobody_knows() {
        assert!(matches!(Scheme::named("IQ2_XXS"), Err(SchemeError::NotWritten { .. })));
        let error = Scheme::named("Q9_K").unwrap_err();
        assert!(error.to_string().contains("Q4_K_M"), "{error}");
    }

    #[test]
    fn every_scheme_has_its_number_in_the_list() {
        for scheme in table::SCHEMES {
            assert_eq!(name_of_file_type(scheme.file_type.into()), Some(scheme.name));
        }
    }
}
