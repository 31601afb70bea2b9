//! Packages and documents of a local store.

use mdl_store::{Descriptor, layout::Layout};

use super::Package;
use crate::{Error, Limits, Result};

/// Bytes of a config that is looked at: it may state the licence.
pub const CONFIG_BYTES: u64 = 4 << 20;

impl Package {
    /// A package of a local store: what its manifest says and, where that is at hand and small, its config.
    ///
    /// # Errors
    /// [`Error::Store`] for a manifest that lacks or is broken.
    pub fn of_layout(layout: &Layout, manifest: &Descriptor) -> Result<Self> {
        let bytes = layout.manifest(&manifest.digest)?;
        let small = |config: &Descriptor| layout.small_blob(&config.digest, CONFIG_BYTES).ok();
        Ok(Self::with_config(&manifest.media_type, &bytes, small))
    }

    /// As [`Package::read`], with the config that is got for its descriptor.
    pub fn with_config(
        media_type: &str,
        manifest: &[u8],
        config: impl FnOnce(&Descriptor) -> Option<Vec<u8>>,
    ) -> Self {
        let package = Self::read(media_type, manifest, None);
        match package.config.as_ref().and_then(config) {
            Some(config) => Self::read(media_type, manifest, Some(&config)),
            None => package,
        }
    }
}

/// What a referrer of a local store holds as its first layer: a document, or a bundle.
///
/// # Errors
/// [`Error::Store`], [`Error::Signature`] where it holds none.
pub fn stored_document(layout: &Layout, referrer: &Descriptor) -> Result<Vec<u8>> {
    let bytes = layout.manifest(&referrer.digest)?;
    let package = Package::read(&referrer.media_type, &bytes, None);
    let layer = package.layers.first();
    let layer = layer.ok_or_else(|| Error::Signature("its manifest has no layer".to_owned()))?;
    Ok(layout.small_blob(&layer.descriptor.digest, Limits::default().document_bytes as u64)?)
}
