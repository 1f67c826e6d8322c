//! Registries and their webhooks.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use std::path::PathBuf;
use windlass_types::delivery::{Decision, ReasonCode};

#[derive(Debug, Subcommand)]
pub(crate) enum Registries {
    /// List the repositories that are looked at, with webhooks that were missed.
    List,
    /// List the registries, with their limits.
    Limits,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// List deliveries, latest first.
    List {
        /// Only those to this endpoint.
        #[arg(long)]
        endpoint: Option<String>,
        /// Only those of this sender, such as harbor.
        #[arg(long)]
        sender: Option<String>,
        /// Only those of which this became: accepted, duplicate, ignored or rejected.
        #[arg(long)]
        decision: Option<Decision>,
        /// Only those that were ignored for this, such as untagged.
        #[arg(long)]
        reason: Option<ReasonCode>,
        /// Only those that tell of this repository, with its registry.
        #[arg(long)]
        repository: Option<String>,
        /// Only those received at this time or later, such as 2026-12-20T00:00:00Z.
        #[arg(long)]
        since: Option<DateTime<Utc>>,
        /// Only those received before this time.
        #[arg(long)]
        until: Option<DateTime<Utc>>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one with what is kept of it.
    Show {
        /// Its id.
        id: uuid::Uuid,
        /// Write its body as it was received, and nothing else.
        #[arg(long)]
        body: bool,
    },
    /// Read one again with the parser of today. What it told before stays; what is new ships.
    Replay {
        /// Its id.
        id: uuid::Uuid,
    },
    /// Say what an endpoint would read a delivery as; nothing is stored.
    Test {
        /// The endpoint.
        endpoint: String,
        /// The delivery's body; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
        /// A header that tells of the sender, `name: value`; may be given several times.
        #[arg(long, value_parser = crate::webhooks::header)]
        header: Vec<(String, String)>,
    },
    /// How endpoints are doing: when they heard something last, what they ignored and what they refused.
    Health {
        /// Counted over so many days.
        #[arg(long)]
        days: Option<u32>,
    },
}
