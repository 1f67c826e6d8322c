//! Every state of a rollout and of a device in it, and every way from one to another: what the
//! state machines do, as a list that a person can read. docs/rollouts.md is made from it; tests
//! compare it with what planning and judging do.

mod devices;
mod rollouts;

pub use devices::DEVICES;
pub use rollouts::ROLLOUTS;

/// Who moves something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mover {
    /// rollout-planner, by [`crate::plan`].
    Planner,
    /// rollout-planner, when it makes rollouts or gives targets to devices.
    PlannerAtOnce,
    /// health-checker, by [`crate::verdict`].
    Checker,
    /// health-checker, where there is nothing to judge.
    CheckerAtOnce,
    /// rollback-manager.
    RollbackManager,
}

impl Mover {
    /// The service.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Planner | Self::PlannerAtOnce => "rollout-planner",
            Self::Checker | Self::CheckerAtOnce => "health-checker",
            Self::RollbackManager => "rollback-manager",
        }
    }
}

/// A way from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way<S: 'static> {
    /// From any of these; from nothing where there is none: it is made so.
    pub from: &'static [S],
    /// To this one.
    pub to: S,
    /// Who moves it.
    pub by: Mover,
    /// What moves it, for people.
    pub when: &'static str,
}

/// Whether there is a way from one state to another; from none: whether it may be made so.
#[must_use]
pub fn leads<S: Copy + PartialEq>(ways: &[Way<S>], from: Option<S>, to: S) -> bool {
    ways.iter().any(|way| {
        way.to == to
            && match &from {
                Some(from) => way.from.contains(from),
                None => way.from.is_empty(),
            }
    })
}

#[cfg(test)]
mod tests;
