//! What a file is for, by its name and content.

use crate::{LayerKind, media};

/// Files whose names say that they configure weights.
const CONFIG_NAMES: &[&str] = &[
    "merges.txt",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "modelfile",
    "kitfile",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "template",
    "params",
];

/// Files whose names say that people read them; compared without their end.
const DOC_STEMS: &[&str] = &[
    "readme",
    "license",
    "licence",
    "copying",
    "notice",
    "changelog",
    "authors",
    "citation",
    "use_policy",
    "usage_policy",
    "model_card",
    "modelcard",
    "contributing",
    "security",
    "code_of_conduct",
    "third_party_notices",
];

/// Folders whose files are data.
const DATA_FOLDERS: &[&str] = &["data", "dataset", "datasets"];

/// The kind of a file by its name, where the name tells.
pub(crate) fn by_name(name: &str) -> Option<LayerKind> {
    let lower = name.to_ascii_lowercase();
    let (folders, file) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let (stem, end) = file.rsplit_once('.').unwrap_or((file, ""));
    if CONFIG_NAMES.contains(&file) {
        return Some(LayerKind::Config);
    }
    if DOC_STEMS.contains(&stem) || DOC_STEMS.contains(&file) || file.starts_with("license") {
        return Some(LayerKind::Doc);
    }
    let data = folders.split('/').any(|folder| DATA_FOLDERS.contains(&folder));
    Some(match end {
        "gguf" | "ggml" | "safetensors" | "bin" | "pt" | "pth" | "ckpt" | "onnx" | "onnx_data"
        | "msgpack" | "h5" | "tflite" | "npz" | "mlmodel" | "engine" | "pdparams" | "dduf"
        | "llamafile" | "keras" | "pb" | "safetensor" | "imatrix" => LayerKind::Weights,
        "parquet" | "arrow" | "jsonl" | "ndjson" | "csv" | "tsv" | "feather" | "tfrecord" => {
            LayerKind::Dataset
        }
        "py" | "ipynb" | "sh" | "rs" | "c" | "h" | "cc" | "cpp" | "hpp" | "cu" | "cuh" | "go"
        | "js" | "ts" | "java" | "swift" | "lua" | "rb" | "pl" | "mk" | "cmake" => LayerKind::Code,
        "txt" | "json" | "zst" | "gz" | "npy" | "tar" | "zip" if data => LayerKind::Dataset,
        "json" | "yaml" | "yml" | "toml" | "ini" | "cfg" | "conf" | "jinja" | "jinja2" | "j2"
        | "tiktoken" | "model" | "vocab" | "tmpl" | "gotmpl" => LayerKind::Config,
        "md" | "rst" | "txt" | "pdf" | "html" | "htm" | "tex" | "bib" | "png" | "jpg" | "jpeg"
        | "gif" | "svg" | "webp" | "cff" => LayerKind::Doc,
        _ if matches!(file, "makefile" | "dockerfile" | "cmakelists.txt") => LayerKind::Code,
        _ => return None,
    })
}

/// The kind of a file by how it begins, where that tells more than its name.
pub(crate) fn by_content(begin: &[u8]) -> Option<LayerKind> {
    if begin.starts_with(b"GGUF") {
        return Some(LayerKind::Weights);
    }
    // safetensors: the length of a JSON object, then the object.
    let (length, rest) = begin.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    let header = (2..=100_000_000).contains(&length) && rest.starts_with(b"{\"");
    header.then_some(LayerKind::Weights)
}

/// The type of a raw ModelPack layer of a kind; the unknown travels as a document.
pub(crate) fn media_type(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Weights => media::WEIGHT,
        LayerKind::Config => media::WEIGHT_CONFIG,
        LayerKind::Code => media::CODE,
        LayerKind::Dataset => media::DATASET,
        LayerKind::Doc | LayerKind::Other => media::DOC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_name() {
        use LayerKind::*;
        for (name, kind) in [
            ("model-00001-of-00002.safetensors", Some(Weights)),
            ("sub/pytorch_model.bin", Some(Weights)),
            ("config.json", Some(Config)),
            ("tokenizer.model", Some(Config)),
            ("merges.txt", Some(Config)),
            ("chat_template.jinja", Some(Config)),
            ("README.md", Some(Doc)),
            ("LICENSE", Some(Doc)),
            ("LICENSE.txt", Some(Doc)),
            ("LICENSE-MIT", Some(Doc)),
            ("USE_POLICY.md", Some(Doc)),
            ("modeling_phi3.py", Some(Code)),
            ("train.jsonl", Some(Dataset)),
            ("data/train.json", Some(Dataset)),
            ("data/notes.txt", Some(Dataset)),
            ("Makefile", Some(Code)),
            ("unknown", None),
            ("x.unknown", None),
        ] {
            assert_eq!(by_name(name), kind, "{name}");
        }
    }

    #[test]
    fn weights_are_known_by_their_beginning() {
        assert_eq!(by_content(b"GGUF\x03\0\0\0"), Some(LayerKind::Weights));
        assert_eq!(by_content(b"\x40\0\0\0\0\0\0\0{\"__metadata__\""), Some(LayerKind::Weights));
        for other in
            [&b""[..], b"{\"a\": 1}", b"\0\0\0\0\0\0\0\0{\"", b"plain text, and more of it"]
        {
            assert_eq!(by_content(other), None);
        }
    }
}
