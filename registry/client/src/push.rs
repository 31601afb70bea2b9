//! Sending a package: blobs side by side, then what names them, then what refers to it.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header;
use mdl_store::{Digest, Reference};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    journal::Journal,
    registry::{MANIFESTS, Repository, referrers_tag},
    upload::{self, Blob, Sent},
};

/// A manifest with all that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) blobs: Vec<Blob>,
    /// Manifests of an index, which go first.
    pub(crate) children: Vec<Parcel>,
    /// Manifests that refer to it, which come after.
    pub(crate) referrers: Vec<Parcel>,
}

/// What sending did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// Blobs that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that were taken from another repository of the registry.
    pub mounted: u64,
    /// Blobs that were there.
    pub found: u64,
    /// Manifests that refer to the package and went with it.
    pub referrers: u64,
    /// What the registry says besides: why others do not see the package, for instance.
    pub notes: Vec<String>,
}

/// Notes of one answer.
const NOTES: usize = 16;

/// The text of a warning (RFC 7234, section 5.5: `299 - "text"`).
fn said(warning: &str) -> String {
    let text = warning.split_once('"').map_or(warning, |(_, rest)| rest);
    text.trim_end_matches('"').chars().take(500).collect()
}

impl Parcel {
    /// Every blob once.
    fn all_blobs(&self) -> BTreeMap<&Digest, &Blob> {
        let mut all: BTreeMap<&Digest, &Blob> =
            self.blobs.iter().map(|blob| (&blob.digest, blob)).collect();
        for inner in self.children.iter().chain(&self.referrers) {
            all.extend(inner.all_blobs());
        }
        all
    }
}

/// What sends: a repository, the journal of uploads, and how many go at once.
pub(crate) struct Sender {
    pub(crate) to: Repository,
    pub(crate) journal: Option<Journal>,
    pub(crate) parallel: usize,
}

impl Sender {
    /// Sends a parcel under a tag or its digest.
    ///
    /// # Errors
    /// What the registry says.
    pub(crate) async fn send(
        self: &Arc<Self>,
        parcel: &Parcel,
        reference: &Reference,
    ) -> Result<Pushed> {
        let blobs: Vec<Blob> = parcel.all_blobs().into_values().cloned().collect();
        let progress = &self.to.peer.http.progress;
        progress.expect(blobs.iter().map(|blob| blob.size).sum());
        let mut pushed = Pushed::default();
        // The first request answers for the credentials of all.
        let mut rest = blobs.into_iter();
        if let Some(first) = rest.next() {
            count(&mut pushed, &first, self.blob(&first, false).await?);
        }
        let mut sending = stream::iter(rest)
            .map(|blob| {
                let sender = self.clone();
                tokio::spawn(async move {
                    let sent = sender.blob(&blob, false).await?;
                    Ok::<_, Error>((blob, sent))
                })
            })
            .map(Aborting)
            .buffer_unordered(self.parallel);
        while let Some(ended) = sending.next().await {
            let (blob, sent) = ended.map_err(|_| Error::Interrupted)??;
            count(&mut pushed, &blob, sent);
        }
        drop(sending);
        self.manifests(parcel, reference, &mut pushed).await?;
        Ok(pushed)
    }

    async fn blob(&self, blob: &Blob, anew: bool) -> Result<Sent> {
        upload::send(&self.to, blob, self.journal.as_ref(), anew).await
    }

    fn manifests<'a>(
        &'a self,
        parcel: &'a Parcel,
        reference: &'a Reference,
        pushed: &'a mut Pushed,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            for child in &parcel.children {
                let by_digest = Reference::Digest(child.digest.clone());
                self.manifests(child, &by_digest, pushed).await?;
            }
            self.manifest(parcel, reference, pushed).await?;
            for referrer in &parcel.referrers {
                let by_digest = Reference::Digest(referrer.digest.clone());
                self.manifests(referrer, &by_digest, pushed).await?;
                pushed.referrers += 1;
            }
            Ok(())
        })
    }

    /// Puts a manifest. What the registry then says to lack is sent, whatever it said before.
    async fn manifest(
        &self,
        parcel: &Parcel,
        reference: &Reference,
        pushed: &mut Pushed,
    ) -> Result<()> {
        for last_try in [false, true] {
            let bytes = parcel.bytes.clone();
            let answer = self.to.put_manifest(reference, &parcel.media_type, &parcel.digest, bytes);
            let answer = answer.await?;
            let warnings: Vec<&str> = answer
                .headers()
                .get_all(header::WARNING)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .filter(|text| text.trim_start().starts_with("299"))
                .collect();
            let named = |digest: &Digest| {
                let digest = digest.to_string();
                warnings.iter().any(|text| text.contains(&digest))
            };
            let lacking: Vec<&Blob> =
                parcel.blobs.iter().filter(|blob| named(&blob.digest)).collect();
            if lacking.is_empty() {
                if !parcel.is_signed() && parcel.subject().is_none() {
                    pushed.notes.extend(warnings.iter().take(NOTES).map(|text| said(text)));
                }
                if parcel.subject().is_some() && answer.named("oci-subject").is_none() {
                    self.note_referrer(parcel).await?;
                }
                return Ok(());
            }
            if last_try {
                let what = format!("it still lacks {} after it was sent", lacking[0].digest);
                return Err(Error::broken(answer.place(), what));
            }
            for blob in lacking {
                self.to.peer.http.progress.expect(blob.size);
                count(pushed, blob, self.blob(blob, true).await?);
            }
        }
        Ok(())
    }

    /// For a registry without the referrers API: the index under the tag that the specification gives for it.
    async fn note_referrer(&self, parcel: &Parcel) -> Result<()> {
        let Some(subject) = parcel.subject() else { return Ok(()) };
        let tag = Reference::Tag(referrers_tag(&subject)?);
        let old = self.to.find_manifest(&tag, MANIFESTS).await?;
        let mut entries: Vec<Value> = match &old {
            Some(old) => {
                let index: Value = serde_json::from_slice(&old.bytes).unwrap_or_default();
                index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default()
            }
            None => Vec::new(),
        };
        let ours = parcel.digest.to_string();
        if entries.iter().any(|entry| entry.get("digest").and_then(Value::as_str) == Some(&ours)) {
            return Ok(());
        }
        entries.push(parcel.entry());
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        let bytes = Bytes::from(index.to_string());
        self.to.put_manifest(&tag, media_type, &Digest::of(&bytes), bytes).await?;
        Ok(())
    }
}

impl Parcel {
    fn document(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// What it refers to.
    fn subject(&self) -> Option<Digest> {
        self.document().get("subject")?.get("digest")?.as_str()?.parse().ok()
    }

    /// Whether signatures come after it.
    fn is_signed(&self) -> bool {
        self.referrers.iter().any(|referrer| {
            let document = referrer.document();
            mdl_artifact::trust::is_bundle(document.get("artifactType").and_then(Value::as_str))
        })
    }

    /// How an index of referrers lists it.
    fn entry(&self) -> Value {
        let document = self.document();
        let config = document.get("config").and_then(|config| config.get("mediaType"));
        let mut entry = json!({
            "mediaType": self.media_type,
            "digest": self.digest.to_string(),
            "size": self.bytes.len(),
        });
        if let Some(kind) = document.get("artifactType").or(config) {
            entry["artifactType"] = kind.clone();
        }
        if let Some(annotations) = document.get("annotations") {
            entry["annotations"] = annotations.clone();
        }
        entry
    }
}

fn count(pushed: &mut Pushed, blob: &Blob, sent: Sent) {
    match sent {
        Sent::Found => pushed.found += 1,
        Sent::Mounted => pushed.mounted += 1,
        Sent::Uploaded { resumed } => {
            pushed.sent += 1;
            pushed.sent_bytes += blob.size.saturating_sub(resumed);
        }
    }
}

/// A task that ends with whoever waits for it.
pub(crate) struct Aborting<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Future for Aborting<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
