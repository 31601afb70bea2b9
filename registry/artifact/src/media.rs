//! Media types and annotation keys.

/// An OCI image manifest, which also carries artifacts.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The config of an artifact that has none.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What an [`EMPTY`] blob holds.
pub const EMPTY_BYTES: &[u8] = b"{}";

/// Docker's image manifest, the only one that Ollama takes.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image config, which Ollama's config blobs are called too.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// `artifactType` of a ModelPack manifest.
pub const MODEL_MANIFEST: &str = "application/vnd.cncf.model.manifest.v1+json";
/// A ModelPack config.
pub const MODEL_CONFIG: &str = "application/vnd.cncf.model.config.v1+json";
/// Weights, as they are.
pub const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";
/// What a program needs beside the weights: configuration, tokenizer.
pub const WEIGHT_CONFIG: &str = "application/vnd.cncf.model.weight.config.v1.raw";
/// Texts for people: card, licence.
pub const DOC: &str = "application/vnd.cncf.model.doc.v1.raw";
/// Programs.
pub const CODE: &str = "application/vnd.cncf.model.code.v1.raw";
/// Data.
pub const DATASET: &str = "application/vnd.cncf.model.dataset.v1.raw";
/// What the types of all ModelPack layers begin with.
pub const MODEL_PREFIX: &str = "application/vnd.cncf.model.";

/// A quantization recipe, as a referrer.
pub const RECIPE: &str = "application/vnd.mdl.recipe.v1+toml";
/// An evaluation report, as a referrer.
pub const EVALUATION: &str = "application/vnd.mdl.evaluation.v1+json";

/// A bill of materials, as a referrer.
pub const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
/// A Sigstore bundle: a signature or attestation, as a referrer.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What the types of bundles of all versions begin with.
pub const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// What the types of Ollama's layers begin with.
pub const OLLAMA_PREFIX: &str = "application/vnd.ollama.image.";
/// What the types of Docker Model Runner's layers and configs begin with.
pub const DOCKER_AI_PREFIX: &str = "application/vnd.docker.ai.";
/// What the types of KitOps' layers and configs begin with.
pub const KITOPS_PREFIX: &str = "application/vnd.kitops.modelkit.";

/// A layer's file name, with `/` between parts.
pub const FILEPATH: &str = "org.cncf.model.filepath";
/// A layer's file name to other tools; a package's title.
pub const TITLE: &str = "org.opencontainers.image.title";
/// SPDX licence expression.
pub const LICENSES: &str = "org.opencontainers.image.licenses";
/// Where a package's contents come from.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// Which revision there.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// What our own annotations begin with.
pub const MDL_PREFIX: &str = "org.mdl.";
