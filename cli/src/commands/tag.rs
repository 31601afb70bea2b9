//! `mdl tag`: a further reference for a package of the local store.

use super::local;
use crate::{args::Tag, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Tag, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let target = local::name(&args.target, settings)?;
    let layout = local::open(settings)?;
    let found = local::find(&layout, &args.source, settings)?;
    let digest = found.manifest.digest.to_string();
    layout.set_reference(&target, found.manifest)?;
    printer.line(format!("{target} is {digest}"))
}
