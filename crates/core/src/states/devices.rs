//! The ways of a device in a rollout.

use super::{Mover, Way};
use windlass_types::rollout::DeviceStatus::{
    self, Completed, Failed, Inconclusive, Pending, RollbackFailed, RolledBack, RollingBack,
    Scheduled, Skipped, Unreachable, Updating, Verifying,
};

const IN_FLIGHT: &[DeviceStatus] = &[Scheduled, Updating, Verifying];
/// Those of whom a verdict is still to come.
const OPEN: &[DeviceStatus] = &[Scheduled, Updating, Verifying, Unreachable];

/// Every way of a device in a rollout.
pub const DEVICES: &[Way<DeviceStatus>] = &[
    Way {
        from: &[],
        to: Pending,
        by: Mover::PlannerAtOnce,
        when: "it is in scope when the rollout is made, or joins later",
    },
    Way {
        from: &[],
        to: Skipped,
        by: Mover::PlannerAtOnce,
        when: "it is in scope and cannot take the image; the reason says why",
    },
    Way {
        from: &[Pending],
        to: Scheduled,
        by: Mover::PlannerAtOnce,
        when: "its turn has come: its target names the image",
    },
    Way {
        from: &[Pending, Scheduled],
        to: Skipped,
        by: Mover::PlannerAtOnce,
        when: "its turn has come and it can no longer take the image, or the rollout ended first",
    },
    Way {
        from: &[Pending],
        to: Skipped,
        by: Mover::RollbackManager,
        when: "the rollout is taken back before its turn",
    },
    Way {
        from: OPEN,
        to: Skipped,
        by: Mover::CheckerAtOnce,
        when: "another order moved its target on meanwhile",
    },
    Way {
        from: &[Scheduled, Unreachable],
        to: Updating,
        by: Mover::Checker,
        when: "it has received the target; one that was unreachable is back",
    },
    Way {
        from: &[Scheduled, Updating, Unreachable],
        to: Verifying,
        by: Mover::Checker,
        when: "it runs the image: the stable window is open",
    },
    Way {
        from: OPEN,
        to: Completed,
        by: Mover::Checker,
        when: "the image ran through the stable window, its checks passed, and it was seen after that",
    },
    Way {
        from: OPEN,
        to: Failed,
        by: Mover::Checker,
        when: "a definite sign of failure, at once or at the deadline",
    },
    Way {
        from: IN_FLIGHT,
        to: Inconclusive,
        by: Mover::Checker,
        when: "at the deadline its checks have said neither yes nor no",
    },
    Way {
        from: IN_FLIGHT,
        to: Unreachable,
        by: Mover::Checker,
        when: "it is silent for too long",
    },
    Way {
        from: OPEN,
        to: Pending,
        by: Mover::CheckerAtOnce,
        when: "it failed for a reason that is not the image's, and has retries left",
    },
    Way {
        from: &[Failed, Inconclusive, RolledBack],
        to: Pending,
        by: Mover::PlannerAtOnce,
        when: "a person has it tried again",
    },
    Way {
        from: &[
            Scheduled,
            Updating,
            Verifying,
            Completed,
            Failed,
            Unreachable,
            Inconclusive,
            RollbackFailed,
        ],
        to: RollingBack,
        by: Mover::RollbackManager,
        when: "it failed, its digest is in quarantine, its batch or the rollout is taken back, or a person puts it back",
    },
    Way {
        from: &[
            Scheduled,
            Updating,
            Verifying,
            Failed,
            Unreachable,
            Inconclusive,
            RollingBack,
        ],
        to: Skipped,
        by: Mover::RollbackManager,
        when: "it is to go back, and another order has moved its target on",
    },
    Way {
        from: &[
            Scheduled,
            Updating,
            Verifying,
            Completed,
            Failed,
            Unreachable,
            Inconclusive,
        ],
        to: RollbackFailed,
        by: Mover::RollbackManager,
        when: "nothing that it could go back to is known to be good",
    },
    Way {
        from: &[RollingBack],
        to: RolledBack,
        by: Mover::RollbackManager,
        when: "it is seen to run its last good image again",
    },
    Way {
        from: &[RollingBack],
        to: RollbackFailed,
        by: Mover::RollbackManager,
        when: "it did not get back in time",
    },
];
