//! The agent's commands: a binary of their own, and `windlass agent`.

mod adopt;
mod show;

pub use adopt::Adopt;

use crate::agent::{self, RunError};
use crate::config::{Config, ConfigError, PREFIX};
use crate::reconciler::Fault;
use crate::state::{StateDir, StateError};
use crate::status;
use crate::work::Docker;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs what the fleet's server says on this machine's container engine.
#[derive(Debug, Parser)]
#[command(name = "windlass-agent", version, propagate_version = true)]
struct Arguments {
    /// Write JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent until it is told to end.
    Run(Given),
    /// Say what this device runs, wants and waits for.
    Status(Given),
    /// Print the settings in force, secrets masked.
    CheckConfig(Given),
    /// Take containers that somebody else started under services of the target.
    Adopt(Adopt),
}

/// Where settings come from.
#[derive(Debug, Args)]
pub struct Given {
    /// A configuration file (TOML).
    #[arg(long, env = "WINDLASS_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// The state directory [default: /var/lib/windlass-agent].
    #[arg(long)]
    state_dir: Option<String>,
    /// The server's address, such as <https://windlass.example:8080>.
    #[arg(long)]
    server: Option<String>,
    /// The key with which the device registers, the first time.
    #[arg(long, hide_env_values = true, conflicts_with = "provisioning_key_file")]
    provisioning_key: Option<String>,
    /// A file with that key.
    #[arg(long)]
    provisioning_key_file: Option<PathBuf>,
    /// The container engine: `unix:///var/run/docker.sock` or `http://host:port`.
    #[arg(long)]
    engine: Option<String>,
    /// A name for people; the host's where none is given.
    #[arg(long)]
    name: Option<String>,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system.
    #[error("{0}")]
    System(#[source] std::io::Error),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is not done.
    #[error("{0}")]
    Refused(String),
    /// The container engine.
    #[error("{0}")]
    Engine(String),
    /// It was only said.
    #[error("nothing was done; say --yes to do it")]
    Unasked,
}

impl Failure {
    /// As the commands of `windlass` end: 1 failed, 2 the command line or settings are wrong, 3 not found,
    /// 4 refused, 5 the engine cannot be reached.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Run(RunError::Server(_)) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) | Self::Unasked => 4,
            Self::Engine(_) => 5,
            Self::Run(_) | Self::State(_) | Self::System(_) => 1,
        }
    }

    /// With what is behind it.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// The whole program of the agent's own binary.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    match command(&arguments.command, arguments.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("windlass-agent: {}", failure.told());
            ExitCode::from(failure.code())
        }
    }
}

/// Does one command.
///
/// # Errors
/// [`Failure`].
pub fn command(command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Run(given) => run(&given.load()?),
        Command::CheckConfig(given) => {
            print!("{}", given.load()?.masked());
            Ok(())
        }
        Command::Adopt(given) => runtime()?.block_on(adopt::adopt(given, json)),
        Command::Status(given) => {
            let state = StateDir::at(&given.load()?.state_dir);
            let status = status::read(&state)?.ok_or_else(|| {
                Failure::NotFound(format!("no agent has run in {}", state.path().display()))
            })?;
            show::status(&status, json).map_err(Failure::System)
        }
    }
}

/// One thread: an agent waits nearly always, and each thread is memory.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::System)
}

fn run(config: &Config) -> Result<(), Failure> {
    windlass_settings::log::init(&config.log);
    let fault = std::env::var("WINDLASS_TEST_AGENT_FAULT");
    let fault = fault.map_or_else(|_| Fault::default(), |point| Fault::parse(&point));
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        cancel_on_signal(&shutdown).map_err(Failure::System)?;
        Ok(agent::run(config, Docker::new, fault, &shutdown).await?)
    })
}

fn cancel_on_signal(shutdown: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            shutdown.cancel();
        });
    }
    Ok(())
}

impl Given {
    fn load(&self) -> Result<Config, Failure> {
        let mut flags = Vec::new();
        let file = self.provisioning_key_file.as_ref();
        let key = file.map(|path| {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.clone(),
                source,
            })
        });
        let key = key.transpose()?.map(|key| key.trim().to_owned());
        for (path, value) in [
            ("state_dir", &self.state_dir),
            ("server.url", &self.server),
            ("server.provisioning_key", &self.provisioning_key),
            ("server.provisioning_key", &key),
            ("engine.address", &self.engine),
            ("device.name", &self.name),
        ] {
            if let Some(value) = value {
                flags.push((path, value.clone()));
            }
        }
        let environment = windlass_settings::environment(PREFIX);
        Ok(Config::load(self.config.as_deref(), &environment, &flags)?)
    }
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
