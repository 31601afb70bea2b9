//! `mdl inspect`: what a model is, from its headers or its manifest alone.

mod model;
mod package;
mod words;

use crate::{
    args::Inspect,
    failure::Failure,
    model_argument::{self, Argument},
    printer::Printer,
    settings::Settings,
};

pub(crate) fn run(args: &Inspect, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    if args.local {
        return package::local(args, settings, printer);
    }
    match model_argument::read(&args.model)? {
        Argument::Path(path) => model::run(&path, &path.display().to_string(), args, printer),
        Argument::Reference(reference) => {
            let full = reference.full(settings.registry.as_deref());
            if full.host.is_some() {
                package::remote(&full, args, settings, printer)
            } else {
                package::local(args, settings, printer)
            }
        }
    }
}
