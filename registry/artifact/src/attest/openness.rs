//! The Model Openness Framework: which of its components a package holds, and which class that makes.
//!
//! What is told is what can be seen: files by what they are called and what they are for, an evaluation that refers to
//! the package, and one licence for all, which must be open. A component that lies elsewhere is not seen; then the
//! report names it as missing, and that is what it says.

use serde::{Deserialize, Serialize};

use super::Material;
use crate::{LayerKind, PackageFile, license, name::has_extension, trust::Openness};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpennessReport {
    /// The class; none where a component of the lowest lacks, or the licence is not open.
    pub class: Option<Openness>,
    /// The licence that is stated.
    pub license: Option<String>,
    /// Whether it is open.
    pub license_open: bool,
    /// The framework's components.
    pub components: Vec<Component>,
    /// What the next class asks for and is not there.
    pub missing: Vec<String>,
}

/// A component of the framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What the framework calls it.
    pub name: String,
    /// The class that asks for it.
    pub class: Openness,
    /// Whether that class needs it.
    pub required: bool,
    /// Files, or documents, that are it.
    pub found: Vec<String>,
}

/// How a component is told from what a package holds.
struct Known {
    name: &'static str,
    class: Openness,
    required: bool,
    is: fn(&PackageFile, &str) -> bool,
}

const fn needed(name: &'static str, class: Openness, is: fn(&PackageFile, &str) -> bool) -> Known {
    Known { name, class, required: true, is }
}

const fn optional(
    name: &'static str,
    class: Openness,
    is: fn(&PackageFile, &str) -> bool,
) -> Known {
    Known { name, class, required: false, is }
}

/// Whether a word of the name begins with one of these, so that `constraints.py` doesn't count as `train`. All that is
/// neither letter nor figure parts words.
fn any(name: &str, words: &[&str]) -> bool {
    let name = parted(name);
    words.iter().any(|word| name.contains(&parted(word)))
}

/// `_` before each word.
fn parted(text: &str) -> String {
    let part = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    std::iter::once('_').chain(text.chars().map(part)).collect()
}

fn code(file: &PackageFile, name: &str, words: &[&str]) -> bool {
    file.kind == LayerKind::Code && any(name, words)
}

/// Names are in lower case here.
const KNOWN: [Known; 17] = [
    needed("model architecture", Openness::Model, |file, name| {
        name == "config.json"
            || name == "params.json"
            || (file.kind == LayerKind::Weights && has_extension(name, "gguf"))
            || code(file, name, &["modeling_", "model.py"])
    }),
    needed("final model parameters", Openness::Model, |file, name| {
        file.kind == LayerKind::Weights && !name.contains("checkpoint-")
    }),
    needed("model card", Openness::Model, |_, name| {
        matches!(name, "readme.md" | "model_card.md" | "model-card.md" | "modelcard.md")
    }),
    needed("data card", Openness::Model, |_, name| {
        any(name, &["data_card", "data-card", "datacard", "datasheet", "dataset_card"])
    }),
    needed("technical report", Openness::Model, |_, name| {
        any(
            name,
            &["technical_report", "technical-report", "tech_report", "tech-report", "report.pdf"],
        )
    }),
    needed("evaluation results", Openness::Model, |file, name| {
        file.kind == LayerKind::Doc && any(name, &["evaluation", "eval_results", "benchmark"])
    }),
    optional("sample model outputs", Openness::Model, |_, name| {
        any(name, &["sample_output", "samples"])
    }),
    needed("training code", Openness::Tooling, |file, name| {
        code(file, name, &["train", "finetune", "fine_tune", "pretrain"])
    }),
    needed("inference code", Openness::Tooling, |file, name| {
        code(file, name, &["infer", "generate", "modeling_", "chat", "run"])
    }),
    needed("evaluation code", Openness::Tooling, |file, name| {
        code(file, name, &["eval", "benchmark"])
    }),
    needed("evaluation data", Openness::Tooling, |file, name| {
        file.kind == LayerKind::Dataset
            && any(name, &["eval", "test", "valid", "held", "benchmark"])
    }),
    optional("supporting libraries and tools", Openness::Tooling, |_, name| {
        any(name, &["requirements", "environment.y", "pyproject.toml", "setup.py"])
    }),
    needed("datasets", Openness::Science, |file, name| {
        file.kind == LayerKind::Dataset
            && !any(name, &["eval", "test", "valid", "held", "benchmark"])
    }),
    needed("data preprocessing code", Openness::Science, |file, name| {
        code(file, name, &["preprocess", "prepare", "dedup", "filter", "clean"])
    }),
    needed("intermediate model parameters", Openness::Science, |file, name| {
        file.kind == LayerKind::Weights && name.contains("checkpoint-")
    }),
    needed("research paper", Openness::Science, |_, name| any(name, &["paper", "arxiv"])),
    optional("model metadata", Openness::Science, |_, name| {
        any(name, &["training_metadata", "trainer_state"])
    }),
];

pub(super) fn report(material: &Material) -> OpennessReport {
    let components: Vec<Component> = KNOWN.iter().map(|known| component(known, material)).collect();
    let license = material.package.facts.license.clone();
    let license_open = license.as_deref().is_some_and(license::is_open);
    let lacks = |class: Openness| {
        let lacking = components
            .iter()
            .filter(move |it| it.class == class && it.required && it.found.is_empty());
        lacking.map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    let (mut class, mut missing) = (None, Vec::new());
    for next in [Openness::Model, Openness::Tooling, Openness::Science] {
        missing = lacks(next);
        if !license_open {
            missing.push("an open licence".to_owned());
        }
        if !missing.is_empty() {
            break;
        }
        class = Some(next);
    }
    OpennessReport { class, license, license_open, components, missing }
}

fn component(known: &Known, material: &Material) -> Component {
    let fits = |file: &&PackageFile| (known.is)(file, &file.name.to_lowercase());
    let mut found: Vec<String> =
        material.package.files.iter().filter(fits).map(|file| file.name.clone()).collect();
    if known.name == "evaluation results" && material.evaluation.is_some() {
        found.push("the evaluation report that refers to it".to_owned());
    }
    let (name, class, required) = (known.name.to_owned(), known.class, known.required);
    Component { name, class, required, found }
}

#[cfg(test)]
mod tests {
    use super::any;

    #[test]
    fn a_word_counts_where_it_begins() {
        let names = [
            ("train.py", "train", true),
            ("src/train_lora.py", "train", true),
            ("my-training.py", "train", true),
            ("constraints.py", "train", false),
            ("eval/run.sh", "eval", true),
            ("retrieval.py", "eval", false),
            ("wiki.test.jsonl", "test", true),
            ("latest.jsonl", "test", false),
            ("prune.py", "run", false),
            ("a-model.py", "model.py", true),
            ("environment.yml", "environment.y", true),
            ("technical report.pdf", "technical_report", true),
        ];
        for (name, word, counts) in names {
            assert_eq!(any(name, &[word]), counts, "{name}: {word}");
        }
    }
}
