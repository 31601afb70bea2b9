//! What refers to a manifest.

use mdl_store::{Digest, Name, Referrer};
use serde_json::{Map, Value, json};

use super::{Answer, json, page::Page, set};
use crate::app::Call;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Bytes of a page: clients take manifests of four MiB.
const PAGE_BYTES: usize = 3 << 20;

/// `GET /v2/NAME/referrers/DIGEST`
pub(super) async fn list(call: &Call, repo: Name, subject: Digest) -> Answer {
    let page = Page::of(call)?;
    let wanted = call.parameter("artifactType").filter(|wanted| !wanted.is_empty());
    let found = call.blocking(move |store| store.referrers(&repo, &subject)).await?;
    let mut entries = Vec::new();
    let (mut bytes, mut last) = (0, None);
    let mut more = false;
    for referrer in found {
        let digest = referrer.descriptor.digest.to_string();
        let fits = wanted.is_none() || wanted == referrer.artifact_type;
        if !fits || page.after.as_ref().is_some_and(|after| digest <= *after) {
            continue;
        }
        let entry = entry(referrer);
        let size = entry.to_string().len();
        if entries.len() >= page.limit || !entries.is_empty() && bytes + size > PAGE_BYTES {
            more = true;
            break;
        }
        bytes += size;
        entries.push(entry);
        last = Some(digest);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let mut answer = json(&index, INDEX);
    if wanted.is_some() {
        set(&mut answer, "oci-filters-applied", "artifactType");
    }
    if let Some(last) = last.filter(|_| more) {
        page.link(call, &mut answer, &last);
    }
    Ok(answer)
}

fn entry(referrer: Referrer) -> Value {
    let Referrer { descriptor, artifact_type, annotations } = referrer;
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), descriptor.media_type.into());
    entry.insert("digest".to_owned(), descriptor.digest.to_string().into());
    entry.insert("size".to_owned(), descriptor.size.into());
    if let Some(artifact_type) = artifact_type {
        entry.insert("artifactType".to_owned(), artifact_type.into());
    }
    if !annotations.is_empty() {
        entry.insert("annotations".to_owned(), json!(annotations));
    }
    Value::Object(entry)
}
