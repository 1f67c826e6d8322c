//! Holds as operators make and see them.

use crate::hold::Hold;
use crate::ids::PolicyId;
use crate::image::Repository;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /holds`: one of `policy_id` and `repository`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// The policy that is to ship nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<PolicyId>,
    /// The repository of which nothing new is to ship, whatever policy takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "registry:5000/demo/app")]
    pub repository: Option<Repository>,
    /// Why; it lands in the audit trail.
    #[schema(min_length = 1, max_length = 1000, pattern = r"\S")]
    pub reason: String,
    /// When it ends; it lasts until it is lifted where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

text_enum! {
    /// Where a hold stands.
    HoldState {
        /// Nothing new ships.
        InForce = "in_force",
        /// It has ended or was lifted.
        Past = "past",
    }
}

/// A hold and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldView {
    /// The hold.
    #[serde(flatten)]
    pub hold: Hold,
    /// Where it stands.
    pub state: HoldState,
}

impl HoldView {
    /// A hold as it stands at a moment.
    #[must_use]
    pub fn of(hold: Hold, now: DateTime<Utc>) -> Self {
        let state = if hold.is_in_force(now) {
            HoldState::InForce
        } else {
            HoldState::Past
        };
        Self { hold, state }
    }
}
