//! How much room a pull takes, asked before it begins.
//!
//! Engines do not tell the size of what they have not pulled, so the registry is asked: with the credentials of the
//! pull, and without TLS where the engine itself would do without. What cannot be found out is left open: the reserve
//! alone guards the disk then.

use super::Docker;
use std::path::Path;
use std::time::Duration;
use windlass_engine::{Info, Login};
use windlass_registry::{Credentials, Layer, Options, Registry};
use windlass_types::image::ImageReference;
use windlass_types::oci::Platform;

/// How long the registry may take to tell, and the engine what it has of that. The registry has just told the engine the
/// platforms, so it is there.
const LIMIT: Duration = Duration::from_secs(20);
/// Where engines look for a registry's authority.
const AUTHORITIES: &str = "/etc/docker/certs.d";
/// What a layer takes that is not packed: the copy that came, and what is made of it.
const UNPACKED: u64 = 2;

impl Docker {
    /// The bytes that a pull takes on the disk; none where that cannot be told.
    pub(super) async fn room(&self, image: &ImageReference, login: Option<&Login>) -> Option<u64> {
        if self.unpack_factor == 0 {
            return None;
        }
        let info = self.info().await.ok()?;
        let asked = async {
            let layers = layers(image, login, &info, self).await?;
            let shared = self.shared(&layers).await;
            Ok::<_, String>((layers, shared))
        };
        let (layers, shared) = match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ok(told)) => told,
            Ok(Err(reason)) => {
                tracing::info!(%image, reason, "its size is not known before it is pulled");
                return None;
            }
            Err(_late) => {
                tracing::info!(%image, "its size is not known in time");
                return None;
            }
        };
        let bytes = takes(&layers, shared, self.unpack_factor);
        tracing::debug!(%image, bytes, layers = layers.len(), "its size is known");
        Some(bytes)
    }

    /// How many of the lowest layers an image of the engine has already. Layers build upon one another: one
    /// that lies on others counts as another one.
    async fn shared(&self, layers: &[Layer]) -> usize {
        let mut most = 0;
        for known in self.engine.images().await.unwrap_or_default() {
            let Ok(Some(image)) = self.engine.image(&known.id).await else {
                continue;
            };
            let same = layers
                .iter()
                .zip(&image.layers)
                .take_while(|(layer, content)| layer.content.as_ref() == Some(content))
                .count();
            most = most.max(same);
        }
        most
    }
}

async fn layers(
    image: &ImageReference,
    login: Option<&Login>,
    info: &Info,
    docker: &Docker,
) -> Result<Vec<Layer>, String> {
    let host = image.repository().registry().to_owned();
    let version = match (image.digest(), image.tag()) {
        (Some(digest), _) => digest.as_str(),
        (None, tag) => tag.unwrap_or("latest"),
    };
    let mut options = Options {
        timeout: Some(LIMIT),
        ..Options::default()
    };
    match login {
        Some(Login::Password { name, password }) => {
            let credentials = Credentials {
                user: name.clone(),
                password: password.clone(),
            };
            options.credentials.insert(host.clone(), credentials);
        }
        // Tokens are read where they are kept.
        Some(Login::IdentityToken(_) | Login::RegistryToken(_)) => {
            options
                .docker_config
                .clone_from(&docker.credentials.docker_config);
        }
        None => {}
    }
    let authority = Path::new(AUTHORITIES).join(&host).join("ca.crt");
    if authority.is_file() {
        options.ca_files.insert(host.clone(), authority);
    }
    let choose = |platforms: &[Platform]| chosen(platforms, &info.platform);
    if info.plain.has(&host) {
        let plain = Options {
            http_hosts: [host].into(),
            ..options.clone()
        };
        if let Ok(layers) = ask(image, version, plain, choose).await {
            return Ok(layers);
        }
    }
    ask(image, version, options, choose).await
}

/// Made for the one question: between two pulls nothing of it is kept in memory.
async fn ask(
    image: &ImageReference,
    version: &str,
    options: Options,
    choose: impl Fn(&[Platform]) -> Option<usize> + Send,
) -> Result<Vec<Layer>, String> {
    // A second provider is no error.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let registry = Registry::new(options).map_err(|error| error.to_string())?;
    registry
        .layers(image.repository(), version, choose)
        .await
        .map_err(|error| error.to_string())
}

/// The image that an engine takes of an index: its own kind, of its own variant where there is one.
fn chosen(platforms: &[Platform], engine: &str) -> Option<usize> {
    let exact = platforms.iter().position(|p| p.to_string() == engine);
    let kind = |p: &Platform| format!("{}/{}", p.os, p.architecture);
    let of_kind = |p: &Platform| engine == kind(p) || engine.starts_with(&format!("{}/", kind(p)));
    exact
        .or_else(|| platforms.iter().position(of_kind))
        .or_else(|| {
            platforms
                .iter()
                .position(|p| super::fetch::can_run(&p.to_string(), engine))
        })
}

/// What layers take but the lowest ones, which are there already.
fn takes(layers: &[Layer], there: usize, factor: u64) -> u64 {
    layers.iter().skip(there).fold(0, |sum: u64, layer| {
        let times = if layer.packed { factor } else { UNPACKED };
        sum.saturating_add(layer.bytes.saturating_mul(times))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_takes_its_own_variant_of_an_index_or_what_it_can_run() {
        let platform = |text: &str| {
            let mut parts = text.split('/').map(str::to_owned);
            Platform {
                os: parts.next().unwrap(),
                architecture: parts.next().unwrap(),
                variant: parts.next(),
            }
        };
        let index = [
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64/v8",
        ]
        .map(platform);
        for (engine, at) in [
            ("linux/amd64", Some(0)),
            ("linux/arm/v7", Some(2)),
            ("linux/arm/v6", Some(1)),
            ("linux/arm64", Some(3)),
            ("linux/riscv64", None),
        ] {
            assert_eq!(chosen(&index, engine), at, "{engine}");
        }
        // A processor of 64 bits takes what is for 32 where there is nothing else.
        let index = ["linux/arm/v7"].map(platform);
        assert_eq!(chosen(&index, "linux/arm64"), Some(0));
    }

    #[test]
    fn what_is_there_takes_nothing_and_what_is_packed_takes_more() {
        let layer = |bytes, packed| Layer {
            bytes,
            packed,
            content: None,
        };
        let layers = [layer(1000, true), layer(10, true), layer(5, false)];
        assert_eq!(takes(&layers, 0, 3), 3000 + 30 + 10);
        assert_eq!(takes(&layers, 1, 3), 30 + 10);
        assert_eq!(takes(&layers, 3, 3), 0);
        assert_eq!(takes(&[layer(u64::MAX, true)], 0, 3), u64::MAX);
    }
}
