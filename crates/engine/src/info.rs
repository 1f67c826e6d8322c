//! What an engine says of itself.

use crate::engine::{Engine, QUICK};
use crate::error::Error;
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
