//! Reads JSON side files: bounded in size and depth before anything is built from them.

use std::{collections::BTreeSet, fmt, fs::File, io::Read, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{Error, Limits, Result};

/// The text of a side file of at most `limits.side_file_bytes`.
pub(crate) fn read_text(path: &Path, limits: &Limits) -> Result<String> {
    let bytes = read_bytes(path, limits)?;
    String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        Error::malformed(path, place, "is not UTF-8 text")
    })
}

/// The bytes of a side file of at most `limits.side_file_bytes`.
pub(crate) fn read_bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer file shows without trusting its stated size.
    file.take(limits.side_file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limits.side_file_bytes {
        let problem = format!("is longer than the limit of {} bytes", limits.side_file_bytes);
        return Err(Error::malformed(path, "the file", problem));
    }
    Ok(bytes)
}

/// A JSON file, or nothing where there is no such file.
pub(crate) fn read_optional(path: &Path, limits: &Limits) -> Result<Option<Value>> {
    if path.is_file() { read(path, limits).map(Some) } else { Ok(None) }
}

/// A JSON file.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Value> {
    parse(path, &read_text(path, limits)?, limits)
}

/// A JSON file whose outermost value is an object.
pub(crate) fn read_object(path: &Path, limits: &Limits) -> Result<Map<String, Value>> {
    match read(path, limits)? {
        Value::Object(map) => Ok(map),
        _ => Err(Error::malformed(path, "the file", "is not a JSON object")),
    }
}

/// JSON text, refused where it nests deeper than `limits.depth`. `path` is for the messages.
pub(crate) fn parse(path: &Path, text: &str, limits: &Limits) -> Result<Value> {
    check_depth(path, text, limits.depth)?;
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::malformed(path, place, format!("is not sound JSON: {error}"))
    })
}

/// Refuses JSON text that nests too deep or in which an object names a key twice: parsers differ in which one counts.
pub(crate) fn check_unique_keys(path: &Path, text: &str, limits: &Limits) -> Result<()> {
    check_depth(path, text, limits.depth)?;
    serde_json::from_str::<UniqueKeys>(text).map(|_| ()).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::malformed(path, place, format!("is not sound JSON: {error}"))
    })
}

/// Any JSON value whose objects name each key once; its content is not kept.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeysVisitor)
    }
}

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = UniqueKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueKeys, A::Error> {
        while seq.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some((key, _)) = map.next_entry::<String, UniqueKeys>()? {
            if let Some(twice) = keys.replace(key) {
                return Err(serde::de::Error::custom(format!(
                    "the key `{twice}` stands there twice"
                )));
            }
        }
        Ok(UniqueKeys)
    }
}

/// Counts brackets outside strings; whether they match is the parser's affair.
pub(crate) fn check_depth(path: &Path, text: &str, limit: u32) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    let problem = format!("nests deeper than the limit of {limit}");
                    return Err(Error::malformed(path, format!("byte {offset}"), problem));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_stand_once_at_any_depth() {
        let check = |text| check_unique_keys(Path::new("x.json"), text, &Limits::default());
        check(r#"{"a": {"a": 1}, "b": [{"a": null}, {"a": 2.5}]}"#).unwrap();
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "c": 2, "a": 3}}]"#, "{", "{}}"] {
            check(text).unwrap_err();
        }
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        let limits = Limits::default();
        let path = Path::new("x.json");
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let error = parse(path, &deep, &limits).unwrap_err().to_string();
        assert!(error.contains("byte 64") && error.contains("deeper"), "{error}");
        let text = format!("[\"{}\\\"[\"]", "[".repeat(100));
        assert!(parse(path, &text, &limits).is_ok());
    }

    #[test]
    fn errors_name_the_place() {
        let error = parse(Path::new("c.json"), "{\n \"a\": }", &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("c.json: line 2"), "{error}");
    }
}
