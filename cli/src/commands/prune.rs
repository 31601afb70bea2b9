//! `mdl prune`.

use crate::{args::Prune, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Prune, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
