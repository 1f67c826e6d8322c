//! Whose signature an image must carry.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose signature an image must carry before it ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignatureRule {
    /// Whether what is not signed with one of the keys is no candidate; where not, it is only told.
    #[serde(default = "yes")]
    pub require: bool,
    /// Public keys as PEM (ECDSA on P-256, as cosign makes them); any of them will do.
    #[schema(min_items = 1, max_items = 16)]
    pub keys: Vec<String>,
    /// The repository that signatures name, where it is another than the one the image is shipped
    /// from: for images copied together with their signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub signed_as: Option<String>,
}

const fn yes() -> bool {
    true
}
