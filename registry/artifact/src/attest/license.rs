//! Licences: what a package states, as SPDX has it, and whether that is open.

use serde_json::{Value, json};
use spdx::{Expression, ParseMode};

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

/// Whether an expression leaves a choice of open licences alone: OSI's, FSF's, or those for data and models.
pub(super) fn is_open(license: &str) -> bool {
    if OPEN.iter().any(|open| open.eq_ignore_ascii_case(license)) {
        return true;
    }
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else { return false };
    expression.evaluate(|asked| match asked.license.id() {
        Some(id) => id.is_osi_approved() || id.is_fsf_free_libre() || OPEN.contains(&id.name),
        None => false,
    })
}

/// As CycloneDX lists it: an SPDX identifier, an expression, or a name.
pub(super) fn listed(license: &str) -> Value {
    if let Some(id) =
        spdx::license_id(license).or_else(|| spdx::imprecise_license_id(license).map(|(id, _)| id))
        && id.name.eq_ignore_ascii_case(license)
    {
        return json!([{ "license": { "id": id.name } }]);
    }
    match Expression::parse_mode(license, ParseMode::STRICT) {
        Ok(_) => json!([{ "expression": license }]),
        Err(_) => json!([{ "license": { "name": license } }]),
    }
}
