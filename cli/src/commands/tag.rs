//! `mdl tag`.

use crate::{args::Tag, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Tag, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
