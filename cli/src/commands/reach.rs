//! Reaching registries: the client that flags and settings ask for.

use std::sync::{Arc, atomic::Ordering};

use mdl_artifact::ModelRef;
use mdl_client::{Address, Client, Options, Progress};

use crate::{
    args::Reach,
    failure::Failure,
    printer::Printer,
    progress::{INTERRUPTED, Transfer, stop_on_interrupt},
    settings::Settings,
};

/// Small requests: nothing is shown, and Ctrl-C stops them.
struct Quiet(Printer);

impl Progress for Quiet {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn skip(&self, _: u64) {}
    fn undo(&self, _: u64) {}
    fn note(&self, text: &str) {
        self.0.note(text);
    }
    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// A client for small requests, and who watches it.
pub(crate) fn client(
    reach: &Reach,
    settings: &Settings,
    printer: Printer,
) -> Result<(Client, Arc<dyn Progress>), Failure> {
    let watch: Arc<dyn Progress> = Arc::new(Quiet(printer));
    Ok((watched(reach, settings, Arc::clone(&watch))?, watch))
}

/// A client that moves weights, and the progress that it shows.
pub(crate) fn transfers(
    reach: &Reach,
    settings: &Settings,
    printer: Printer,
) -> Result<(Client, Arc<Transfer>), Failure> {
    let shown = Arc::new(Transfer::new(printer));
    let watch: Arc<dyn Progress> = Arc::clone(&shown) as Arc<dyn Progress>;
    Ok((watched(reach, settings, watch)?, shown))
}

fn watched(
    reach: &Reach,
    settings: &Settings,
    watch: Arc<dyn Progress>,
) -> Result<Client, Failure> {
    stop_on_interrupt()?;
    let mut options = Options::default();
    options.plain_http = reach.plain_http;
    options.ca.clone_from(&reach.ca);
    options.parallel = usize::from(reach.parallel);
    options.home.clone_from(&settings.home);
    options.progress = watch;
    Ok(Client::new(options)?)
}

/// Where a reference that names a registry leads.
pub(crate) fn address(reference: &ModelRef) -> Result<Address, Failure> {
    let whole = reference.clone().or_latest();
    let (Some(host), Some(reference)) = (whole.host, whole.reference) else {
        return Err(Failure::new(format!("{reference} names no registry"))
            .hint("write host/name:tag, or set `registry` in config.toml")
            .status(Failure::USAGE));
    };
    Ok(Address { host, name: whole.name, reference })
}
