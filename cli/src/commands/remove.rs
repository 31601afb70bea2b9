//! `mdl remove`: references leave the local store; what nothing leads to any more stays until `mdl prune`.

use super::local;
use crate::{args::Remove, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Remove, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let layout = local::open(settings)?;
    // All are looked up before the first goes.
    let mut keys = Vec::new();
    for text in &args.references {
        let found = local::find(&layout, text, settings)?;
        if layout.reference(&found.key)?.is_none() {
            return Err(Failure::new(format!(
                "`{text}` names a digest: remove the references to it"
            ))
            .hint("`mdl list` shows them")
            .status(Failure::USAGE));
        }
        keys.push(found.key);
    }
    for key in keys {
        layout.remove_reference(&key)?;
        printer.line(format!("removed {key}"))?;
    }
    Ok(())
}
