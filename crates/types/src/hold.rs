//! Policies and repositories of which nothing new ships for a time.

use crate::ids::{HoldId, PolicyId};
use crate::image::Repository;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A time in which a policy, or whatever policy takes a repository, ships no new version. What is pushed
/// meanwhile waits. Rollouts that are under way go on: those are paused, or frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The policy that is held; none where a repository is.
    pub policy_id: Option<PolicyId>,
    /// The repository that is held; none where a policy is.
    #[schema(value_type = Option<String>)]
    pub repository: Option<Repository>,
    /// Why, for people.
    pub reason: String,
    /// When it ends; none where it lasts until it is lifted.
    pub ends_at: Option<DateTime<Utc>>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was lifted.
    pub lifted_at: Option<DateTime<Utc>>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Why it was lifted.
    pub lift_reason: Option<String>,
}

impl Hold {
    /// Whether it is in force.
    #[must_use]
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.lifted_at.is_none() && self.ends_at.is_none_or(|end| now < end)
    }
}
