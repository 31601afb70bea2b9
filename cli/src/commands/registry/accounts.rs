//! `mdl registry user` and `mdl registry key`: who may come, on the registry's own machine.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mdl_server::{
    access::{
        Action,
        accounts::{Accounts, Key},
    },
    audit::{Event, Kind},
};
use serde::Serialize;

use super::root;
use crate::{
    args::{
        KeyAdd, KeyRevoke, RegistryKey, RegistryKeyCommand, Root, User, UserAdd, UserCommand,
        UserRemove,
    },
    commands::{
        login::{piped, typed_twice},
        secret::key_text,
    },
    failure::Failure,
    printer::Printer,
    settings::Settings,
    table::Table,
};

pub(super) fn users(args: &User, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    match &args.command {
        UserCommand::Add(args) => add_user(args, settings, printer),
        UserCommand::Remove(args) => remove_user(args, settings, printer),
        UserCommand::List(args) => list_users(&args.root, settings, printer),
    }
}

pub(super) fn keys(
    args: &RegistryKey,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    match &args.command {
        RegistryKeyCommand::Add(args) => add_key(args, settings, printer),
        RegistryKeyCommand::Revoke(args) => revoke(args, settings, printer),
        RegistryKeyCommand::List(args) => list_keys(&args.root, settings, printer),
    }
}

fn add_user(args: &UserAdd, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder = root(args.root.root.as_deref(), settings)?;
    let password = match (args.no_password, args.password_stdin) {
        (true, _) => None,
        (false, true) => Some(piped()?),
        (false, false) => Some(typed_twice()?),
    };
    let was = Accounts::change(&folder, |accounts| {
        let was = accounts.users.contains_key(&args.name);
        accounts.set_user(&args.name, password.as_deref(), args.admin)?;
        let kind = if was { Kind::AccountChanged } else { Kind::AccountAdded };
        let admin = accounts.users.get(&args.name).is_some_and(|user| user.admin);
        let event = Event::here(kind).text("user", &args.name);
        Ok((was, Some(event.list("rights", admin.then_some("administrator")))))
    })?;
    let what = if was { "changed" } else { "added" };
    let admin = if args.admin { ", an administrator" } else { "" };
    printer.line(format!("{what} the account {}{admin}", args.name))
}

fn remove_user(args: &UserRemove, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder = root(args.root.root.as_deref(), settings)?;
    let removed = Accounts::change(&folder, |accounts| {
        let own = accounts.keys.iter().filter(|(_, key)| key.user == args.name);
        let keys: Vec<String> = own.map(|(identifier, _)| identifier.clone()).collect();
        let was = accounts.remove_user(&args.name);
        let event = Event::here(Kind::AccountRemoved).text("user", &args.name);
        Ok((was, was.then(|| event.list("keys", keys))))
    })?;
    if !removed {
        return Err(Failure::new(format!("there is no account `{}`", args.name)));
    }
    printer.line(format!("removed the account {} and its keys", args.name))
}

/// An account in a list.
#[derive(Debug, Serialize)]
struct UserRow {
    name: String,
    admin: bool,
    password: bool,
    keys: usize,
}

fn list_users(args: &Root, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let accounts = Accounts::read(&root(args.root.as_deref(), settings)?)?;
    let keys = |name: &str| accounts.keys.values().filter(|key| key.user == name).count();
    let rows: Vec<UserRow> = accounts
        .users
        .iter()
        .map(|(name, user)| UserRow {
            name: name.clone(),
            admin: user.admin,
            password: user.password.is_some(),
            keys: keys(name),
        })
        .collect();
    if args.json {
        return printer.json(&rows);
    }
    let mut table = Table::new(&["account", "administrator", "password", ">keys"]);
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    for row in rows {
        table.row(vec![row.name, word(row.admin), word(row.password), row.keys.to_string()]);
    }
    printer.line(table.text())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// A new key, the shape of `--json`.
#[derive(Debug, Serialize)]
struct NewKey {
    identifier: String,
    key: String,
    user: String,
    expires: Option<String>,
}

fn add_key(args: &KeyAdd, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder = root(args.root.root.as_deref(), settings)?;
    let expires = args.expires.as_ref().map(|span| now().saturating_add(span.0.as_secs()));
    let action = |name: &String| match name.as_str() {
        "pull" => Action::Pull,
        "push" => Action::Push,
        _ => Action::Delete,
    };
    let key = Key {
        user: args.user.clone(),
        sha256: String::new(),
        ollama: None,
        expires,
        repositories: args.repository.clone(),
        actions: args.action.iter().map(action).collect(),
    };
    if let Some(path) = &args.ollama {
        let line = key_text(path)?;
        let identifier = Accounts::change(&folder, |accounts| {
            let event = added(&key);
            let identifier = accounts.add_ollama(key, &line)?;
            let event = event.text("identifier", &identifier).text("of", "Ollama");
            Ok((identifier, Some(event)))
        })?;
        return printer.line(format!("registered the Ollama key {identifier} of {}", args.user));
    }
    let (identifier, key) = Accounts::change(&folder, |accounts| {
        let event = added(&key);
        let (identifier, secret) = accounts.add_key(key)?;
        let event = event.text("identifier", &identifier);
        Ok(((identifier, secret), Some(event)))
    })?;
    let report = NewKey { identifier, key, user: args.user.clone(), expires: expires.map(day) };
    if args.root.json {
        return printer.json(&report);
    }
    printer.line(format!(
        "key         {}\nidentifier  {}\naccount     {}\nexpires     {}\n\nit is shown this once",
        report.key,
        report.identifier,
        report.user,
        report.expires.as_deref().unwrap_or("never"),
    ))
}

/// What the audit log says of a new key.
fn added(key: &Key) -> Event {
    let event = Event::here(Kind::KeyAdded).text("user", &key.user);
    let event = event.list("repositories", &key.repositories);
    let event = event.list("actions", key.actions.iter().map(|it| it.name()));
    event.list("expires", key.expires.map(day))
}

fn day(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn revoke(args: &KeyRevoke, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder: &Path = &root(args.root.root.as_deref(), settings)?;
    let was = Accounts::change(folder, |accounts| {
        let was = accounts.keys.remove(&args.identifier);
        let event = was.as_ref().map(|key| {
            let event = Event::here(Kind::KeyRevoked).text("user", &key.user);
            event.text("identifier", &args.identifier)
        });
        Ok((was, event))
    })?;
    match was {
        Some(key) => printer.line(format!("revoked the key {} of {}", args.identifier, key.user)),
        None => Err(Failure::new(format!("there is no key `{}`", args.identifier))
            .hint("`mdl registry key list` shows identifiers")),
    }
}

/// A key in a list.
#[derive(Debug, Serialize)]
struct KeyRow {
    identifier: String,
    user: String,
    expires: Option<String>,
    expired: bool,
    repositories: Vec<String>,
    actions: Vec<Action>,
}

fn list_keys(args: &Root, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let accounts = Accounts::read(&root(args.root.as_deref(), settings)?)?;
    let row = |(identifier, key): (&String, &Key)| KeyRow {
        identifier: identifier.clone(),
        user: key.user.clone(),
        expires: key.expires.map(day),
        expired: key.expires.is_some_and(|expires| expires <= now()),
        repositories: key.repositories.clone(),
        actions: key.actions.clone(),
    };
    let rows: Vec<KeyRow> = accounts.keys.iter().map(row).collect();
    if args.json {
        return printer.json(&rows);
    }
    let mut table = Table::new(&["key", "account", "expires", "repositories", "actions"]);
    for row in rows {
        let expires = row.expires.unwrap_or_else(|| "never".to_owned());
        let expires = if row.expired { format!("{expires}, is over") } else { expires };
        let actions: Vec<&str> = row.actions.iter().map(|it| it.name()).collect();
        let all = |text: String| if text.is_empty() { "all".to_owned() } else { text };
        let (places, actions) = (all(row.repositories.join(", ")), all(actions.join(", ")));
        table.row(vec![row.identifier, row.user, expires, places, actions]);
    }
    printer.line(table.text())
}
