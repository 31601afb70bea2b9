//! `mdl remove`.

use crate::{args::Remove, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Remove, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
