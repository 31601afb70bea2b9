//! `mdl registry retain`: which tags are kept no longer.

use mdl_server::{Config, Outcome, Work};
use serde::Serialize;

use super::{ask, unexpected};
use crate::{args::Retain, failure::Failure, printer::Printer, settings::Settings, table::Table};

/// A tag that went, in the shape of `--json`.
#[derive(Debug, Serialize)]
struct Gone {
    repository: String,
    tag: String,
    digest: String,
    /// When it was set.
    set: String,
}

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Retained {
    version: u32,
    dry_run: bool,
    tags: Vec<Gone>,
}

pub(super) fn run(args: &Retain, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let rules = config.as_ref().map(Config::retaining);
    let mut root = args.root.clone();
    root.root = root.root.or_else(|| config.and_then(|config| config.root));
    if rules.as_ref().is_some_and(mdl_server::config::Retaining::is_empty) {
        printer.warn("the configuration has no [[retention]]: every tag is kept");
    }
    let work = Work::Retain { rules, dry_run: args.dry_run };
    let Outcome::Retained(gone) = ask(&root, settings, &work)? else {
        return Err(unexpected());
    };
    let all = gone.iter().flat_map(|(name, tags)| tags.iter().map(move |it| (name, it)));
    let tags: Vec<Gone> = all
        .map(|(name, it)| Gone {
            repository: name.to_string(),
            tag: it.tag.to_string(),
            digest: it.digest.to_string(),
            set: time(it.updated),
        })
        .collect();
    if args.root.json {
        return printer.json(&Retained { version: 1, dry_run: args.dry_run, tags });
    }
    let count = match tags.len() {
        1 => "1 tag".to_owned(),
        many => format!("{many} tags"),
    };
    if !tags.is_empty() {
        let mut table = Table::new(&["repository", "tag", "set"]);
        for it in tags {
            table.row(vec![it.repository, it.tag, it.set]);
        }
        printer.line(table.text())?;
    }
    let verb = if args.dry_run { "would let go of" } else { "let go of" };
    printer.line(format!("{verb} {count}"))
}

fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}
