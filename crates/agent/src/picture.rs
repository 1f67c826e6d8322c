//! What the loop shows of itself after each look: reports and `status` are made from it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use windlass_reconcile::view::ServiceView;

/// How the device stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// When it was looked at last.
    pub at: Option<DateTime<Utc>>,
    /// The version of the target that was taken; none before there was one.
    pub version: Option<i64>,
    /// Why the server's last target is not taken.
    pub refused: Option<String>,
    /// One for each service; none where the engine could not be asked, or there is no target.
    pub services: Option<Vec<ServiceView>>,
    /// What is wrong with the engine, or with the state directory.
    pub trouble: Option<String>,
    /// What the loop does now.
    pub doing: Option<String>,
    /// What the target says that was not understood.
    pub warnings: Vec<String>,
    /// Containers that ask to be taken and are not, and why; and what else is to be said of those that are.
    #[serde(default)]
    pub left_alone: Vec<String>,
}
