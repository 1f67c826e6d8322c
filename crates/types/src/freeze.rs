//! Times in which nothing is admitted anywhere.

use crate::ids::FreezeId;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// What kind of freeze it is.
    FreezeKind {
        /// A period that was planned.
        Freeze = "freeze",
        /// The stop button: from now on, until it is lifted.
        Stop = "stop",
    }
}

/// A time in which no rollout admits anybody. Devices on their way go on, rollbacks too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freeze {
    /// Its id.
    pub id: FreezeId,
    /// What kind it is.
    pub kind: FreezeKind,
    /// Why, for people.
    pub reason: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
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

impl Freeze {
    /// Whether it is in force.
    #[must_use]
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.lifted_at.is_none()
            && self.starts_at <= now
            && self.ends_at.is_none_or(|end| now < end)
    }

    /// Whether it holds a rollout that a person let go on in spite of freezes then: one that was made
    /// after that is a new decision, and holds.
    #[must_use]
    pub fn holds_in_spite_of(&self, overridden_at: Option<DateTime<Utc>>) -> bool {
        self.lifted_at.is_none() && overridden_at.is_none_or(|at| at < self.created_at)
    }
}
