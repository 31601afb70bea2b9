//! What a manifest names: the links that keep blobs and other manifests alive.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Digest, Error, Limits, Result};

/// Media type, digest and size of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Of its bytes.
    pub size: u64,
}

/// What a manifest or index names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Config and layers that are to be here; those with `urls` or a non-distributable type are not asked for.
    pub blobs: Vec<Descriptor>,
    /// Manifests of an index.
    pub manifests: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// Its `artifactType`, or its config's media type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The media types that have to be what they say.
const KNOWN: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The fields of image manifests and indexes that link to something (OCI image-spec 1.1, Docker schema 2).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Linked>,
    layers: Option<Vec<Linked>>,
    /// Of the artifact manifest that OCI gave up before 1.1.
    blobs: Option<Vec<Linked>>,
    manifests: Option<Vec<Linked>>,
    subject: Option<Linked>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linked {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: i64,
    urls: Option<Vec<String>>,
}

impl Linked {
    fn descriptor(&self) -> Result<Descriptor> {
        let size = u64::try_from(self.size).map_err(|_| {
            Error::ManifestInvalid(format!("{} has the size {}", self.digest, self.size))
        })?;
        Ok(Descriptor { media_type: self.media_type.clone(), digest: self.digest.parse()?, size })
    }

    /// Whether its bytes lie elsewhere on purpose.
    fn foreign(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
            || self.media_type.contains(".nondistributable.")
            || self.media_type.contains(".foreign.")
    }
}

impl Links {
    /// Reads a manifest: an OCI or Docker image manifest or index, told apart by its fields; of other media types, with
    /// nothing that we know in them, nothing is linked.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`] for what is no JSON object, contradicts `media_type`, or names something by no digest;
    /// [`Error::TooLarge`].
    pub fn read(media_type: &str, bytes: &[u8], limits: &Limits) -> Result<Self> {
        if bytes.len() as u64 > limits.manifest_bytes {
            return Err(Error::TooLarge { what: "the manifest", limit: limits.manifest_bytes });
        }
        let known = KNOWN.contains(&media_type);
        check_depth(bytes, limits.json_depth)?;
        // By way of a value: of a field that stands twice, the last counts.
        let parsed = serde_json::from_slice::<serde_json::Value>(bytes)
            .and_then(serde_json::from_value::<Fields>);
        let fields = match parsed {
            Ok(fields) => fields,
            Err(_) if !known => return Ok(Self::default()),
            Err(error) => return Err(Error::ManifestInvalid(error.to_string())),
        };
        if let Some(stated) = fields.media_type.as_deref().filter(|stated| *stated != media_type) {
            return Err(Error::ManifestInvalid(format!(
                "its mediaType is `{stated}`, but it was sent as `{media_type}`"
            )));
        }
        if fields.schema_version == Some(1) {
            return Err(Error::ManifestInvalid("schema version 1 is no longer in use".to_owned()));
        }
        let links = Self::of(&fields)?;
        if links.blobs.len() + links.manifests.len() > limits.descriptors {
            let limit = limits.descriptors as u64;
            return Err(Error::TooLarge { what: "the number of descriptors", limit });
        }
        Ok(links)
    }

    fn of(fields: &Fields) -> Result<Self> {
        let empty = Vec::new();
        let layers = fields.layers.as_ref().or(fields.blobs.as_ref()).unwrap_or(&empty);
        let mut blobs = Vec::new();
        for linked in fields.config.iter().chain(layers) {
            let descriptor = linked.descriptor()?;
            if !linked.foreign() {
                blobs.push(descriptor);
            }
        }
        let manifests = fields.manifests.as_ref().unwrap_or(&empty);
        let config_type = fields.config.as_ref().map(|config| config.media_type.clone());
        let own = fields.artifact_type.clone().filter(|ty| !ty.is_empty());
        Ok(Self {
            blobs,
            manifests: manifests.iter().map(Linked::descriptor).collect::<Result<_>>()?,
            subject: fields.subject.as_ref().map(Linked::descriptor).transpose()?,
            artifact_type: own.or(config_type.filter(|ty| !ty.is_empty())),
            annotations: fields.annotations.clone().unwrap_or_default(),
        })
    }
}

/// Refuses JSON that nests deeper than `limit`, before a parser sees it.
fn check_depth(bytes: &[u8], limit: u32) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return Err(Error::ManifestInvalid(format!("nested deeper than {limit}")));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(media_type: &str, text: &str) -> Result<Links> {
        Links::read(media_type, text.as_bytes(), &Limits::default())
    }

    #[test]
    fn links_are_found_and_foreign_layers_are_not_asked_for() {
        let text = format!(
            r#"{{"schemaVersion":2,"schemaVersion":2,"extra":1,
            "config":{{"mediaType":"a/config","digest":"{DIGEST}","size":0}},
            "layers":[{{"digest":"{DIGEST}","size":0,"urls":["https://example.org"]}}],
            "subject":{{"digest":"{DIGEST}","size":0}},"annotations":{{"a":"b"}}}}"#
        );
        let links = read(KNOWN[0], &text).unwrap();
        assert_eq!(links.blobs.len(), 1);
        assert_eq!(links.artifact_type.as_deref(), Some("a/config"));
        assert!(links.subject.is_some());
        assert_eq!(links.annotations.get("a").map(String::as_str), Some("b"));
    }

    #[test]
    fn what_is_no_manifest_is_refused_only_where_it_says_it_is_one() {
        assert_eq!(read("text/plain", "hello").unwrap(), Links::default());
        assert!(matches!(read(KNOWN[0], "hello"), Err(Error::ManifestInvalid(_))));
        assert!(matches!(read(KNOWN[1], r#"{"mediaType":"a/b"}"#), Err(Error::ManifestInvalid(_))));
        let bad = r#"{"manifests":[{"digest":"sha256:00","size":1}]}"#;
        assert!(read(KNOWN[1], bad).is_err());
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        assert!(matches!(read("a/b", &deep), Err(Error::ManifestInvalid(_))));
    }
}
