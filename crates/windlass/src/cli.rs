//! The shape of the command line.

use crate::exit::Failure;
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use windlass_client::Client;
use windlass_types::api::{FreezeState, HoldState};
use windlass_types::delivery::{Decision, ReasonCode};
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::FleetId;
use windlass_types::image::Digest;
use windlass_types::policy::Strategy;
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; of `rollouts watch`: the rollout completed
  1  failed; of `rollouts watch`: the rollout ended or paused without completing
  2  the command line or a file given on it is wrong
  3  not found
  4  refused: no permission, a conflict, or something the server does not accept
  5  the server cannot be reached or is not ready

Ids may be shortened to any beginning or end that only one of them has; `latest` is the newest
rollout.";

/// Rolls container images out to fleets of devices, in stages, and holds when something slips.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Write JSON: one value, or one a line where it goes on.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the commands go.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of the server.
    #[arg(
        long,
        global = true,
        env = "WINDLASS_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,
    /// An operator's key.
    #[arg(long, global = true, env = "WINDLASS_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

impl Server {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.url, self.api_key.clone())?)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole system in this process, on a SQLite file.
    Up(Up),
    /// Show what it does: 60 simulated devices, a good release, a bad one.
    Demo(Demo),
    /// How the server, its fleets and its rollouts stand.
    Status,
    /// Rollouts: list, show, watch, command.
    Rollouts {
        #[command(subcommand)]
        command: Option<Rollouts>,
    },
    /// Devices: list, show, explain.
    Devices {
        #[command(subcommand)]
        command: Option<Devices>,
    },
    /// Policies: list, show, apply, delete.
    Policies {
        #[command(subcommand)]
        command: Option<Policies>,
    },
    /// Say why a device, a rollout or an image moved or did not.
    Why {
        /// A device (uuid or name), a rollout (id, a part of it, or `latest`) or an image
        /// (`repository:tag`, `repository@sha256:…` or `repository`).
        what: String,
    },
    /// Start a rollout by hand, or see what it would do.
    Trigger(Trigger),
    /// What happened.
    Events(Events),
    /// Plans that a dry run showed: show, ship.
    Plans {
        #[command(subcommand)]
        command: Plans,
    },
    /// Times in which nothing is admitted: list, add, lift.
    Freezes {
        #[command(subcommand)]
        command: Option<Freezes>,
    },
    /// Hold a policy or a repository: what is pushed waits until the end.
    Hold(Hold),
    /// List holds, the one made last first.
    Holds {
        /// Only those that stand so: in_force or past.
        #[arg(long)]
        state: Option<HoldState>,
    },
    /// End a hold: what waited for it is planned.
    Unhold {
        /// Its id.
        id: uuid::Uuid,
        /// Why; it lands in the audit trail.
        #[arg(long)]
        reason: String,
    },
    /// Stop all rollouts: nobody more is admitted anywhere until `go`.
    Stop(Why),
    /// Let rollouts go on after `stop`.
    Go(Why),
    /// Devices set aside for a time: list, lift.
    Penalties {
        #[command(subcommand)]
        command: Option<Penalties>,
    },
    /// Registries that are looked at for pushes: their repositories, and how often they may be asked.
    Registries {
        #[command(subcommand)]
        command: Option<Registries>,
    },
    /// Digests that ship no more.
    Quarantine {
        #[command(subcommand)]
        command: Option<Quarantine>,
    },
    /// What registries sent: list, show, read again, try out, and how endpoints are doing.
    Webhooks {
        #[command(subcommand)]
        command: Option<Webhooks>,
    },
    /// Keys of operators, and keys with which devices register.
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Print the settings in force, secrets masked.
    CheckConfig(CheckConfig),
    /// On a device: run what the server says on this machine's container engine.
    Agent {
        #[command(subcommand)]
        command: windlass_agent::cli::Command,
    },
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The folder of the database, where the settings name none [default: windlass-data].
    #[arg(long, env = "WINDLASS_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long)]
    pub(crate) listen: Option<String>,
    /// A configuration file (TOML).
    #[arg(long, env = "WINDLASS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where to write the operator's key that the first start makes; it is written nowhere else.
    #[arg(long)]
    pub(crate) key_file: Option<PathBuf>,
    /// Run this machine's agent too, and keep containers with the label windlass.enable=true up to date.
    #[arg(long)]
    pub(crate) agent: bool,
    /// The agent's container engine: `unix:///var/run/docker.sock` or `http://host:port`.
    #[arg(long, requires = "agent")]
    pub(crate) engine: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfig {
    /// A configuration file (TOML).
    #[arg(long, env = "WINDLASS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave it running at the end, and print its address and key.
    #[arg(long)]
    pub(crate) keep: bool,
    /// How many devices, half of them in each of two fleets.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(30..=2000))]
    pub(crate) devices: u32,
    /// What the devices are drawn from: the same seed gives the same devices.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
}

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
pub(crate) enum Registries {
    /// List the repositories that are looked at, with webhooks that were missed.
    List,
    /// List the registries, with their limits.
    Limits,
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

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on as events happen.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// After this place in the log; from the beginning where not given, or from now on with
    /// `--follow`.
    #[arg(long)]
    pub(crate) after: Option<Cursor>,
    /// Only this type; may be given several times.
    #[arg(long = "type")]
    pub(crate) types: Vec<EventType>,
    /// Only those of this rollout.
    #[arg(long)]
    pub(crate) rollout: Option<String>,
    /// Only those of this device: uuid or name.
    #[arg(long)]
    pub(crate) device: Option<String>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key with which devices register; it is shown once.
    CreateProvisioning {
        /// The fleet its devices join; made where it does not exist.
        #[arg(long)]
        fleet: FleetId,
        /// How many devices it may register.
        #[arg(long, default_value_t = 100)]
        max_devices: i64,
        /// How long it is valid.
        #[arg(long, default_value_t = 365)]
        expires_in_days: i64,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Make a provisioning key useless; its devices stay.
    RevokeProvisioning {
        /// The key's id.
        id: uuid::Uuid,
    },
    /// Make a key for another operator, whose orders and approvals then carry their name; it is shown
    /// once.
    CreateOperator {
        /// Their name in the audit trail.
        name: String,
    },
    /// Show whose keys there are.
    ListOperators,
    /// Make an operator's key useless.
    RevokeOperator {
        /// The key's id.
        id: uuid::Uuid,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
