//! What one service would do next, and how it is told.

use super::look::Look;
use crate::memory::{Failed, FailureClass, Run};
use crate::observed::Container;
use crate::spec::ServiceKey;
use crate::step::{Note, Step};
use crate::view::{Phase, ViewedError};
use chrono::{DateTime, Utc};

/// Which steps come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// What keeps services up or moves them on.
    Now,
    /// What makes room.
    Clean,
    /// What takes long, and for which nothing else is to wait.
    Fetch,
    /// What takes services away: after the pulls of those that may take their place.
    Leave,
}

/// What one service would do next.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// The step, where there is one.
    pub(super) step: Option<(Rank, Step)>,
    /// Where the service stands.
    pub(super) phase: Phase,
    /// What it waits for.
    pub(super) waits: Option<(String, Option<DateTime<Utc>>)>,
    /// What went wrong.
    pub(super) error: Option<ViewedError>,
    /// When something can be due.
    pub(super) due: Option<DateTime<Utc>>,
}

impl Turn {
    /// Nothing to do.
    pub(super) const fn rest(phase: Phase) -> Self {
        Self {
            step: None,
            phase,
            waits: None,
            error: None,
            due: None,
        }
    }

    /// A step.
    pub(super) fn go(phase: Phase, rank: Rank, step: Step) -> Self {
        Self {
            step: Some((rank, step)),
            ..Self::rest(phase)
        }
    }

    /// A wait, with its end where that is known.
    pub(super) fn wait(phase: Phase, why: impl Into<String>, until: Option<DateTime<Utc>>) -> Self {
        Self {
            waits: Some((why.into(), until)),
            due: until,
            ..Self::rest(phase)
        }
    }

    /// A note.
    pub(super) fn note(phase: Phase, service: ServiceKey, note: Note) -> Self {
        let note = Box::new(note);
        Self::go(phase, Rank::Now, Step::Remember { service, note })
    }

    /// Nothing of a refused service is touched.
    pub(super) fn refused(look: &Look<'_>, key: ServiceKey) -> Self {
        let reason = look
            .wanted
            .refused
            .get(&key)
            .map(|refused| refused.reason.clone());
        let mut turn = Self::rest(Phase::Failed);
        turn.error = Some(ViewedError {
            class: FailureClass::Config,
            message: reason.unwrap_or_default(),
            tries: 1,
            next_try_at: None,
        });
        turn
    }

    /// The same, told with a failure.
    pub(super) fn failed(mut self, failed: &Failed) -> Self {
        self.phase = Phase::Failed;
        self.error = Some(ViewedError {
            class: failed.class,
            message: failed.message.clone(),
            tries: failed.tries,
            next_try_at: failed.next_try_at,
        });
        self.due = earlier(self.due, failed.next_try_at);
        self
    }

    /// The same; where it has no step, the other's.
    pub(super) fn or_step_of(mut self, other: Self) -> Self {
        self.step = self.step.or(other.step);
        self.due = earlier(self.due, other.due);
        self
    }
}

/// The earlier of two times that may not be there.
pub(super) fn earlier(
    one: Option<DateTime<Utc>>,
    other: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The run that a container is in, or was in last.
pub(super) fn run_of(container: &Container) -> Run {
    Run {
        id: container.id.clone(),
        started_at: container.started_at,
    }
}
