//! What the configs of packages say: ModelPack's, Ollama's, Docker Model Runner's, KitOps'.

use serde_json::Value;

use super::Facts;
use crate::{Limits, PackageKind};

impl Facts {
    /// Adds what a config says and nothing else has said.
    pub(crate) fn add_config(&mut self, kind: PackageKind, bytes: &[u8]) {
        if bytes.len() > Limits::default().manifest_bytes {
            return;
        }
        let Ok(config) = serde_json::from_slice::<Value>(bytes) else { return };
        let text = |path: &str| {
            let found = config.pointer(path).and_then(Value::as_str);
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = |path: &str| config.pointer(path).and_then(Value::as_u64);
        let said = match kind {
            PackageKind::ModelPack => Self {
                format: text("/config/format"),
                architecture: text("/config/architecture").or_else(|| text("/descriptor/family")),
                parameters: text("/config/paramSize").and_then(|it| parameters(&it)),
                quantization: text("/config/quantization"),
                name: text("/descriptor/title").or_else(|| text("/descriptor/name")),
                license: text("/descriptor/licenses/0"),
                ..Self::default()
            },
            PackageKind::Ollama => Self {
                format: text("/model_format"),
                architecture: text("/model_family"),
                parameters: text("/model_type").and_then(|it| parameters(&it)),
                quantization: text("/file_type"),
                context_length: number("/context_length"),
                embedding_length: number("/embedding_length"),
                name: text("/base_name"),
                ..Self::default()
            },
            PackageKind::DockerAi => Self {
                format: text("/config/format"),
                architecture: text("/config/architecture"),
                parameters: text("/config/parameters").and_then(|it| parameters(&it)),
                quantization: text("/config/quantization"),
                context_length: number("/config/context_size"),
                ..Self::default()
            },
            PackageKind::KitOps => Self {
                format: text("/model/format"),
                name: text("/model/name").or_else(|| text("/package/name")),
                license: text("/model/license").or_else(|| text("/package/license")),
                ..Self::default()
            },
            PackageKind::Other => return,
        };
        self.fill(said);
    }

    /// Takes from `other` what is unknown here.
    pub fn fill(&mut self, other: Self) {
        macro_rules! fill {
            ($($field:ident),*) => { $( if self.$field.is_none() { self.$field = other.$field; } )* };
        }
        fill!(
            format,
            name,
            architecture,
            parameters,
            tensor_bytes,
            bits_per_weight,
            quantization,
            context_length,
            layers,
            embedding_length,
            vocabulary,
            tokenizer,
            pre_tokenizer,
            chat_template,
            license,
            evaluation,
            recipe
        );
        macro_rules! fill_lists {
            ($($field:ident),*) => { $( if self.$field.is_empty() { self.$field = other.$field; } )* };
        }
        fill_lists!(base_models, languages, types, sources, notes);
    }
}

/// `8B`, `134.52M`, `6.7b` as a number of parameters.
fn parameters(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "b" => 1e9,
        "t" => 1e12,
        "q" => 1e15,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * factor;
    (1.0..1e18).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words_are_numbers() {
        for (text, number) in [
            ("8B", Some(8_000_000_000)),
            ("134.52M", Some(134_520_000)),
            ("6.7b", Some(6_700_000_000)),
            ("1000", Some(1000)),
            ("0", None),
            ("B", None),
            ("8x7B", None),
            ("1e99", None),
            ("", None),
        ] {
            assert_eq!(parameters(text), number, "{text}");
        }
    }

    #[test]
    fn configs_of_every_tool_are_read() {
        let of = |kind, text: &str| {
            let mut facts = Facts::default();
            facts.add_config(kind, text.as_bytes());
            facts
        };
        let ollama = of(
            PackageKind::Ollama,
            r#"{"model_format":"gguf","model_family":"llama","model_type":"134.52M","file_type":"Q4_1","os":"linux"}"#,
        );
        assert_eq!(ollama.architecture.as_deref(), Some("llama"));
        assert_eq!(ollama.parameters, Some(134_520_000));
        let pack = of(
            PackageKind::ModelPack,
            r#"{"descriptor":{"name":"n","licenses":["MIT"]},"config":{"format":"gguf","paramSize":"8b"}}"#,
        );
        assert_eq!((pack.license.as_deref(), pack.parameters), (Some("MIT"), Some(8_000_000_000)));
        let docker =
            of(PackageKind::DockerAi, r#"{"config":{"format":"gguf","parameters":"1.5 B"}}"#);
        assert_eq!(docker.parameters, Some(1_500_000_000));
        let kit = of(PackageKind::KitOps, r#"{"package":{"name":"p"},"model":{"license":"MIT"}}"#);
        assert_eq!((kit.name.as_deref(), kit.license.as_deref()), (Some("p"), Some("MIT")));
        for bad in ["", "[]", "{\"config\": 3}", "null"] {
            assert_eq!(of(PackageKind::ModelPack, bad), Facts::default());
        }
    }
}
