//! `mdl login`.

use crate::{args::Login, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Login, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
