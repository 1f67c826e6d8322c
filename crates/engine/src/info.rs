//! What an engine says of itself.

use crate::engine::{Engine, QUICK};
use crate::error::Error;
use bollard::models::RegistryServiceConfig;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Docker's own.
    Docker,
    /// Podman, which speaks most of the API.
    Podman,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Whose it is.
    pub kind: Kind,
    /// Its version, for people.
    pub version: String,
    /// The version of the API that was agreed upon.
    pub api: String,
    /// `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
    pub platform: String,
    /// Folders in which it keeps images, on its own machine.
    pub storage: Vec<PathBuf>,
    /// Cores.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The registries that it speaks to without TLS.
    pub plain: Plain,
}

/// The registries that an engine may speak to without TLS, or without knowing their certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plain {
    hosts: BTreeSet<String>,
    /// Addresses and how many of their leading bits count.
    networks: Vec<(IpAddr, u8)>,
}

impl Plain {
    fn of(config: RegistryServiceConfig) -> Self {
        let network = |text: &String| {
            let (address, bits) = text.split_once('/')?;
            Some((address.parse().ok()?, bits.parse().ok()?))
        };
        let indices = config.index_configs.into_iter().flatten();
        Self {
            hosts: indices
                .filter(|(_, index)| index.secure == Some(false))
                .map(|(host, _)| host)
                .collect(),
            networks: config
                .insecure_registry_cidrs
                .iter()
                .flatten()
                .filter_map(network)
                .collect(),
        }
    }

    /// Whether a registry (`host:port`) is one of them. Of those by network, only ones that are named by their
    /// address are known: names are not resolved.
    #[must_use]
    pub fn has(&self, registry: &str) -> bool {
        if self.hosts.contains(registry) {
            return true;
        }
        let host = match registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            Some(_) | None => registry,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let Ok(address) = host.parse::<IpAddr>() else {
            return false;
        };
        self.networks
            .iter()
            .any(|(network, bits)| is_within(address, *network, *bits))
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    // Compared from the front: what is shifted out at the back does not count.
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let differs = one.to_bits() ^ other.to_bits();
            differs
                .checked_shr(32_u32.saturating_sub(bits.into()))
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let differs = one.to_bits() ^ other.to_bits();
            differs
                .checked_shr(128_u32.saturating_sub(bits.into()))
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl Engine {
    /// What the engine says of itself.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn info(&self) -> Result<Info, Error> {
        let version = self
            .call("version", QUICK, async |docker| docker.version().await)
            .await?;
        let info = self
            .call("info", QUICK, async |docker| docker.info().await)
            .await?;
        let api = self.client().await?.client_version().to_string();
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|part| part.name.to_ascii_lowercase().contains("podman"));
        // Podman and a foreign `version` may be short of words; `info` has the kernel's.
        let os = first([version.os, info.os_type]).unwrap_or_else(|| "linux".to_owned());
        let machine = info.architecture.as_deref().unwrap_or_default();
        let arch = first([version.arch])
            .filter(|arch| arch != "arm")
            .unwrap_or_else(|| machine.to_owned());
        let mut storage: Vec<PathBuf> = info.docker_root_dir.iter().map(PathBuf::from).collect();
        let by_containerd = info
            .driver_status
            .iter()
            .flatten()
            .flatten()
            .any(|word| word.contains("io.containerd.snapshotter"));
        if by_containerd {
            storage.push(PathBuf::from("/var/lib/containerd"));
        }
        Ok(Info {
            kind: if podman { Kind::Podman } else { Kind::Docker },
            version: version.version.unwrap_or_default(),
            api,
            platform: format!("{os}/{}", architecture(&arch)),
            storage,
            cpus: info
                .ncpu
                .and_then(|count| u64::try_from(count).ok())
                .unwrap_or(0),
            memory_bytes: info
                .mem_total
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0),
            plain: info.registry_config.map(Plain::of).unwrap_or_default(),
        })
    }
}

fn first<const N: usize>(texts: [Option<String>; N]) -> Option<String> {
    texts.into_iter().flatten().find(|text| !text.is_empty())
}

/// The images' word for what a kernel calls itself.
fn architecture(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "i386" | "i486" | "i586" | "i686" => "386",
        "aarch64" | "aarch64_be" => "arm64",
        "armv7l" | "armv7" | "armhf" | "armv8l" => "arm/v7",
        "armv6l" | "armv6" | "armel" => "arm/v6",
        "armv5l" | "armv5tel" => "arm/v5",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_be_spoken_to_plainly_by_name_or_by_network() {
        let plain = Plain {
            hosts: ["registry.lan:5000".to_owned()].into(),
            networks: vec![
                ("127.0.0.0".parse().unwrap(), 8),
                ("10.1.2.0".parse().unwrap(), 23),
                ("fd00::".parse().unwrap(), 8),
            ],
        };
        for (registry, expected) in [
            ("registry.lan:5000", true),
            ("registry.lan", false),
            ("127.0.0.1:5000", true),
            ("localhost:5000", true),
            ("10.1.3.9", true),
            ("10.1.4.9", false),
            ("[fd00::1]:5000", true),
            ("[fe00::1]:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(plain.has(registry), expected, "{registry}");
        }
    }

    #[test]
    fn kernels_words_become_the_images_words() {
        for (kernel, image) in [
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("armv7l", "arm/v7"),
            ("armv6l", "arm/v6"),
            ("amd64", "amd64"),
            ("riscv64", "riscv64"),
        ] {
            assert_eq!(architecture(kernel), image);
        }
    }
}
