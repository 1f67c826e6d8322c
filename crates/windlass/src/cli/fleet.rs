//! Devices and policies.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use windlass_types::ids::FleetId;

#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// List devices.
    List {
        /// Only those of this fleet.
        #[arg(long)]
        fleet: Option<FleetId>,
        /// Only those with this tag, `key=value`.
        #[arg(long)]
        tag: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one: what it is to run and what it runs.
    Show {
        /// The device: uuid or name.
        device: String,
    },
    /// Delete one: its key stops working at once.
    Delete {
        /// The device: uuid or name.
        device: String,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Explain why it runs what it runs, or does not move.
    Why {
        /// The device: uuid or name.
        device: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policies {
    /// List policies, the one that decides first on top.
    List,
    /// Show one as a file that `apply` takes.
    Show {
        /// The policy: name or id.
        policy: String,
    },
    /// Make or change policies by name, from files.
    Apply {
        /// TOML (one policy, or several as `[[policy]]`) or JSON (one, or an array); `-` is standard
        /// input.
        #[arg(short, long, required = true)]
        file: Vec<PathBuf>,
    },
    /// Delete one.
    Delete {
        /// The policy: name or id.
        policy: String,
    },
    /// Let one take part.
    Enable(OnPolicy),
    /// Keep one from taking part; its rollouts go on.
    Disable(OnPolicy),
    /// Say what a push of an image would do.
    Test {
        /// `repository:tag`, with its digest or without.
        image: String,
        /// By this policy alone: name or id.
        #[arg(long)]
        policy: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OnPolicy {
    /// The policy: name or id.
    pub(crate) policy: String,
    /// Why; it lands in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
}
