//! Pre-tokenizers: how text is cut into words before byte pairs are merged.
//!
//! GGUF names one (`tokenizer.ggml.pre`), a `tokenizer.json` describes it. The table joins both: the
//! name is found by the description's structure. Expressions are those of the models' own
//! `tokenizer.json` where we have seen it, else of llama.cpp's `src/llama-vocab.cpp`, whose names
//! these are.

use serde_json::{Value, json};

/// The byte-level step's own expression, GPT-2's.
pub(crate) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const KANA: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const DEEPSEEK3: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
/// Letters of the Latin, Greek, Cyrillic and other scripts with cases.
const LATIN: &str = "\\s?[A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\
    \u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\
    \u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\
    \u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\
    \u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\
    \u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\
    \u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\
    \u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\
    \u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\
    \u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\
    \u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\
    \u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\
    \u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\
    \u{1e900}-\u{1e943}]+";
const IDEOGRAPHS: &str = "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const WIDE_MARKS: &str =
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
const DIGIT: &str = r"\p{N}";

/// One pre-tokenizer. Each expression cuts what the one before left, matches and gaps both staying;
/// the byte-level step follows.
#[derive(Debug, PartialEq, Eq)]
pub struct Pre {
    /// Value of `tokenizer.ggml.pre`.
    pub name: &'static str,
    /// The expressions.
    pub splits: &'static [&'static str],
    /// Whether a word that is a token is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether text is composed (NFC) first.
    pub nfc: bool,
    /// Whether a begin token stands before text where `tokenizer.ggml.add_bos_token` is absent.
    pub add_bos: bool,
}

const fn pre(name: &'static str, splits: &'static [&'static str]) -> Pre {
    Pre { name, splits, ignore_merges: false, nfc: false, add_bos: false }
}

/// All of them. Where two have the same structure, the first is written.
pub const TABLE: &[Pre] = &[
    pre("gpt-2", &[GPT2]),
    Pre { ignore_merges: true, add_bos: true, ..pre("llama-bpe", &[LLAMA3]) },
    pre("dbrx", &[LLAMA3]),
    Pre { nfc: true, ..pre("qwen2", &[QWEN2]) },
    pre("qwen35", &[QWEN35]),
    pre("smollm", &[DIGIT, GPT2]),
    pre("gpt-4o", &[GPT4O]),
    Pre { ignore_merges: true, add_bos: true, ..pre("tekken", &[TEKKEN]) },
    pre("deepseek-v3", &[r"\p{N}{1,3}", KANA, DEEPSEEK3]),
    pre("deepseek-llm", &["[\r\n]", LATIN, WIDE_MARKS, r"\s+$", IDEOGRAPHS, r"\p{N}+"]),
    pre("deepseek-coder", &["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", IDEOGRAPHS, DIGIT]),
    pre("falcon", &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
    // The rest share a structure with one above.
    pre("olmo", &[GPT2]),
    pre("mpt", &[GPT2]),
    pre("phi-2", &[GPT2]),
    pre("gigachat", &[GPT2]),
    pre("exaone4", &[GPT2]),
    pre("trillion", &[GPT2]),
    pre("jais", &[GPT2]),
    Pre { ignore_merges: true, add_bos: true, ..pre("llama3", &[LLAMA3]) },
    Pre { ignore_merges: true, add_bos: true, ..pre("llama-v3", &[LLAMA3]) },
    Pre { ignore_merges: true, add_bos: true, ..pre("falcon3", &[LLAMA3]) },
    Pre { ignore_merges: true, add_bos: true, ..pre("falcon-h1", &[LLAMA3]) },
    Pre { ignore_merges: true, add_bos: true, ..pre("pixtral", &[LLAMA3]) },
    Pre { ignore_merges: true, add_bos: true, ..pre("lfm2", &[LLAMA3]) },
    pre("smaug-bpe", &[LLAMA3]),
    pre("chatglm-bpe", &[LLAMA3]),
    Pre { ignore_merges: true, ..pre("glm4", &[LLAMA3]) },
    pre("deepseek-r1-qwen", &[QWEN2]),
    pre("stablelm2", &[QWEN2]),
    pre("megrez", &[QWEN2]),
    pre("hunyuan", &[QWEN2]),
    pre("grok-2", &[QWEN2]),
    pre("starcoder", &[DIGIT, GPT2]),
    pre("refact", &[DIGIT, GPT2]),
    pre("command-r", &[DIGIT, GPT2]),
    pre("codeshell", &[DIGIT, GPT2]),
    pre("exaone", &[DIGIT, GPT2]),
    pre("minerva-7b", &[DIGIT, GPT2]),
    pre("mellum2", &[DIGIT, GPT2]),
    pre("llama4", &[GPT4O]),
    pre("kanana2", &[GPT4O]),
    pre("minimax-m2", &[GPT4O]),
    pre("hunyuan-dense", &[r"\p{N}{1,3}", KANA, DEEPSEEK3]),
    pre("joyai-llm", &[r"\p{N}{1,3}", KANA, DEEPSEEK3]),
    pre("default", &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
];

/// The pre-tokenizer of that name.
pub fn named(name: &str) -> Option<&'static Pre> {
    TABLE.iter().find(|pre| pre.name == name)
}

/// The expressions of a `pre_tokenizer` object; none where it holds what they cannot say.
fn splits(value: &Value) -> Option<Vec<&str>> {
    let kind = value.get("type")?.as_str()?;
    let flag = |key: &str, absent: bool| value.get(key).map_or(Some(absent), Value::as_bool);
    match kind {
        "Sequence" => {
            let parts = value.get("pretokenizers")?.as_array()?;
            let (last, before) = parts.split_last()?;
            // The byte-level step ends it; one before would change what later expressions see.
            if last.get("type")?.as_str()? != "ByteLevel" {
                return None;
            }
            let mut all = Vec::new();
            for part in before {
                if part.get("type")?.as_str()? == "ByteLevel" {
                    return None;
                }
                all.extend(splits(part)?);
            }
            all.extend(splits(last)?);
            Some(all)
        }
        "ByteLevel" if flag("add_prefix_space", true)? => None,
        "ByteLevel" => Some(if flag("use_regex", true)? { vec![GPT2] } else { Vec::new() }),
        "Digits" => Some(vec![if flag("individual_digits", false)? { DIGIT } else { r"\p{N}+" }]),
        "Split" => {
            let kept = match (value.get("behavior")?.as_str()?, flag("invert", false)?) {
                ("Isolated", _) | ("Removed", true) => value.get("pattern")?.get("Regex")?.as_str(),
                _ => None,
            };
            kept.map(|expression| vec![expression])
        }
        _ => None,
    }
}

/// The entry whose structure a `pre_tokenizer` object has; `ignore_merges` decides between two.
pub(crate) fn of_json(value: &Value, ignore_merges: bool) -> Option<&'static Pre> {
    let found = splits(value)?;
    let same = |pre: &&Pre| pre.splits == found;
    TABLE
        .iter()
        .find(|pre| same(pre) && pre.ignore_merges == ignore_merges)
        .or_else(|| TABLE.iter().find(same))
}

impl Pre {
    /// The `pre_tokenizer` object.
    pub(crate) fn to_json(&self) -> Value {
        let level = |use_regex: bool| {
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": use_regex})
        };
        let split = |expression: &&str| {
            json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated",
                "invert": false})
        };
        let digits = || json!({"type": "Digits", "individual_digits": true});
        match self.splits {
            [GPT2] => level(true),
            [DIGIT, GPT2] => json!({"type": "Sequence", "pretokenizers": [digits(), level(true)]}),
            splits => {
                let parts: Vec<_> = splits.iter().map(split).chain([level(false)]).collect();
                json!({"type": "Sequence", "pretokenizers": parts})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        for pre in TABLE {
            let found = of_json(&pre.to_json(), pre.ignore_merges).unwrap();
            assert_eq!(found.splits, pre.splits);
            let first = TABLE.iter().find(|other| {
                other.splits == pre.splits && other.ignore_merges == pre.ignore_merges
            });
            assert_eq!(Some(found), first);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|pre| pre.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn what_the_table_cannot_say_is_not_found() {
        let prefixed = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
        let merged = json!({"type": "Split", "pattern": {"String": " "},
            "behavior": "MergedWithPrevious", "invert": false});
        for value in [prefixed, merged, json!({"type": "BertPreTokenizer"}), json!(null)] {
            assert_eq!(of_json(&value, false), None);
        }
    }
}
