//! What both kinds of reports say alike.

use mdl_artifact::TypeShare;

use crate::{table::Table, units::Size};

/// How much of a model is stored in which type.
pub(super) fn type_table(types: &[TypeShare]) -> String {
    let mut table = Table::new(&["type", ">tensors", ">parameters", ">size"]);
    for share in types {
        let size = Size(share.bytes).to_string();
        table.row(vec![share.ty.clone(), share.tensors.to_string(), count(share.parameters), size]);
    }
    table.text()
}

/// A number of parameters as people say it.
pub(super) fn count(parameters: u64) -> String {
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => format!("{:.1} K", parameters as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        _ => format!("{:.2} B", parameters as f64 / 1e9),
    }
}
