//! Licences: what a package states, as SPDX has it, and whether that is open.

use serde_json::{Value, json};
use spdx::Expression;

/// Open licences that are not SPDX's, or not OSI's: for data and documents, and for models (OpenMDW).
const OPEN: [&str; 8] = [
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "ODC-By-1.0",
    "PDDL-1.0",
    "OpenMDW-1.0",
];

/// The SPDX identifier of that name, in whatever case it is written: hubs write them in lower case.
fn identifier(name: &str) -> Option<&'static str> {
    let mut all = spdx::identifiers::LICENSES.iter().map(|license| license.name);
    all.find(|id| id.eq_ignore_ascii_case(name))
}

/// An expression, with its identifiers as SPDX writes them.
fn parse(license: &str) -> Option<Expression> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+');
    let mut text = String::with_capacity(license.len());
    let mut rest = license;
    while let Some(first) = rest.chars().next() {
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(end);
        text.push_str(identifier(word).unwrap_or(word));
        rest = after;
    }
    Expression::parse(&text).ok()
}

/// Whether a choice is left of licences that are all accepted; a name that SPDX does not know is asked for as it is.
pub(crate) fn allows(license: &str, accepts: impl Fn(&str) -> bool) -> bool {
    if accepts(license) {
        return true;
    }
    parse(license).is_some_and(|it| it.evaluate(|asked| accepts(&asked.license.to_string())))
}

/// Whether a choice is left of open licences alone: OSI's, FSF's, or those for data and models.
pub(crate) fn is_open(license: &str) -> bool {
    let known = |name: &str| {
        let id = identifier(name).and_then(spdx::license_id);
        id.is_some_and(|id| id.is_osi_approved() || id.is_fsf_free_libre())
    };
    allows(license, |name| known(name) || OPEN.iter().any(|open| open.eq_ignore_ascii_case(name)))
}

/// As CycloneDX lists it: an SPDX identifier, an expression, or a name.
pub(crate) fn listed(license: &str) -> Value {
    if let Some(id) = identifier(license) {
        return json!([{ "license": { "id": id } }]);
    }
    match parse(license) {
        Some(expression) => json!([{ "expression": expression.to_string() }]),
        None => json!([{ "license": { "name": license } }]),
    }
}
