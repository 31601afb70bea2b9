//! `mdl pull`.

use crate::{args::Pull, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Pull, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
