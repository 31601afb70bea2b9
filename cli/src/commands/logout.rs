//! `mdl logout`.

use crate::{args::Logout, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Logout, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
