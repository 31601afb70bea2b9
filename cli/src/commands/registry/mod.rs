//! `mdl registry`: serves models, and looks after what it keeps.

mod accounts;
mod audit;
mod retain;

use std::path::{Path, PathBuf};

use mdl_server::{Config, Outcome, Outputs, Server, Work, config::explain};
use serde::Serialize;

use crate::{
    args::{Registry, RegistryCommand, Root, Serve},
    failure::Failure,
    printer::{self, Printer},
    settings::Settings,
    units::Size,
};

pub(crate) fn run(args: &Registry, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    match &args.command {
        RegistryCommand::Serve(args) => serve(args, settings, printer),
        RegistryCommand::Gc(args) => {
            let work = Work::Collect { dry_run: args.dry_run };
            let found = ask(&args.root, settings, &work)?;
            collected(&found, args.dry_run, args.root.json, printer)
        }
        RegistryCommand::Retain(args) => retain::run(args, settings, printer),
        RegistryCommand::Scrub(args) => {
            let found = ask(&args.root, settings, &Work::Scrub)?;
            scrubbed(&found, args.root.json, printer)
        }
        RegistryCommand::Stats(args) => {
            let outcome = ask(&args.root, settings, &Work::Stats)?;
            counted(&outcome, args.root.json, printer)
        }
        RegistryCommand::Backup(args) => {
            let to = std::path::absolute(&args.to)
                .map_err(|error| Failure::new(format!("{}: {error}", args.to.display())))?;
            let found = ask(&args.root, settings, &Work::Backup { to })?;
            copied("backed up", &found, args.root.json, printer)
        }
        RegistryCommand::Restore(args) => {
            let found =
                mdl_server::restore(&root(args.root.root.as_deref(), settings)?, &args.from)?;
            copied("restored", &Outcome::Found(found), args.root.json, printer)
        }
        RegistryCommand::User(args) => accounts::users(args, settings, printer),
        RegistryCommand::Key(args) => accounts::keys(args, settings, printer),
        RegistryCommand::Audit(args) => audit::run(args, settings, printer),
        RegistryCommand::CheckConfig(args) => {
            let config = Config::read(&args.file)?;
            config.check_files()?;
            for line in explain(&config) {
                printer.line(line)?;
            }
            Ok(())
        }
    }
}

/// The folder with a registry's data.
fn root(named: Option<&Path>, settings: &Settings) -> Result<PathBuf, Failure> {
    let default = || settings.home.as_ref().map(|home| home.join("registry"));
    named.map(Path::to_owned).or_else(default).ok_or_else(|| {
        Failure::new("there is no folder for the registry's data: HOME is not set")
            .hint("name one with --root")
            .status(Failure::USAGE)
    })
}

fn serve(args: &Serve, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let configured = || -> mdl_server::Result<Config> {
        let mut config = match &args.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if let Some(listen) = &args.listen {
            config.listen.clone_from(listen);
        }
        if args.root.is_some() {
            config.root.clone_from(&args.root);
        }
        Ok(config)
    };
    let mut config = configured()?;
    let folder = root(config.root.as_deref(), settings)?;
    config.root = Some(folder.clone());
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let again = || {
        let mut config = configured()?;
        config.root.get_or_insert_with(|| folder.clone());
        Ok(config)
    };
    let ready = |server: &Server| {
        for address in server.addresses() {
            printer.note(format!("serving {} at {scheme}://{address}", folder.display()));
        }
        printer.note(match server.accounts() {
            None => "there are no accounts: only this machine is served, and may do everything"
                .to_owned(),
            Some(1) => "there is 1 account: whoever comes is asked who they are".to_owned(),
            Some(count) => {
                format!("there are {count} accounts: whoever comes is asked who they are")
            }
        });
    };
    let outputs = Outputs { out: printer::standard_output, err: printer::standard_error };
    Ok(mdl_server::serve(config, outputs, &again, &ready)?)
}

fn ask(args: &Root, settings: &Settings, work: &Work) -> Result<Outcome, Failure> {
    Ok(mdl_server::ask(&root(args.root.as_deref(), settings)?, work)?)
}

/// The shape of `gc --json`.
#[derive(Debug, Serialize)]
struct Collected {
    version: u32,
    dry_run: bool,
    blobs: u64,
    bytes: u64,
    manifests: u64,
}

fn collected(
    outcome: &Outcome,
    dry_run: bool,
    json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let Outcome::Found(found) = outcome else { return Err(unexpected()) };
    let (blobs, bytes, manifests) = (found.bad_blobs, found.bad_bytes, found.bad_manifests);
    if json {
        return printer.json(&Collected { version: 1, dry_run, blobs, bytes, manifests });
    }
    let verb = if dry_run { "would delete" } else { "deleted" };
    printer.line(format!("{verb} {blobs} blobs, {}, and {manifests} manifests", Size(bytes)))
}

/// The shape of `scrub --json`.
#[derive(Debug, Serialize)]
struct Scrubbed<'a> {
    version: u32,
    blobs: u64,
    bytes: u64,
    bad_blobs: u64,
    bad_manifests: u64,
    problems: &'a [String],
}

fn scrubbed(outcome: &Outcome, json: bool, printer: Printer) -> Result<(), Failure> {
    let Outcome::Found(found) = outcome else { return Err(unexpected()) };
    if json {
        printer.json(&Scrubbed {
            version: 1,
            blobs: found.blobs,
            bytes: found.bytes,
            bad_blobs: found.bad_blobs,
            bad_manifests: found.bad_manifests,
            problems: &found.problems,
        })?;
    } else {
        for problem in &found.problems {
            printer.line(problem)?;
        }
        printer.line(format!("read {} blobs, {}", found.blobs, Size(found.bytes)))?;
    }
    if found.problems.is_empty() {
        return Ok(());
    }
    let count = found.problems.len();
    let what = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    Err(Failure::new(format!("{what} in what the registry keeps"))
        .hint("push again what is damaged, or restore a backup")
        .status(Failure::REFUSED))
}

/// The shape of `stats --json`.
#[derive(Debug, Serialize)]
struct Counted<'a> {
    version: u32,
    blobs: u64,
    bytes: u64,
    manifests: u64,
    tags: u64,
    uploads: u64,
    quotas: Vec<QuotaUsed<'a>>,
}

/// How far a quota is used up.
#[derive(Debug, Serialize)]
struct QuotaUsed<'a> {
    prefix: &'a str,
    limit: u64,
    bytes: u64,
}

impl<'a> QuotaUsed<'a> {
    fn of(used: &'a mdl_store::Used) -> Self {
        let (prefix, limit) = (used.quota.prefix.as_str(), used.quota.bytes);
        Self { prefix, limit, bytes: used.bytes }
    }
}

fn counted(outcome: &Outcome, json: bool, printer: Printer) -> Result<(), Failure> {
    let Outcome::Stats(stats, used) = outcome else { return Err(unexpected()) };
    if json {
        return printer.json(&Counted {
            version: 1,
            blobs: stats.blobs,
            bytes: stats.bytes,
            manifests: stats.manifests,
            tags: stats.tags,
            uploads: stats.uploads,
            quotas: used.iter().map(QuotaUsed::of).collect(),
        });
    }
    printer.line(format!("blobs      {} ({})", stats.blobs, Size(stats.bytes)))?;
    printer.line(format!("manifests  {}", stats.manifests))?;
    printer.line(format!("tags       {}", stats.tags))?;
    printer.line(format!("uploads    {} under way", stats.uploads))?;
    for it in used {
        let place = if it.quota.prefix.is_empty() { "all" } else { it.quota.prefix.as_str() };
        let (held, limit) = (Size(it.bytes), Size(it.quota.bytes));
        printer.line(format!("quota      {held} of {limit} in {place}"))?;
    }
    Ok(())
}

/// The shape of `backup --json` and `restore --json`.
#[derive(Debug, Serialize)]
struct Copied<'a> {
    version: u32,
    blobs: u64,
    bytes: u64,
    problems: &'a [String],
}

fn copied(verb: &str, outcome: &Outcome, json: bool, printer: Printer) -> Result<(), Failure> {
    let Outcome::Found(found) = outcome else { return Err(unexpected()) };
    let (blobs, bytes) = (found.blobs, found.bytes);
    if json {
        let problems = &found.problems;
        return printer.json(&Copied { version: 1, blobs, bytes, problems });
    }
    for problem in &found.problems {
        printer.warn(problem);
    }
    printer.line(format!("{verb} {blobs} blobs, {}", Size(bytes)))
}

/// What a server of another version might answer.
fn unexpected() -> Failure {
    Failure::new("the registry answered something else than was asked for")
}
