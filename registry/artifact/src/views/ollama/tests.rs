//! Templates that are chosen, and manifests for Ollama.

use std::fs;

use mdl_formats::gguf::Layout;

use super::*;

const CHATML: &str = "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}\
    {{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}\
    {{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn keys(chat: &str) -> Metadata {
    let mut keys = Metadata::new();
    keys.set("general.architecture", "llama");
    keys.set("tokenizer.ggml.bos_token_id", 0_u32);
    keys.set("tokenizer.ggml.eos_token_id", 1_u32);
    keys.set("tokenizer.ggml.tokens", vec!["<s>".to_owned(), "<|im_end|>".to_owned()]);
    keys.set("tokenizer.chat_template", chat);
    keys
}

#[test]
fn a_models_own_turns_are_taken() {
    let found = template(&keys(CHATML)).unwrap();
    assert_eq!(found.family, None);
    for part in [
        "{{ else }}<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{{ end }}",
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n{{ else }}",
        "}}<|im_end|>\n<|im_start|>assistant\n{{ else }}",
    ] {
        assert!(found.text.contains(part), "{part}\n{}", found.text);
    }
}

#[test]
fn the_begin_token_is_left_to_ollama() {
    let chat = format!("{{{{ bos_token }}}}{CHATML}");
    assert_eq!(template(&keys(&chat)), template(&keys(CHATML)));
    let mut without = keys(&chat);
    without.set("tokenizer.ggml.add_bos_token", false);
    assert!(template(&without).unwrap().text.contains("<s><|im_start|>system\nBe kind"));
}

#[test]
fn families_stand_in_where_a_template_is_no_plain_turns() {
    for (chat, family) in [
        ("{{ '<|im_start|>' ~ '<|im_end|>' }}{{ raise_exception('no') }}", Some("chatml")),
        (
            "{{ strftime_now('%Y') }}<start_of_turn>{{ messages[0].content }}<end_of_turn>",
            Some("gemma"),
        ),
        ("{{ '<|start_header_id|> <|eot_id|>' }}{% broken", Some("llama3")),
        ("{{ '[INST] [/INST] <<SYS>>' }}", Some("llama2")),
        ("{{ 'something else' }}", None),
    ] {
        let found = template(&keys(chat));
        assert_eq!(found.as_ref().and_then(|it| it.family), family, "{chat}");
        assert_eq!(found.is_some(), family.is_some());
    }
    assert_eq!(template(&Metadata::new()), None);
}

/// A template of turns as each family's models have it gives the turns that are written down for the family.
#[test]
fn families_are_what_their_models_say() {
    for family in families::FAMILIES {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let turns = &family.turns;
        let chat = format!(
            "{{% set n = namespace(begun=false, system=false) %}}{{% for m in messages %}}\
             {{% if m.role == 'system' %}}{{{{ {0} }}}}{{{{ m.content }}}}{{% set n.system = true %}}\
             {{% elif m.role == 'user' %}}{{% if n.begun %}}{{{{ {1} }}}}{{% elif n.system %}}{{{{ {2} }}}}\
             {{% else %}}{{{{ {3} }}}}{{% endif %}}{{{{ m.content }}}}\
             {{% if loop.last %}}{{{{ {4} }}}}{{% else %}}{{{{ {5} }}}}{{% endif %}}{{% set n.begun = true %}}\
             {{% else %}}{{{{ m.content }}}}{{% endif %}}{{% endfor %}}",
            quote(turns.system[0]),
            quote(turns.question),
            quote(turns.system[1]),
            quote(turns.begin),
            quote(turns.last),
            quote(turns.answer),
        );
        let found = template(&keys(&chat)).unwrap();
        assert_eq!((found.text, found.family), (turns.go(), None), "{}", family.name);
    }
}

fn layer(ty: &str, name: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": ty, "digest": Digest::of(bytes).to_string(), "size": bytes.len(),
        "annotations": { media::FILEPATH: name },
    })
}

fn package(layers: &[Value]) -> Package {
    let manifest = json!({ "artifactType": media::MODEL_MANIFEST, "layers": layers });
    Package::read(media::OCI_MANIFEST, manifest.to_string().as_bytes(), None)
}

#[test]
fn a_gguf_gets_a_manifest_over_the_same_blob() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    let mut metadata = keys(CHATML);
    metadata.set("general.file_type", 15_u32);
    fs::write(&path, Layout::new(&path, &metadata, &[]).unwrap().header).unwrap();
    let gguf = fs::read(&path).unwrap();
    let package = package(&[
        layer(media::WEIGHT, "m.gguf", &gguf),
        layer(media::WEIGHT, "mmproj-f16.gguf", b"eyes"),
        layer(media::DOC, "LICENSE", b"MIT"),
        layer(media::DOC, "README.md", b"# M"),
    ]);
    let read = |digest: &Digest| (*digest == Digest::of(b"MIT")).then(|| b"MIT".to_vec());
    let found = view(&package, Some(&path), &read).unwrap();
    assert_eq!(view(&package, Some(&path), &read).as_ref(), Some(&found), "same bytes");

    let again = Package::read(
        media::DOCKER_MANIFEST,
        &found.manifest,
        found.blobs.last().map(Vec::as_slice),
    );
    assert_eq!((again.kind, again.problems.len()), (PackageKind::Ollama, 0));
    let types: Vec<&str> = again
        .layers
        .iter()
        .filter_map(|it| it.descriptor.media_type.strip_prefix(media::OLLAMA_PREFIX))
        .collect();
    assert_eq!(types, ["model", "projector", "template", "license", "params"]);
    assert_eq!(again.layers[0].descriptor.digest, Digest::of(&gguf));
    assert_eq!(again.layers[3].descriptor.digest, Digest::of(b"MIT"));
    assert_eq!(again.facts.quantization.as_deref(), Some("Q4_K_M"));
    assert_eq!(again.facts.architecture.as_deref(), Some("llama"));
    let made: Vec<Digest> = found.blobs.iter().map(|blob| Digest::of(blob)).collect();
    for digest in [&again.layers[2].descriptor.digest, &again.layers[4].descriptor.digest] {
        assert!(made.contains(digest));
    }
    assert_eq!(again.config.map(|it| it.digest).as_ref(), made.last());
    // Without the file there is a manifest all the same.
    assert!(view(&package, None, &read).is_some());
}

#[test]
fn what_ollama_cannot_read_gets_none() {
    let read = |_: &Digest| None;
    let split = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
        .map(|name| layer(media::WEIGHT, name, name.as_bytes()));
    assert_eq!(view(&package(&split), None, &read), None);
    let folder = [layer(media::WEIGHT, "model.safetensors", b"x")];
    assert_eq!(view(&package(&folder), None, &read), None);
    let archive = [layer("application/vnd.cncf.model.weight.v1.tar", "m.gguf", b"x")];
    assert_eq!(view(&package(&archive), None, &read), None);
}
