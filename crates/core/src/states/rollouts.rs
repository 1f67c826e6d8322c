//! The ways of a rollout.

use super::{Mover, Way};
use windlass_types::rollout::RolloutStatus::{
    self, AwaitingApproval, Cancelled, Completed, Failed, InProgress, Paused, Pending, RolledBack,
    RollingBack, Scheduled, Superseded,
};

const BEFORE: &[RolloutStatus] = &[Pending, AwaitingApproval, Scheduled];
const ACTIVE: &[RolloutStatus] = &[Pending, AwaitingApproval, Scheduled, InProgress, Paused];

/// Every way of a rollout.
pub const ROLLOUTS: &[Way<RolloutStatus>] = &[
    Way {
        from: &[],
        to: Pending,
        by: Mover::PlannerAtOnce,
        when: "a push or a person leads to it, and neither an approval nor a time is waited for",
    },
    Way {
        from: &[],
        to: AwaitingApproval,
        by: Mover::PlannerAtOnce,
        when: "a push or a person leads to it, and its rule asks for an approval",
    },
    Way {
        from: &[],
        to: Scheduled,
        by: Mover::PlannerAtOnce,
        when: "a push or a person leads to it, and its strategy is `scheduled`",
    },
    Way {
        from: &[Pending, Scheduled],
        to: AwaitingApproval,
        by: Mover::Planner,
        when: "it has not begun, and its approval is missing",
    },
    Way {
        from: &[AwaitingApproval, Pending],
        to: Scheduled,
        by: Mover::Planner,
        when: "nothing but its start time or a window holds it",
    },
    Way {
        from: &[AwaitingApproval, Scheduled],
        to: Pending,
        by: Mover::Planner,
        when: "it is approved and its time has come, but a freeze or a limit holds it",
    },
    Way {
        from: BEFORE,
        to: InProgress,
        by: Mover::Planner,
        when: "nothing holds it: its first batch begins",
    },
    Way {
        from: &[Pending, AwaitingApproval, Scheduled, InProgress],
        to: Paused,
        by: Mover::Planner,
        when: "a person pauses it, its digest is in quarantine, or it lacks a signature that its policy wants by now",
    },
    Way {
        from: &[InProgress],
        to: Paused,
        by: Mover::Planner,
        when: "a check of a batch fails or is inconclusive, a device is inconclusive, or nobody could be judged",
    },
    Way {
        from: &[InProgress],
        to: Paused,
        by: Mover::RollbackManager,
        when: "a failure budget is used up",
    },
    Way {
        from: &[Paused],
        to: Pending,
        by: Mover::Planner,
        when: "a person resumes it before its first batch",
    },
    Way {
        from: &[Paused],
        to: InProgress,
        by: Mover::Planner,
        when: "a person resumes it",
    },
    Way {
        from: &[InProgress],
        to: Completed,
        by: Mover::Planner,
        when: "its last batch is done and that batch's checks have passed",
    },
    Way {
        from: &[InProgress],
        to: Failed,
        by: Mover::Planner,
        when: "the same, but devices failed and none is healthy",
    },
    Way {
        from: ACTIVE,
        to: Cancelled,
        by: Mover::Planner,
        when: "a person cancels it",
    },
    Way {
        from: ACTIVE,
        to: Superseded,
        by: Mover::PlannerAtOnce,
        when: "a newer version of its image is planned by the same policy",
    },
    Way {
        from: &[
            Pending,
            AwaitingApproval,
            Scheduled,
            InProgress,
            Paused,
            Completed,
            Failed,
            Cancelled,
            Superseded,
        ],
        to: RollingBack,
        by: Mover::RollbackManager,
        when: "a person takes all of it back, or its rule does (`rollback_all`, or a comparison that the old version won)",
    },
    Way {
        from: &[RollingBack],
        to: RolledBack,
        by: Mover::RollbackManager,
        when: "every device that is not silent is back or could not be put back",
    },
];
