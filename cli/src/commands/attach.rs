//! Where a package is that something is to be attached to: on the registry that its reference names, in the local store,
//! or both.

use std::sync::Arc;

use mdl_artifact::{ModelRef, Package, attest::Material, pack::ReferrerPackage};
use mdl_client::{Address, Client, Progress, run as transfer};
use mdl_store::{Descriptor, layout::Layout};

use super::{local, reach};
use crate::{args::Reach, failure::Failure, printer::Printer, settings::Settings};

/// A package, and the places that hold it.
pub(crate) struct Target {
    /// What it is called.
    pub(crate) reference: ModelRef,
    pub(crate) manifest: Descriptor,
    pub(crate) package: Package,
    registry: Option<(Client, Arc<dyn Progress>, Address)>,
    layout: Option<Layout>,
}

/// Finds a package on the registry that its reference names and in the local store.
pub(crate) fn find(
    text: &str,
    reach: &Reach,
    settings: &Settings,
    printer: Printer,
) -> Result<Target, Failure> {
    let reference = local::parse(text, settings)?.or_latest();
    let layout = local::open(settings)?;
    let here = local::search(&layout, text, settings)?;
    let there = match &reference.host {
        None => None,
        Some(_) => match remote(&reference, reach, settings, printer) {
            Ok(found) => found,
            // Whoever signs before pushing need not reach the registry.
            Err(failure) if here.is_some() => {
                printer.warn(format!("{}; the local store alone is changed", failure.message()));
                None
            }
            Err(failure) => return Err(failure),
        },
    };
    let (manifest, package) = match (&here, &there) {
        (Some(here), Some((_, manifest, _))) if here.manifest.digest != manifest.digest => {
            return Err(Failure::new(format!(
                "{reference} is {} on the registry and {} in the local store",
                manifest.digest, here.manifest.digest
            ))
            .hint("push or pull first, or name one by its digest: NAME@sha256:…"));
        }
        (_, Some((_, manifest, package))) => (manifest.clone(), package.clone()),
        (Some(here), None) => (here.manifest.clone(), local::package(&layout, &here.manifest)?),
        (None, None) => {
            let place = match &reference.host {
                Some(host) => format!("neither {host} nor the local store has"),
                None => "the local store does not have".to_owned(),
            };
            return Err(Failure::new(format!("{place} {reference}"))
                .hint("`mdl list` shows what is there, `mdl pull` fetches from a registry"));
        }
    };
    Ok(Target {
        reference,
        manifest,
        package,
        registry: there.map(|(place, _, _)| place),
        layout: here.map(|_| layout),
    })
}

type Remote = ((Client, Arc<dyn Progress>, Address), Descriptor, Package);

fn remote(
    reference: &ModelRef,
    reach: &Reach,
    settings: &Settings,
    printer: Printer,
) -> Result<Option<Remote>, Failure> {
    let address = reach::address(reference)?;
    let (client, watch) = reach::client(reach, settings, printer)?;
    let Some(found) = transfer(&*watch, client.find_manifest(&address))? else { return Ok(None) };
    let manifest = Descriptor {
        media_type: found.media_type.clone(),
        digest: found.digest.clone(),
        size: found.bytes.len() as u64,
    };
    let package = Package::read(&found.media_type, &found.bytes, None);
    Ok(Some(((client, watch, address), manifest, package)))
}

impl Target {
    /// What attestations of it are made from.
    pub(crate) fn material(&self) -> Result<Material, Failure> {
        let tag = self.reference.tag().map(ToString::to_string);
        let name = self.reference.name.as_str();
        match (&self.registry, &self.layout) {
            (Some((client, watch, address)), _) => {
                Ok(transfer(&**watch, client.material(address))?)
            }
            (None, Some(layout)) => Ok(Material::of_layout(layout, &self.manifest, name, tag)?),
            (None, None) => {
                Ok(Material::new(name, tag, self.manifest.clone(), self.package.clone()))
            }
        }
    }

    /// Puts referrers wherever the package is; gives the places.
    pub(crate) fn put(&self, referrers: &[ReferrerPackage]) -> Result<Vec<String>, Failure> {
        let mut places = Vec::new();
        if let Some((client, watch, address)) = &self.registry {
            transfer(&**watch, client.attach(address, referrers))?;
            places.push(address.host.clone());
        }
        if let Some(layout) = &self.layout {
            for referrer in referrers {
                for blob in referrer.blobs.iter().chain([&referrer.manifest]) {
                    layout.put_bytes(&blob.bytes)?;
                }
                layout.add_referrer(referrer.manifest.descriptor())?;
            }
            places.push("the local store".to_owned());
        }
        Ok(places)
    }
}
