//! Freezes and the stop button, as the API takes and shows them.

use crate::freeze::Freeze;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// How a freeze stands.
    FreezeState {
        /// Nothing is admitted because of it.
        InForce = "in_force",
        /// It begins later.
        ToCome = "to_come",
        /// It has ended or was lifted.
        Past = "past",
    }
}

/// `POST /freezes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFreeze {
    /// Why; it is shown with everything that waits for its end.
    #[schema(min_length = 1, max_length = 1000, pattern = r"\S")]
    pub reason: String,
    /// When it begins; now where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends; without it, when it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A freeze and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FreezeView {
    /// The freeze.
    #[serde(flatten)]
    pub freeze: Freeze,
    /// How it stands.
    pub state: FreezeState,
}

impl FreezeView {
    /// A freeze as it stands at this time.
    #[must_use]
    pub fn at(freeze: Freeze, now: DateTime<Utc>) -> Self {
        let state = if freeze.is_in_force(now) {
            FreezeState::InForce
        } else if freeze.lifted_at.is_none() && freeze.starts_at > now {
            FreezeState::ToCome
        } else {
            FreezeState::Past
        };
        Self { freeze, state }
    }
}

/// The answer of the stop button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    /// The stop in force, or the one that was lifted; none where nothing was stopped.
    pub stop: Option<FreezeView>,
    /// Whether this press changed anything: a second one shows the first.
    pub changed: bool,
}
