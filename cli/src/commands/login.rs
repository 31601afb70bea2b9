//! `mdl login`: credentials for a registry, tried before they are kept.

use std::io::{IsTerminal as _, Read as _, stdin};

use mdl_client::{LoggedIn, run as transfer};

use super::reach;
use crate::{args::Login, failure::Failure, printer::Printer, settings::Settings};

/// Bytes of a password.
const PASSWORD_BYTES: u64 = 16 << 10;

pub(crate) fn run(args: &Login, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let user = match &args.username {
        Some(user) => user.clone(),
        None => asked(printer)?,
    };
    let password = if args.password_stdin { piped()? } else { typed()? };
    if user.is_empty() || password.is_empty() {
        return Err(Failure::new("neither the user name nor the password may be empty")
            .status(Failure::USAGE));
    }
    let (client, watch) = reach::client(&args.reach, settings, printer)?;
    let accepted = transfer(&*watch, client.login(&args.registry, &user, &password))?;
    match accepted {
        LoggedIn::Accepted => printer.line(format!("logged in to {} as {user}", args.registry)),
        LoggedIn::NotAsked => printer.line(format!(
            "{} asks nobody for credentials; those of {user} are kept",
            args.registry
        )),
    }
}

fn needs_terminal(what: &str) -> Failure {
    Failure::new(format!("no {what} was given, and there is no terminal to ask for it"))
        .hint("give --username NAME --password-stdin")
        .status(Failure::USAGE)
}

fn asked(printer: Printer) -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(needs_terminal("user name"));
    }
    printer.ask("user name: ");
    let mut line = String::new();
    stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::new(format!("cannot read the user name: {error}")))?;
    Ok(line.trim().to_owned())
}

/// A new password, asked for twice.
pub(crate) fn typed_twice() -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask for the password")
            .hint("give --password-stdin")
            .status(Failure::USAGE));
    }
    let first = typed()?;
    let again = rpassword::prompt_password("once more: ")
        .map_err(|error| Failure::new(format!("cannot read the password: {error}")))?;
    if again != first {
        return Err(Failure::new("the two passwords differ: nothing is changed"));
    }
    Ok(first)
}

fn typed() -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(needs_terminal("password"));
    }
    rpassword::prompt_password("password: ")
        .map_err(|error| Failure::new(format!("cannot read the password: {error}")))
}

/// A password from standard input.
pub(crate) fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    stdin()
        .take(PASSWORD_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("cannot read the password: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
