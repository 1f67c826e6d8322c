//! What is shown of registries: the watch over their repositories, and how often they may be asked.

use crate::image::Repository;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How often a registry may be asked, by all replicas together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryBudget {
    /// Its host, with port.
    pub registry: String,
    /// Requests since it was asked first.
    pub requests: i64,
    /// Requests in the present minute.
    pub requests_this_minute: i64,
    /// Its own limit as it told it last: requests in a window.
    pub limit: Option<i64>,
    /// How many were left of it.
    pub remaining: Option<i64>,
    /// Seconds of a window.
    pub window_seconds: Option<i64>,
    /// When it told that.
    pub told_at: Option<DateTime<Utc>>,
    /// Answers in a row that were none.
    pub failures: i64,
    /// Until when it is not asked, not even for what ships.
    pub held_until: Option<DateTime<Utc>>,
    /// Until when the watch does not ask it.
    pub watch_held_until: Option<DateTime<Utc>>,
}

/// A repository that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchedRepository {
    /// The repository.
    pub repository: Repository,
    /// When it was last looked at to the end.
    pub looked_at: Option<DateTime<Utc>>,
    /// When it is looked at next.
    pub next_look_at: DateTime<Utc>,
    /// Tags in its last list; none where only fixed tags are followed.
    pub tags: Option<i64>,
    /// Looks in a row that came to nothing.
    pub failures: i64,
    /// Why the last one did.
    pub error: Option<String>,
    /// When a webhook told of it last.
    pub webhook_at: Option<DateTime<Utc>>,
    /// Pushes that the watch found first.
    pub found: i64,
    /// Those of them that a webhook should have told of and did not.
    pub missed: i64,
    /// When one was missed last.
    pub missed_at: Option<DateTime<Utc>>,
    /// The endpoint that should have told of it.
    pub missed_by: Option<String>,
}

/// What is looked at, and what that may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryWatch {
    /// Whether anybody looks at all.
    pub enabled: bool,
    /// The repositories, in order, of this page.
    pub repositories: Vec<WatchedRepository>,
    /// The registries that were asked.
    pub registries: Vec<RegistryBudget>,
    /// `after` of the next page of repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
