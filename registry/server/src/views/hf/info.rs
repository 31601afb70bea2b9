//! A model as the Hub describes it.

use serde_json::{Map, Value, json};

use super::super::{known::Known, units::Day};

/// What identifies a model at a revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// `namespace/name`.
    pub(crate) id: &'a str,
    pub(crate) commit: &'a str,
    /// Seconds since 1970.
    pub(crate) pushed: u64,
}

/// A line in the list of models.
pub(crate) fn brief(identity: &Identity<'_>, known: &Known) -> Map<String, Value> {
    let pushed = Day::of(identity.pushed).timestamp();
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    put("_id", json!(identity.commit.get(..24)));
    put("id", json!(identity.id));
    put("modelId", json!(identity.id));
    put("author", json!(identity.id.split('/').next()));
    put("sha", json!(identity.commit));
    put("lastModified", json!(pushed));
    put("createdAt", json!(pushed));
    put("private", json!(false));
    put("gated", json!(false));
    put("disabled", json!(false));
    put("downloads", json!(0));
    put("likes", json!(0));
    put("tags", json!(tags(known)));
    if let Some(library) = library(known) {
        put("library_name", json!(library));
        put("pipeline_tag", json!("text-generation"));
    }
    map
}

/// All that the Hub says of one model; with sizes and digests of its files where `blobs` asks for them.
pub(crate) fn whole(identity: &Identity<'_>, known: &Known, blobs: bool) -> Value {
    let mut map = brief(identity, known);
    let sibling = |file: &super::super::known::KnownFile| {
        let mut line = json!({ "rfilename": file.name });
        if blobs && let Some(line) = line.as_object_mut() {
            line.insert("size".to_owned(), json!(file.size));
            line.insert("blobId".to_owned(), json!(file.oid));
            if let (true, Some(digest)) = (file.lfs, file.digest()) {
                let lfs = json!({
                    "sha256": digest.hex(),
                    "size": file.size,
                    "pointerSize": super::tree::pointer_size(file.size),
                });
                line.insert("lfs".to_owned(), lfs);
            }
        }
        line
    };
    let siblings: Vec<Value> = known.files.iter().map(sibling).collect();
    map.insert("siblings".to_owned(), json!(siblings));
    map.insert("spaces".to_owned(), json!([]));
    map.insert("usedStorage".to_owned(), json!(known.bytes()));
    if let Some(licence) = &known.licence {
        map.insert("cardData".to_owned(), json!({ "license": licence }));
    }
    if let (Some(total), true) = (known.parameters, known.gguf().is_some()) {
        let mut gguf = json!({ "total": total });
        if let Some(gguf) = gguf.as_object_mut() {
            gguf.extend(
                known.family.iter().map(|family| ("architecture".to_owned(), json!(family))),
            );
            gguf.extend(known.context.map(|tokens| ("context_length".to_owned(), json!(tokens))));
        }
        map.insert("gguf".to_owned(), gguf);
    }
    Value::Object(map)
}

/// What the Hub would tag it with.
pub(crate) fn tags(known: &Known) -> Vec<String> {
    let mut tags = Vec::new();
    tags.extend(library(known).map(str::to_owned));
    if known.is_folder() {
        tags.push("safetensors".to_owned());
    }
    tags.extend(known.family.clone());
    tags.extend(known.licence.iter().map(|licence| format!("license:{licence}")));
    tags
}

fn library(known: &Known) -> Option<&'static str> {
    match () {
        () if known.is_folder() => Some("transformers"),
        () if known.gguf().is_some() => Some("gguf"),
        () => None,
    }
}
