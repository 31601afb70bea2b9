//! Small vocabularies made here.

use super::*;

/// SentencePiece keys: bytes, then the pieces with falling scores.
fn pieces(more: &[(&str, i32)]) -> Metadata {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    let mut types = vec![2, 3, 3];
    for byte in 0..=255 {
        tokens.push(format!("<0x{byte:02X}>"));
        types.push(6);
    }
    for (text, ty) in more {
        tokens.push((*text).to_owned());
        types.push(*ty);
    }
    let scores: Vec<f32> = (0..tokens.len()).map(|id| 259.0 - id as f32).collect();
    let mut metadata = Metadata::new();
    metadata.set("tokenizer.ggml.model", "llama");
    metadata.set("tokenizer.ggml.tokens", tokens);
    metadata.set("tokenizer.ggml.token_type", types);
    metadata.set("tokenizer.ggml.scores", scores);
    metadata
}

fn made(metadata: &Metadata) -> Tokenizer {
    Tokenizer::from_metadata(metadata, Path::new("m")).unwrap()
}

#[test]
fn pieces_join_by_score_and_fall_back_to_bytes() {
    let words = [
        ("he", 1),
        ("llo", 1),
        ("▁h", 1),
        ("lo", 1),
        ("▁he", 1),
        ("▁", 1),
        ("h", 1),
        ("e", 1),
        ("l", 1),
        ("o", 1),
    ];
    let tokenizer = made(&pieces(&words));
    let texts = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text, true, false).unwrap();
        ids.iter().map(|id| tokenizer.token(*id).unwrap().to_owned()).collect()
    };
    // he (best) first; then lo, then l with lo.
    assert_eq!(texts("hello"), ["<s>", "▁he", "llo"]);
    assert_eq!(texts("h é"), ["<s>", "▁h", "▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(texts(""), ["<s>"]);
    assert_eq!(texts("</s>")[1..3], ["▁", "<0x3C>"]);
    let ids = tokenizer.encode("</s>h", false, true).unwrap();
    assert_eq!(ids, [2, 261]);
    assert_eq!(tokenizer.ends(), [2]);
}

#[test]
fn decoding_gives_whole_characters_only() {
    let tokenizer = made(&pieces(&[("▁h", 1)]));
    let mut decoder = tokenizer.decoder(false);
    let byte = |byte: u32| byte + 3;
    let parts: Vec<_> =
        [1, 259, byte(0xf0), byte(0x9f), byte(0xa6), byte(0x99), byte(0xff), byte(0xe2)]
            .into_iter()
            .map(|id| decoder.push(id))
            .collect();
    assert_eq!(parts, ["", " h", "", "", "", "🦙", "\u{fffd}", ""]);
    assert_eq!(decoder.finish(), "\u{fffd}");
    assert_eq!(tokenizer.decode(&[1, 259, 259]), "h h");
}

#[test]
fn byte_level_merges_and_special_tokens() {
    let mut metadata = Metadata::new();
    let mut tokens: Vec<String> = decode::alphabet().iter().map(char::to_string).collect();
    tokens.extend(["ab", "Ġab", "<|im_end|>"].map(str::to_owned));
    let mut types = vec![1i32; tokens.len()];
    types[258] = 3;
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.pre", "gpt-2");
    metadata.set("tokenizer.ggml.tokens", tokens);
    metadata.set("tokenizer.ggml.token_type", types);
    metadata.set("tokenizer.ggml.merges", vec!["a b".to_owned(), "Ġ ab".to_owned()]);
    let tokenizer = made(&metadata);
    assert_eq!(tokenizer.encode("ab ab<|im_end|>", true, true).unwrap(), [256, 257, 258]);
    assert_eq!(tokenizer.encode("é", true, true).unwrap(), [0xc3, 0xa9]);
    assert_eq!(tokenizer.decode(&[257, 258, 0xc3, 0xa9]), " abé");
    assert_eq!(tokenizer.ends(), [258]);
    assert!(!tokenizer.adds_bos());
    metadata.set("tokenizer.ggml.pre", "martian");
    let error = Tokenizer::from_metadata(&metadata, Path::new("m")).unwrap_err();
    assert!(error.to_string().contains("martian"), "{error}");
}

#[test]
fn models_without_a_tokenizer_say_so() {
    let mut metadata = Metadata::new();
    metadata.set("tokenizer.ggml.model", "no_vocab");
    let error = Tokenizer::from_metadata(&metadata, Path::new("m")).unwrap_err();
    assert!(error.to_string().contains("no tokenizer"), "{error}");
}
