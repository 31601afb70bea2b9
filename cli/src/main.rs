//! The program: arguments, one file per command, progress, tables and JSON.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod args;
mod commands;
mod failure;
mod model_argument;
mod printer;
mod progress;
mod settings;
mod table;
mod units;

use args::{Cli, Command};
use failure::Failure;
use printer::Printer;
use settings::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.global.verbose);
    let printer = Printer::new(cli.global.quiet);
    match dispatch(&cli, printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.exit_status() != 0 {
                printer::write_err(&failure.to_string());
            }
            ExitCode::from(failure.exit_status())
        }
    }
}

fn dispatch(cli: &Cli, printer: Printer) -> Result<(), Failure> {
    let settings = Settings::resolve(&cli.global)?;
    match &cli.command {
        Command::Inspect(args) => commands::inspect::run(args, &settings, printer),
        Command::Convert(args) => commands::convert::run(args, &settings, printer),
        Command::Quantize(args) => commands::quantize::run(args, &settings, printer),
        Command::Eval(args) => commands::eval::run(args, &settings, printer),
        Command::Run(args) => commands::run::run(args, &settings, printer),
        Command::Pack(args) => commands::pack::run(args, &settings, printer),
        Command::Push(args) => commands::push::run(args, &settings, printer),
        Command::Pull(args) => commands::pull::run(args, &settings, printer),
        Command::Copy(args) => commands::copy::run(args, &settings, printer),
        Command::List(args) => commands::list::run(args, &settings, printer),
        Command::Tag(args) => commands::tag::run(args, &settings, printer),
        Command::Remove(args) => commands::remove::run(args, &settings, printer),
        Command::Prune(args) => commands::prune::run(args, &settings, printer),
        Command::Login(args) => commands::login::run(args, &settings, printer),
        Command::Logout(args) => commands::logout::run(args, &settings, printer),
        Command::Key(args) => commands::key::run(args, printer),
        Command::Sign(args) => commands::sign::run(args, &settings, printer),
        Command::Verify(args) => commands::verify::run(args, &settings, printer),
        Command::Attest(args) => commands::attest::run(args, &settings, printer),
        Command::Sbom(args) => commands::sbom::run(args, &settings, printer),
        Command::Openness(args) => commands::openness::run(args, &settings, printer),
        Command::Rebuild(args) => commands::rebuild::run(args, &settings, printer),
        Command::Trust(args) => commands::trust::run(args, &settings, printer),
        Command::Bundle(args) => commands::bundle::run(args, &settings, printer),
        Command::Registry(args) => commands::registry::run(args, &settings, printer),
        Command::Completions(args) => commands::completions::run(args, printer),
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
