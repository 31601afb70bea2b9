//! Where Jinja in Python writes values otherwise than elsewhere: truth, nothing, JSON.

use std::fmt::Write as _;

use minijinja::{
    Error, ErrorKind, Output, State, Value,
    value::{Kwargs, ValueKind},
};

/// Writes a printed value: `True`, `False` and `None` as Python spells them.
pub(super) fn print(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let word = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(word).map_err(Error::from)
}

/// Whether a value can be looped over: not so for nothing, which minijinja takes as an empty list.
pub(super) fn is_iterable(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Iterable
    )
}

/// `json.dumps`: nothing escaped for HTML, a space after `,` and `:`, or lines with `indent`.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's signature of filters")]
pub(super) fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sorted: Option<bool> = options.get("sort_keys")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    let wrong = |problem: String| Error::new(ErrorKind::InvalidOperation, problem);
    let mut json = serde_json::to_value(value).map_err(|error| wrong(error.to_string()))?;
    if sorted == Some(true) {
        json.sort_all_objects();
    }
    let indent = match indent {
        Some(indent) if indent > 64 => return Err(wrong(format!("indent of {indent}"))),
        other => other,
    };
    let usual = if indent.is_some() { [",", ": "] } else { [", ", ": "] };
    let [mut item, mut key] = usual.map(str::to_owned);
    if let Some(given) = separators
        && let [given_item, given_key] = &given[..]
    {
        item.clone_from(given_item);
        key.clone_from(given_key);
    }
    let mut out = String::new();
    Writer { indent, item, key, ascii: ascii == Some(true) }.value(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

struct Writer {
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
}

impl Writer {
    fn value(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        match value {
            serde_json::Value::Array(items) => {
                self.list('[', ']', items.iter(), depth, out, |item, out| {
                    self.value(item, depth + 1, out);
                });
            }
            serde_json::Value::Object(map) => {
                self.list('{', '}', map.iter(), depth, out, |(key, value), out| {
                    self.string(key, out);
                    out.push_str(&self.key);
                    self.value(value, depth + 1, out);
                });
            }
            serde_json::Value::String(text) => self.string(text, out),
            other => out.push_str(&other.to_string()),
        }
    }

    fn list<T>(
        &self,
        open: char,
        close: char,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        out: &mut String,
        mut write: impl FnMut(T, &mut String),
    ) {
        let count = items.len();
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = self.indent
                && count > 0
            {
                out.push('\n');
                out.push_str(&" ".repeat(indent * depth));
            }
        };
        out.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push_str(&self.item);
            }
            line(depth + 1, out);
            write(item, out);
        }
        line(depth, out);
        out.push(close);
    }

    fn string(&self, text: &str, out: &mut String) {
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ascii {
            out.push_str(&quoted);
            return;
        }
        for c in quoted.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}
