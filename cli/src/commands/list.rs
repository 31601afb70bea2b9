//! `mdl list`.

use crate::{args::List, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &List, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
