//! `mdl push`.

use crate::{args::Push, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Push, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
