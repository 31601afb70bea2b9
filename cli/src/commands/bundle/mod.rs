//! `mdl bundle`: packages on removable media.

mod create;
mod import;
mod verify;

use mdl_artifact::bundle::Inventory;
use mdl_client::run as transfer;

use super::{local, reach, sign::write};
use crate::{
    args::{Bundle, BundleCommand, BundleInventory},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};

pub(crate) fn run(args: &Bundle, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    match &args.command {
        BundleCommand::Create(args) => create::run(args, settings, printer),
        BundleCommand::Verify(args) => verify::run(args, settings, printer),
        BundleCommand::Import(args) => import::run(args, settings, printer),
        BundleCommand::Inventory(args) => inventory(args, settings, printer),
    }
}

fn inventory(args: &BundleInventory, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let found = match &args.from {
        Some(host) => {
            let (client, watch) = reach::client(&args.reach, settings, printer)?;
            transfer(&*watch, client.inventory(host))?
        }
        None => Inventory::of_layout(&local::open(settings)?)?,
    };
    let text = found.to_text();
    match &args.out {
        Some(path) => {
            write(path, text.as_bytes())?;
            printer.line(format!("inventory   {} blobs in {}", found.blobs.len(), path.display()))
        }
        None => printer.piece(&text),
    }
}

/// Several numbers of volumes, for people.
fn numbers(volumes: impl IntoIterator<Item = u32>) -> String {
    volumes.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}
