//! What was found with a package: its manifest and all that is signed about it.

use mdl_store::{Descriptor, Digest, Name, Tag, layout::Layout};

use super::Policy;
use crate::{
    Package, Result, media,
    signing::{Bundle, SignedFiles},
    stored_document,
};

/// Bundles of one package that are looked at.
const BUNDLES: usize = 1_000;

/// What a judgement is made from. Nothing in it is believed before a signature says so, but that the package has
/// this digest.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What it is called where it is to be used, without the host.
    pub repository: Name,
    /// The tag that was asked for; none where it was a digest.
    pub tag: Option<Tag>,
    /// The manifest; its digest was checked.
    pub manifest: Descriptor,
    /// What the manifest says.
    pub package: Package,
    /// Signatures and attestations that refer to it.
    pub bundles: Vec<Bundle>,
    /// Those that could not be read.
    pub problems: Vec<String>,
}

impl Evidence {
    /// A package without signatures so far.
    pub fn new(repository: Name, tag: Option<Tag>, manifest: Descriptor, package: Package) -> Self {
        Self { repository, tag, manifest, package, bundles: Vec::new(), problems: Vec::new() }
    }

    /// Takes up a bundle; one that cannot be read is a problem, and counts for nothing.
    pub fn add(&mut self, digest: &Digest, bytes: &[u8]) {
        match Bundle::read(bytes) {
            Ok(bundle) => self.bundles.push(bundle),
            Err(error) => self.problems.push(format!("{digest}: {error}")),
        }
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.bundles.len() + self.problems.len() < BUNDLES
    }

    /// The signature over the package's files that is to lie beside them: one by a key that a policy trusts before others.
    pub fn model_signature(&self, policy: Option<&Policy>) -> Option<&Bundle> {
        let files = SignedFiles::of_package(&self.package).ok()?.files;
        let is_over_them =
            |it: &&Bundle| SignedFiles::read(it.unverified()).is_ok_and(|it| it.files == files);
        let fitting = || self.bundles.iter().filter(is_over_them);
        let signers = policy.map(Policy::signers).unwrap_or_default();
        let trusted =
            |it: &&Bundle| signers.iter().any(|(named, _)| it.verify(&named.key).is_some());
        fitting().find(trusted).or_else(|| fitting().next())
    }

    /// Of a package in a local store.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn of_layout(
        layout: &Layout,
        manifest: &Descriptor,
        repository: Name,
        tag: Option<Tag>,
    ) -> Result<Self> {
        let package = Package::of_layout(layout, manifest)?;
        let mut found = Self::new(repository, tag, manifest.clone(), package);
        for referrer in layout.referrers(&manifest.digest)? {
            if !is_bundle(referrer.artifact_type.as_deref()) || !found.has_room() {
                continue;
            }
            let digest = &referrer.descriptor.digest;
            match stored_document(layout, &referrer.descriptor) {
                Ok(bytes) => found.add(digest, &bytes),
                Err(error) => found.problems.push(format!("{digest}: {error}")),
            }
        }
        Ok(found)
    }
}

/// Whether a referrer of that type is a bundle; older versions of the format are named likewise.
pub fn is_bundle(artifact_type: Option<&str>) -> bool {
    artifact_type.is_some_and(|it| it.starts_with(media::BUNDLE_PREFIX))
}
