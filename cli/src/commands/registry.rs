//! `mdl registry`.

use crate::{args::Registry, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Registry, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
