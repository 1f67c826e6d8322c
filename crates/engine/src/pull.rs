//! Pulling images, and whose fault it is where that fails.

use crate::credentials::Login;
use crate::engine::Engine;
use crate::error::{Error, is_out_of_space};
use bollard::errors::Error as ClientError;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_reconcile::memory::FailureClass;
use windlass_types::image::ImageReference;

/// How a pull goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullSettings {
    /// How long it may bring nothing before it has failed.
    pub stall: Duration,
}

/// How far a pull is, over the layers that are known so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that came.
    pub done: u64,
    /// Bytes that are to come altogether.
    pub total: u64,
}

impl Engine {
    /// Pulls an image. A pull whose future is dropped is given up by the engine.
    ///
    /// # Errors
    /// [`Error::Pull`] with its class; [`Error::Away`] where the engine went away.
    pub async fn pull(
        &self,
        image: &ImageReference,
        login: Option<&Login>,
        settings: PullSettings,
        mut tell: impl FnMut(Progress) + Send,
    ) -> Result<(), Error> {
        let version = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        };
        let options = CreateImageOptionsBuilder::default()
            .from_image(image.name())
            .tag(version)
            .build();
        let client = self.client().await?;
        let mut lines = client
            .create_image(Some(options), None, login.map(Login::to_client))
            .boxed();
        let mut layers = BTreeMap::new();
        loop {
            match tokio::time::timeout(settings.stall, lines.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(line))) => {
                    if let Some(progress) = count(&mut layers, line) {
                        tell(progress);
                    }
                }
                Ok(Some(Err(error))) => {
                    let error = failure(image, &error);
                    self.note(&error).await;
                    return Err(error);
                }
                Err(_) => {
                    return Err(Error::Pull {
                        class: FailureClass::Registry,
                        message: format!(
                            "{image}: nothing came for {} s",
                            settings.stall.as_secs()
                        ),
                    });
                }
            }
        }
    }
}

fn count(layers: &mut BTreeMap<String, (u64, u64)>, line: CreateImageInfo) -> Option<Progress> {
    let layer = line.id?;
    // Unpacking counts from the beginning again; what came, came.
    if line.status.as_deref() != Some("Downloading") {
        return None;
    }
    let detail = line.progress_detail?;
    let bytes = |count: Option<i64>| {
        count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0)
    };
    layers.insert(layer, (bytes(detail.current), bytes(detail.total)));
    Some(
        layers
            .values()
            .fold(Progress::default(), |sum, (done, total)| Progress {
                done: sum.done + done,
                total: sum.total + total,
            }),
    )
}

/// Errors of a registry come as the answer's status (often 404, whatever happened) or as a line of the
/// stream: only the words tell.
fn failure(image: &ImageReference, error: &ClientError) -> Error {
    let (status, words) = match error {
        ClientError::DockerResponseServerError {
            status_code,
            message,
        } => (Some(*status_code), message.trim()),
        ClientError::DockerStreamError { error } => (None, error.trim()),
        other => return Error::of("pull image", other),
    };
    let class = class(status, words);
    let mut message = format!("{image}: {words}");
    if let Some(hint) = hint(words) {
        message.push_str("; ");
        message.push_str(hint);
    }
    Error::Pull { class, message }
}

/// Whose fault it is. What nobody knows is taken for the registry's: it is tried again and changes
/// nothing that runs.
fn class(status: Option<u16>, words: &str) -> FailureClass {
    let words = words.to_ascii_lowercase();
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if is_out_of_space(&words) {
        FailureClass::Disk
    } else if matches!(status, Some(401 | 403))
        || says(&[
            "unauthorized",
            "authentication required",
            "no basic auth credentials",
            "access denied",
            "denied:",
            "403 forbidden",
            "401 unauthorized",
            "incorrect username or password",
        ])
    {
        FailureClass::Auth
    } else if says(&[
        "manifest unknown",
        "manifest for ",
        "no matching manifest",
        "name unknown",
        "blob unknown",
        "does not match the specified platform",
        "does not match the detected host platform",
        "filesystem layer verification failed",
        "invalid reference format",
        "unsupported manifest",
        "mediatype in manifest",
        "failed to register layer",
        "invalid checksum digest",
        "image operating system",
    ]) {
        FailureClass::Pull
    } else {
        FailureClass::Registry
    }
}

/// What an operator can do about it, where the engine's words leave that open.
fn hint(words: &str) -> Option<&'static str> {
    if words.contains("server gave HTTP response to HTTPS client") {
        Some(
            "whether a registry may be spoken to without TLS is the engine's own setting: \
             add it to insecure-registries in /etc/docker/daemon.json",
        )
    } else if words.contains("certificate signed by unknown authority") {
        Some(
            "which certificates are trusted is the engine's own setting: \
             put the authority's into /etc/docker/certs.d/<registry>/ca.crt",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureClass::{Auth, Disk, Pull, Registry};

    #[test]
    fn the_words_of_engines_tell_whose_fault_a_failed_pull_is() {
        for (status, words, meant) in [
            (
                Some(404),
                "pull access denied for a/b, repository does not exist or may require 'docker login'",
                Auth,
            ),
            (
                Some(500),
                "Get \"http://r/v2/\": unauthorized: authentication required",
                Auth,
            ),
            (
                Some(500),
                "Head \"http://r\": no basic auth credentials",
                Auth,
            ),
            (
                Some(404),
                "manifest for r:5000/app@sha256:aa not found: manifest unknown: manifest unknown",
                Pull,
            ),
            (
                None,
                "no matching manifest for linux/amd64 in the manifest list entries",
                Pull,
            ),
            (
                None,
                "filesystem layer verification failed for digest sha256:1",
                Pull,
            ),
            (
                None,
                "write /var/lib/docker/tmp/x: no space left on device",
                Disk,
            ),
            (
                None,
                "failed to register layer: Error processing tar file(exit status 1): \
                 write /x: no space left on device",
                Disk,
            ),
            (
                Some(500),
                "Get \"http://r/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
                Registry,
            ),
            (None, "unexpected EOF", Registry),
            (
                Some(500),
                "toomanyrequests: You have reached your pull rate limit",
                Registry,
            ),
            (Some(500), "what nobody has seen before", Registry),
        ] {
            assert_eq!(class(status, words), meant, "{words}");
        }
    }

    #[test]
    fn a_registry_without_tls_is_told_to_be_the_engines_setting() {
        let error = failure(
            &"r:5000/app:v1".parse().unwrap(),
            &ClientError::DockerResponseServerError {
                status_code: 500,
                message:
                    "Get \"https://r:5000/v2/\": http: server gave HTTP response to HTTPS client"
                        .to_owned(),
            },
        );
        assert!(error.to_string().contains("insecure-registries"), "{error}");
    }

    #[test]
    fn progress_is_summed_over_layers_and_unpacking_does_not_begin_again() {
        let mut layers = BTreeMap::new();
        let line = |id: &str, status: &str, current| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(bollard::models::ProgressDetail {
                current: Some(current),
                total: Some(10),
            }),
            ..Default::default()
        };
        count(&mut layers, line("a", "Downloading", 10));
        let sum = count(&mut layers, line("b", "Downloading", 3));
        assert_eq!(
            sum,
            Some(Progress {
                done: 13,
                total: 20
            })
        );
        assert_eq!(count(&mut layers, line("a", "Extracting", 1)), None);
    }
}
