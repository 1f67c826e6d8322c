//! What the registry holds, and what it tells of it.

use super::{Notify, RegistryError};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use windlass_types::image::Digest;

/// The media type of an image manifest (OCI image spec, manifest.md).
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const NOTIFICATION_TYPE: &str = "application/vnd.docker.distribution.events.v2+json";

/// The configuration of an image with these contents.
pub(super) fn config(contents: &str) -> Vec<u8> {
    json!({"architecture": "amd64", "os": "linux", "config": {"Labels": {"contents": contents}},
           "rootfs": {"type": "layers", "diff_ids": []}})
    .to_string()
    .into_bytes()
}

/// The manifest of an image with these contents.
pub(super) fn manifest(contents: &str) -> Vec<u8> {
    let config = config(contents);
    json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE,
           "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                      "digest": digest(&config), "size": config.len()},
           "layers": []})
    .to_string()
    .into_bytes()
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A stored manifest.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By repository and digest.
    manifests: BTreeMap<(String, String), Manifest>,
    /// By repository and tag: the digest.
    tags: BTreeMap<(String, String), String>,
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Shelf {
    host: String,
    client: reqwest::Client,
    notify: Mutex<Option<Notify>>,
    kept: Mutex<Kept>,
}

impl Shelf {
    pub(super) fn new(host: String, client: reqwest::Client, notify: Option<Notify>) -> Self {
        Self {
            host,
            client,
            notify: Mutex::new(notify),
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify_to(&self, notify: Notify) {
        *self.notify.lock().unwrap_or_else(PoisonError::into_inner) = Some(notify);
    }

    pub(super) fn keep_blob(&self, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        self.kept().blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(super) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.kept().blobs.get(digest).cloned()
    }

    /// A manifest by tag or digest, with its digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Manifest)> {
        let kept = self.kept();
        let digest = if reference.starts_with("sha256:") {
            reference.to_owned()
        } else {
            kept.tags
                .get(&(repository.to_owned(), reference.to_owned()))?
                .clone()
        };
        let manifest = kept
            .manifests
            .get(&(repository.to_owned(), digest.clone()))?
            .clone();
        Some((digest, manifest))
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        self.kept()
            .tags
            .keys()
            .filter(|(name, _)| name == repository)
            .map(|(_, tag)| tag.clone())
            .collect()
    }

    /// Stores a manifest under a tag or its digest and tells the webhook.
    pub(super) async fn push(
        &self,
        repository: &str,
        reference: &str,
        media_type: String,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError> {
        let size = bytes.len();
        let text = digest(&bytes);
        let by_digest = reference.starts_with("sha256:");
        if by_digest && reference != text {
            return Err(RegistryError::Invalid(format!(
                "the manifest is {text}, not {reference}"
            )));
        }
        {
            let mut kept = self.kept();
            let manifest = Manifest {
                media_type: media_type.clone(),
                bytes,
            };
            kept.manifests
                .insert((repository.to_owned(), text.clone()), manifest);
            if !by_digest {
                kept.tags
                    .insert((repository.to_owned(), reference.to_owned()), text.clone());
            }
        }
        let tag = (!by_digest).then_some(reference);
        self.tell(repository, tag, &media_type, &text, size).await?;
        text.parse()
            .map_err(|error| RegistryError::Invalid(format!("{error}")))
    }

    /// Notification format: <https://distribution.github.io/distribution/about/notifications/>.
    async fn tell(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        digest: &str,
        size: usize,
    ) -> Result<(), RegistryError> {
        let notify = self
            .notify
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(notify) = notify else {
            return Ok(());
        };
        let mut target = json!({
            "mediaType": media_type, "digest": digest, "size": size, "length": size,
            "repository": repository,
            "url": format!("http://{}/v2/{repository}/manifests/{digest}", self.host),
        });
        if let Some(tag) = tag {
            target["tag"] = json!(tag);
        }
        let body = json!({"events": [{
            "id": uuid::Uuid::new_v4(),
            "timestamp": chrono::Utc::now(),
            "action": "push",
            "target": target,
            "request": {"id": uuid::Uuid::new_v4(), "addr": "127.0.0.1", "host": self.host,
                        "method": "PUT", "useragent": "windlass-simulator"},
            "actor": {"name": "simulator"},
            "source": {"addr": self.host, "instanceID": uuid::Uuid::nil()},
        }]});
        let mut request = self
            .client
            .post(&notify.url)
            .header("content-type", NOTIFICATION_TYPE)
            .body(body.to_string());
        if let Some(authorization) = &notify.authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(RegistryError::Refused {
            status: status.as_u16(),
            body: answer.text().await.unwrap_or_default(),
        })
    }
}
