//! How the agent stands, in a file of the state directory: written by the agent, read by
//! `windlass agent status`, which needs no running agent to tell what was true last.

use crate::identity::Identity;
use crate::link::Line;
use crate::picture::Picture;
use crate::standing::Standing;
use crate::state::{self, StateDir, StateError};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_reconcile::view::{Phase, ServiceView};
use windlass_types::ids::DeviceId;

/// What changes together is written together.
const GATHER: Duration = Duration::from_millis(500);
/// That the device was looked at again, or the server answered again, is written at most so often: devices live on
/// flash.
const AGAIN: TimeDelta = TimeDelta::seconds(60);

/// How an agent stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was written.
    pub at: DateTime<Utc>,
    /// The agent's version.
    pub agent_version: String,
    /// Its process, while it runs.
    pub process: Option<u32>,
    /// The device.
    pub uuid: DeviceId,
    /// The server's address.
    pub server: String,
    /// How it stands with the server.
    pub standing: Standing,
    /// How it stands with the engine.
    pub picture: Picture,
}

impl Status {
    /// What the device waits for, as sentences; empty where it runs what is wanted and the server knows.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let mut waits = Vec::new();
        let mut wait = |text: String| waits.push(text);
        match &self.standing.trouble {
            Some(trouble) => wait(format!(
                "for {}: {} (since {}, tried {} times, again at {})",
                self.server,
                trouble.message,
                clock(trouble.since),
                trouble.tries,
                clock(trouble.next_try_at),
            )),
            None if !self.standing.confirmed => {
                wait(format!("for {} to know this device", self.server));
            }
            None => {}
        }
        let picture = &self.picture;
        match (picture.version, &picture.refused) {
            (_, Some(refused)) => wait(format!("for another target: {refused}")),
            (None, None) => wait("for its first target".to_owned()),
            (Some(_), None) => {}
        }
        if let Some(trouble) = &picture.trouble {
            wait(format!("for this device: {trouble}"));
        }
        waits.extend(picture.services.iter().flatten().filter_map(of_service));
        waits
    }
}

impl Status {
    /// Whether this says more than another, or as much a good while later.
    fn is_worth_writing(&self, old: &Self) -> bool {
        let mut as_old = self.clone();
        as_old.at = old.at;
        as_old.picture.at = old.picture.at;
        as_old.standing.answered_at = old.standing.answered_at;
        as_old.standing.reported_at = old.standing.reported_at;
        // A clock that was put back writes at once.
        as_old != *old || self.at - old.at >= AGAIN || self.at < old.at
    }
}

/// What one service waits for.
fn of_service(view: &ServiceView) -> Option<String> {
    let until = |at: Option<DateTime<Utc>>| {
        at.map_or_else(String::new, |at| format!(" (until {})", clock(at)))
    };
    let name = &view.name;
    if let Some((sentence, at)) = &view.waits {
        return Some(format!("{name}: {sentence}{}", until(*at)));
    }
    if let Some(error) = &view.error {
        let again = error.next_try_at.map_or_else(
            || "not tried again for this version of the target".to_owned(),
            |at| format!("tried again at {}", clock(at)),
        );
        return Some(format!("{name}: {}; {again}", error.message));
    }
    let doing = match view.phase {
        Phase::Waiting => "has not begun",
        Phase::Pulling => "its image is on its way",
        Phase::Pulled => "its image is here",
        Phase::Starting => "is being changed",
        Phase::Verifying => "has to prove itself",
        Phase::Running | Phase::Stopped | Phase::Failed => return None,
    };
    Some(format!("{name}: {doing}"))
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Reads the status of an agent; none where none was ever written.
///
/// # Errors
/// [`StateError`] where it is there and cannot be read.
pub fn read(state: &StateDir) -> Result<Option<Status>, StateError> {
    Ok(state.read::<Status>(state::STATUS)?.map(|kept| kept.value))
}

/// The task that writes it.
#[derive(Debug)]
pub struct StatusWriter {
    /// Where.
    pub state: StateDir,
    /// Who.
    pub identity: Identity,
    /// How it stands with the server.
    pub line: Arc<Line>,
    /// How it stands with the engine.
    pub pictures: watch::Receiver<Arc<Picture>>,
}

impl StatusWriter {
    /// Writes until shutdown, and once more then.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        let mut standing = self.line.standing.subscribe();
        let mut written: Option<Status> = None;
        let work = async {
            loop {
                let status = self.status(&standing.borrow_and_update().clone(), true);
                if written
                    .as_ref()
                    .is_none_or(|old| status.is_worth_writing(old))
                {
                    self.write(&status);
                    written = Some(status);
                }
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    changed = self.pictures.changed() => if changed.is_err() { return },
                }
                sleep(GATHER).await;
                self.pictures.mark_unchanged();
            }
        };
        shutdown.run_until_cancelled(work).await;
        let last = self.line.standing.borrow().clone();
        self.write(&self.status(&last, false));
    }

    fn status(&self, standing: &Standing, runs: bool) -> Status {
        Status {
            at: Utc::now(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            process: runs.then(std::process::id),
            uuid: self.identity.uuid,
            server: self.line.client.base().to_owned(),
            standing: standing.clone(),
            picture: Picture::clone(&self.pictures.borrow()),
        }
    }

    fn write(&self, status: &Status) {
        if let Err(error) = self.state.write_loosely(state::STATUS, status) {
            tracing::debug!(%error, "the status cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            at: DateTime::UNIX_EPOCH,
            agent_version: "1".to_owned(),
            process: None,
            uuid: DeviceId(uuid::Uuid::nil()),
            server: "http://s".to_owned(),
            standing: Standing {
                confirmed: true,
                ..Standing::default()
            },
            picture: Picture {
                version: Some(3),
                services: Some(Vec::new()),
                ..Picture::default()
            },
        }
    }

    #[test]
    fn a_device_that_runs_what_is_wanted_waits_for_nothing() {
        assert_eq!(status().waits(), Vec::<String>::new());
    }

    #[test]
    fn another_look_that_saw_the_same_is_not_written_again_at_once() {
        let old = status();
        let mut same = status();
        same.at = old.at + TimeDelta::seconds(5);
        same.picture.at = Some(same.at);
        same.standing.answered_at = Some(same.at);
        assert!(!same.is_worth_writing(&old));
        let mut later = same.clone();
        later.at = old.at + AGAIN;
        assert!(later.is_worth_writing(&old));
        same.picture.version = Some(4);
        assert!(same.is_worth_writing(&old));
    }

    #[test]
    fn each_thing_that_keeps_it_is_told() {
        let mut status = status();
        status.standing.confirmed = false;
        assert_eq!(status.waits(), ["for http://s to know this device"]);
        let now = DateTime::UNIX_EPOCH;
        status.standing.went_wrong("no".to_owned(), now, now);
        status.standing.went_wrong("no".to_owned(), now, now);
        status.picture.version = None;
        status.picture.trouble = Some("the engine is away".to_owned());
        let waits = status.waits();
        assert_eq!(
            waits,
            [
                "for http://s: no (since 1970-01-01 00:00:00Z, tried 2 times, again at 1970-01-01 00:00:00Z)",
                "for its first target",
                "for this device: the engine is away"
            ]
        );
        status.standing.went_well(now);
        assert_eq!(status.waits().len(), 3);
    }
}
