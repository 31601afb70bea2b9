//! `mdl completions`.

use clap::CommandFactory;

use crate::{
    args::{Cli, Completions},
    failure::Failure,
    printer::Printer,
};

pub(crate) fn run(args: &Completions, printer: Printer) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mdl", &mut script);
    printer.piece(&String::from_utf8_lossy(&script))
}
