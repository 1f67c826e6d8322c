//! The shape of the command line.

mod fleet;
mod holding;
mod keys;
mod registries;
mod rollouts;

pub(crate) use fleet::{Devices, OnPolicy, Policies};
pub(crate) use holding::{Freezes, Hold, Penalties, Quarantine, Why};
pub(crate) use keys::Keys;
pub(crate) use registries::{Registries, Webhooks};
pub(crate) use rollouts::{OnRollout, Plans, Rollback, Rollouts, Trigger};

use crate::exit::Failure;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use windlass_client::Client;
use windlass_types::api::HoldState;
use windlass_types::event::{Cursor, EventType};

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
