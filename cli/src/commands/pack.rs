//! `mdl pack`.

use crate::{args::Pack, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Pack, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let _ = (args, settings, printer);
    Err(Failure::new("being built"))
}
