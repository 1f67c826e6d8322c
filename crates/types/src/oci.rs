//! What a registry tells of an image beyond its name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What an image runs on, in the words of the OCI image index: `linux`, `arm`, `v7`.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The processor, such as `amd64`, `arm64` or `arm`.
    pub architecture: String,
    /// Its variant, such as `v7`; none where the image names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

/// What a digest holds, as its manifests tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// What it runs on, in order and each once; attestations are left out. Empty for an artifact.
    pub platforms: Vec<Platform>,
    /// When it was built, where that can be true: reproducible builds write a date before there were
    /// any images, which is none.
    pub created: Option<DateTime<Utc>>,
    /// Whether it is no image: a signature, an attestation, a bill of materials, a chart.
    pub artifact: bool,
}
