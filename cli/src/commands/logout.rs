//! `mdl logout`: credentials are forgotten.

use crate::{
    args::{Logout, Reach},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};

use super::reach;

pub(crate) fn run(args: &Logout, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let (client, _) = reach::client(&Reach::default(), settings, printer)?;
    if client.logout(&args.registry)? {
        printer.line(format!("forgot the credentials for {}", args.registry))
    } else {
        printer.line(format!("there were no credentials for {}", args.registry))
    }
}
