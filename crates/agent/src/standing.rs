//! How the agent stands with its server: told by the tasks that talk to it, read by `status`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How it stands with the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether the server confirmed this device since the agent started.
    pub confirmed: bool,
    /// When the server answered last.
    pub answered_at: Option<DateTime<Utc>>,
    /// What is wrong, while it is.
    pub trouble: Option<ServerTrouble>,
    /// When a report was last taken by the server.
    pub reported_at: Option<DateTime<Utc>>,
    /// Reports of the past that wait to be sent.
    pub history: usize,
    /// Why the last answer was no target for this device.
    pub refused: Option<String>,
}

/// What is wrong with the server, or with this device in its eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTrouble {
    /// For people, with what to do about it where that is known.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again.
    pub next_try_at: DateTime<Utc>,
}

impl Standing {
    /// The server answered as it should.
    pub fn went_well(&mut self, now: DateTime<Utc>) {
        self.answered_at = Some(now);
        self.trouble = None;
    }

    /// It did not.
    pub fn went_wrong(&mut self, message: String, now: DateTime<Utc>, next_try_at: DateTime<Utc>) {
        let (since, tries) = self
            .trouble
            .as_ref()
            .map_or((now, 0), |trouble| (trouble.since, trouble.tries));
        self.trouble = Some(ServerTrouble {
            message,
            since,
            tries: tries.saturating_add(1),
            next_try_at,
        });
    }
}
