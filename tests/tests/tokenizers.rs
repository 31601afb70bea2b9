//! Tokenizers against llama.cpp's own pairs of text and ids, and against the `tokenizers` library on
//! the models' own files.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where its premises fail, and says what it saw"
)]

use std::path::Path;

use mdl_formats::{Checkpoint, Config, Limits, tokenizer::Tokenizer};
use mdl_tests::{need, peer_source, shared, tokenizer};

/// llama.cpp's vocabularies whose kind of tokenizer is ours.
const VOCABULARIES: &[&str] = &[
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

#[test]
fn llama_cpp_pairs() {
    let models = need!(peer_source()).join("models");
    let mut wrong = Vec::new();
    for name in VOCABULARIES {
        let path = models.join(format!("ggml-vocab-{name}.gguf"));
        let checkpoint = Checkpoint::open(&path, &Limits::default()).expect("a vocabulary");
        let tokenizer = Tokenizer::from_checkpoint(&checkpoint).expect(name);
        let read = |end: &str| {
            std::fs::read_to_string(format!("{}{end}", path.display())).expect("a pair file")
        };
        let (texts, ids) = (read(".inp"), read(".out"));
        let texts: Vec<_> = texts.split("\n__ggml_vocab_test__\n").collect();
        let ids: Vec<Vec<u32>> = ids
            .lines()
            .map(|line| line.split_whitespace().map(|id| id.parse().expect("an id")).collect())
            .collect();
        assert!(
            ids.len() > 30 && texts.len() >= ids.len(),
            "{name}: {} {}",
            texts.len(),
            ids.len()
        );
        for (text, ids) in texts.iter().zip(&ids) {
            let found = tokenizer.encode(text, false, false).expect("tokens");
            if found != *ids {
                wrong.push(format!("{name}: {text:?}\n  {found:?}\n  {ids:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Text of many kinds: scripts, digits, white space, code, broken habits.
fn varied() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "  \n\n \t\t \r\n x",
        "Hello, world! I'm you're WE'LL he'd THEY'VE don't",
        "3 33 333 3333 33333 333333 1234567890 3.14159 1,000,000 ٣٤٥ ²³¹",
        "fn main() {\n    let x = vec![1, 2, 3];\n\tprintln!(\"{:?}\", x);\n}\n\n\n// done",
        "我想在apple工作1314151天～ 日本語のテキスト、カタカナ。한국어 문장입니다.",
        "нещо на Български, кириллица. Ελληνικά άλφα. עברית العربية ไทย ខ្មែរ हिन्दी",
        "🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ 🦙🦙 👩‍👩‍👧‍👦",
        "e\u{301}e\u{301} re\u{301}sume\u{301} Cửa Việt \u{1e9b}\u{323} ﬁne Å Ω",
        "------======= ''''''```````\"\"\"\"......!!!!!!??????",
        "a\u{a0}b\u{2003}c\u{200b}d\u{feff}e\u{0}f\u{7f}",
        "<html><b>x</b></s><table></table>\n\n\n\n<i> _under_ **bold** ~~",
        "https://example.org/?q=a%20b&c=d#e user@host.com /usr/bin:~/.x",
        "leading\n\n  indented\n      more\n\n\n\n\nend   \n ",
        "▁already▁there <0x0A> [PAD5] <unk>",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push("word ".repeat(300));
    all.push(" ".repeat(70));
    all.push("ab\n".repeat(50));
    all
}

#[test]
fn tokenizer_files_become_keys_that_give_the_same_ids() {
    let mut texts = varied();
    if let Some(path) = shared("wikitext-2-test.txt") {
        let text = std::fs::read_to_string(path).expect("text");
        let end = (0..=200_000).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        texts.push(text[..end].to_owned());
    }
    for name in ["llama3_1", "qwen3", "gemma3", "deepseek_v3", "gptoss"] {
        let folder = need!(tokenizer(name));
        let mut theirs =
            tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).expect(name);
        theirs.set_encode_special_tokens(false);
        let config = Config::new(Path::new("config.json"), serde_json::Map::new()).expect("empty");
        let limits = Limits::default();
        let mut notes = Vec::new();
        let count = theirs.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1);
        let keys =
            mdl_formats::tokenizer::read(&folder, &config, count, &limits, &mut notes).expect(name);
        assert!(notes.is_empty(), "{name}: {notes:?}");
        let ours = Tokenizer::from_metadata(&keys, &folder).expect(name);
        for text in &texts {
            let expected = theirs.encode(text.as_str(), false).expect("tokens");
            let found = ours.encode(text, false, true).expect("tokens");
            let differ = found.iter().zip(expected.get_ids()).position(|(a, b)| a != b);
            assert!(
                found == expected.get_ids(),
                "{name}: {:?} from {differ:?} on\n{:?}\n{:?}",
                text.chars().take(200).collect::<String>(),
                &found[differ.unwrap_or(0)..][..found.len().min(20)],
                &expected.get_tokens()[differ.unwrap_or(0)..]
            );
            let back = ours.decode(&found);
            if !text.contains(['\u{301}', 'ﬁ', '\u{323}', '▁', '<', 'Å', 'Ω', 'ử']) {
                assert_eq!(&back, text, "{name}");
            }
        }
    }
}
