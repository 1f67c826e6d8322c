//! The decision: one step, and a view of each service.

use crate::step::Step;
use crate::view::ServiceView;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a device does next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The step; none where nothing is to be done now.
    pub step: Option<Step>,
    /// One for each service that is wanted, refused or there, in order of their ids.
    pub views: Vec<ServiceView>,
    /// When something can be due though nothing has changed.
    pub look_again_at: Option<DateTime<Utc>>,
    /// Why nothing of the target is done: it has a version below the one that was taken.
    pub refused: Option<String>,
}
