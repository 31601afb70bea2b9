//! What the commands on the local store share: opening it, finding what a reference means, telling what a package is.

use mdl_artifact::{
    ModelRef, Package,
    signing::{PREDICATE_TYPE, referrer_name},
};
use mdl_store::{Descriptor, Digest, Reference, Referrer, layout::Layout};
use serde::Serialize;

use crate::{failure::Failure, settings::Settings};

/// The local store, made if there is none.
pub(crate) fn open(settings: &Settings) -> Result<Layout, Failure> {
    let home = settings.home.as_deref().ok_or_else(|| {
        Failure::new("there is no folder for the local store: HOME is not set")
            .hint("name one with --home or MDL_HOME")
    })?;
    Ok(Layout::open(&home.join("store"))?)
}

/// A reference as the user wrote it, with the registry of the settings where it names none.
pub(crate) fn parse(text: &str, settings: &Settings) -> Result<ModelRef, Failure> {
    let reference: ModelRef = text.parse()?;
    Ok(reference.full(settings.registry.as_deref()))
}

/// A name to give to a package: a tag, `latest` where none is named.
pub(crate) fn name(text: &str, settings: &Settings) -> Result<String, Failure> {
    let reference = parse(text, settings)?;
    if reference.digest().is_some() {
        return Err(Failure::new(format!(
            "`{text}` names a digest, and a package is named by a tag"
        ))
        .hint("write for instance team/model:Q4_K_M")
        .status(Failure::USAGE));
    }
    Ok(reference.local_key())
}

/// A package of the local store.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What the store calls it.
    pub(crate) key: String,
    pub(crate) manifest: Descriptor,
}

/// What a reference means in the local store.
pub(crate) fn find(layout: &Layout, text: &str, settings: &Settings) -> Result<Found, Failure> {
    let hint = "`mdl list` shows what is there, `mdl pull` fetches from a registry";
    search(layout, text, settings)?.ok_or_else(|| {
        Failure::new(format!("the local store holds no package `{text}`")).hint(hint)
    })
}

/// As [`find`]; `None` where the store does not hold it.
pub(crate) fn search(
    layout: &Layout,
    text: &str,
    settings: &Settings,
) -> Result<Option<Found>, Failure> {
    let bare: ModelRef = text.parse()?;
    let full = bare.clone().full(settings.registry.as_deref());
    // What was packed before a registry was set is found by its bare name.
    match look_up(layout, &full)? {
        Some(found) => Ok(Some(found)),
        None => look_up(layout, &bare),
    }
}

fn look_up(layout: &Layout, reference: &ModelRef) -> Result<Option<Found>, Failure> {
    let Some(Reference::Digest(digest)) = &reference.reference else {
        let key = reference.local_key();
        return Ok(layout.reference(&key)?.map(|manifest| Found { key, manifest }));
    };
    // A digest is held under whatever name the same repository has it by.
    let repository = ModelRef { reference: None, ..reference.clone() }.to_string();
    let same = |key: &str| {
        key.parse::<ModelRef>()
            .is_ok_and(|it| ModelRef { reference: None, ..it }.to_string() == repository)
    };
    let mut all = layout.references()?.into_iter();
    let found = all.find(|(key, manifest)| manifest.digest == *digest && same(key));
    Ok(found.map(|(_, manifest)| Found { key: reference.to_string(), manifest }))
}

/// What a manifest in the local store says, with its config.
pub(crate) fn package(layout: &Layout, manifest: &Descriptor) -> Result<Package, Failure> {
    Ok(Package::of_layout(layout, manifest)?)
}

/// A referrer as reports show it.
#[derive(Debug, Serialize)]
pub(crate) struct ReferrerRow {
    pub(crate) kind: Option<String>,
    /// Of a signature or attestation: what it claims to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) predicate: Option<String>,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

impl ReferrerRow {
    pub(crate) fn of(referrer: &Referrer) -> Self {
        Self {
            kind: referrer.artifact_type.clone(),
            predicate: referrer.annotations.get(PREDICATE_TYPE).cloned(),
            digest: referrer.descriptor.digest.to_string(),
            size: referrer.descriptor.size,
        }
    }
}

/// What a referrer is called.
pub(crate) fn referrer_label(row: &ReferrerRow) -> &str {
    referrer_name(row.kind.as_deref(), row.predicate.as_deref())
}

/// The beginning of a digest, for tables.
pub(crate) fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
