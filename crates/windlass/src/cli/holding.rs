//! What holds rollouts back.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use windlass_types::api::FreezeState;
use windlass_types::image::Digest;

#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// The policy by name or id, or a repository with its registry.
    pub(crate) what: String,
    /// When it ends, such as 2026-12-20T00:00:00Z; without it, when it is lifted.
    #[arg(long)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Why; it lands in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why; it lands in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Freezes {
    /// List them, the one made last first.
    List {
        /// Only those that stand so: in_force, to_come or past.
        #[arg(long)]
        state: Option<FreezeState>,
    },
    /// Plan a time in which nothing is admitted.
    Add {
        /// When it begins, such as 2026-12-20T00:00:00Z; now where not given.
        #[arg(long)]
        from: Option<DateTime<Utc>>,
        /// When it ends; without it, when it is lifted.
        #[arg(long)]
        until: Option<DateTime<Utc>>,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// End one, or take one back that is to come.
    Lift {
        /// Its id.
        id: uuid::Uuid,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Penalties {
    /// List devices that are set aside, with why and until when.
    List,
    /// Let a device take part again.
    Lift {
        /// The device: uuid or name.
        device: String,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List digests in quarantine, with why.
    List,
    /// Let a digest be shipped again.
    Lift {
        /// The digest.
        digest: Digest,
        /// Only for the devices with this tag, `key=value`, where it is in quarantine for them.
        #[arg(long, value_parser = crate::trigger::pair)]
        tag: Option<(String, String)>,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
}
