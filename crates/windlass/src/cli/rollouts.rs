//! Rollouts, by policy and by hand.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use windlass_types::ids::FleetId;
use windlass_types::policy::Strategy;
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

#[derive(Debug, Subcommand)]
pub(crate) enum Rollouts {
    /// List rollouts, latest first.
    List {
        /// Only those that stand here.
        #[arg(long)]
        status: Option<RolloutStatus>,
        /// Only those that have not ended.
        #[arg(long)]
        active: bool,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one with its batches and the devices that need a look.
    Show {
        /// The rollout.
        id: String,
        /// List its devices that stand here instead.
        #[arg(long)]
        devices: Option<DeviceStatus>,
    },
    /// Follow one until it ends or pauses.
    Watch {
        /// The rollout.
        id: String,
        /// Go on through pauses.
        #[arg(long)]
        through_pauses: bool,
        /// Give up after so many seconds (exit code 1).
        #[arg(long)]
        timeout: Option<u64>,
    },
    /// Admit no more devices.
    Pause(OnRollout),
    /// Go on.
    Resume(OnRollout),
    /// Let a waiting one, or a batch of it, begin.
    Approve {
        /// The rollout.
        id: String,
        /// The batch, from 1; the one that waits where not given.
        #[arg(long)]
        batch: Option<i64>,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// End it; devices keep what they have.
    Cancel(OnRollout),
    /// Start its next batch without the rest of the delay.
    NextBatch(OnRollout),
    /// Admit the devices again that failed, were inconclusive or were put back.
    Retry {
        /// The rollout.
        id: String,
        /// Only this device: uuid or name.
        #[arg(long)]
        device: Option<String>,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Let it go on in spite of freezes and the stop.
    OverrideFreeze(OnRollout),
    /// Put every device of it back on its last good image.
    RollbackAll(OnRollout),
    /// Put a device, a batch or all of it back on the last good image of each device.
    Rollback(Rollback),
}

#[derive(Debug, Args)]
pub(crate) struct OnRollout {
    /// The rollout.
    pub(crate) id: String,
    /// Why; it lands in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
    /// Only if the rollout still has this version (`version` in `--json`), else exit code 4.
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<i64>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Rollback {
    /// The rollout.
    pub(crate) id: String,
    /// The device: uuid or name.
    #[arg(group = "what")]
    pub(crate) device: Option<String>,
    /// The same.
    #[arg(long = "device", value_name = "DEVICE", group = "what")]
    pub(crate) of_device: Option<String>,
    /// A batch, from 1.
    #[arg(long, group = "what")]
    pub(crate) batch: Option<i64>,
    /// Every device.
    #[arg(long, group = "what")]
    pub(crate) all: bool,
    /// Why; it lands in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plans {
    /// Show one.
    Show {
        /// Its id, as the dry run gave it.
        id: uuid::Uuid,
    },
    /// Ship exactly what it shows, or say what changed since.
    Apply {
        /// Its id, as the dry run gave it.
        id: uuid::Uuid,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
        /// Follow the rollout, as `rollouts watch` does.
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// `repository:tag`, `repository@sha256:…` or both.
    pub(crate) image: String,
    /// Only devices of this fleet; may be given several times.
    #[arg(long)]
    pub(crate) fleet: Vec<FleetId>,
    /// Only devices with this tag, `key=value`; may be given several times.
    #[arg(long, value_parser = crate::trigger::pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// Only this device; may be given several times.
    #[arg(long)]
    pub(crate) device: Vec<String>,
    /// How it goes to its devices.
    #[arg(long)]
    pub(crate) strategy: Option<Strategy>,
    /// Everything about how it runs, as in a policy, from a TOML or JSON file; instead of the single
    /// options.
    #[arg(long, conflicts_with_all = ["strategy", "batches", "delay", "allow_downgrade"])]
    pub(crate) rule: Option<PathBuf>,
    /// Who has a device that two rollouts of the same image want: the higher one.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Say in the rollout's rule that devices may get a version below the one in their target; by
    /// hand they may in any case.
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Ship it without the signature that a policy requires: you vouch for it, with the reason.
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
    /// Cumulative sizes of the batches: `10%,50%,100%`, or counts such as `1,5,100%`.
    #[arg(long, value_delimiter = ',', value_parser = crate::trigger::batch)]
    pub(crate) batches: Option<Vec<windlass_types::policy::BatchSize>>,
    /// Seconds between the end of a batch and the start of the next.
    #[arg(long)]
    pub(crate) delay: Option<u32>,
    /// Why; it lands in the audit trail.
    #[arg(long, default_value = "triggered from the command line")]
    pub(crate) reason: String,
    /// Only say what would be done, and keep the plan for `plans apply`.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Follow the rollout, as `rollouts watch` does.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,
}
