//! The program people install: the whole system in one process, a demonstration of it, and the
//! operator's commands.
//!
//! * Owns: the command line, its output and its exit codes.
//! * Never: touches a database that another process has open; commands go through the API.
//! * Woken by: a person or a script.
//! * Test it with: `cargo test -p windlass`.
//!
//! Everything asynchronous is in this library, so that the binary is a few lines and links quickly.

mod cli;
mod demo;
mod devices;
mod events;
mod exit;
mod freezes;
mod holds;
mod keys;
mod local;
mod lookup;
mod output;
mod penalties;
mod plans;
mod policies;
mod progress;
mod quarantine;
mod registries;
mod rollouts;
mod status;
mod times;
mod trigger;
mod up;
mod watch;
mod webhooks;
mod why;

use clap::{CommandFactory, Parser};
use cli::{Arguments, Command};
use exit::Failure;
use output::Out;
use std::process::ExitCode;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` are no errors; all else is exit code 2.
            let code = if error.use_stderr() { 2 } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit.code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut out = Out::stdout(arguments.json);
    match arguments.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "windlass", &mut script);
            out.raw(&script)
        }
        Command::CheckConfig(given) => up::check_config(&given, &mut out),
        Command::Up(given) => runtime()?.block_on(up::up(&given)),
        Command::Agent { command } => Ok(windlass_agent::cli::command(&command, arguments.json)?),
        Command::Demo(given) => runtime()?.block_on(demo::demo(&given, &mut out)),
        remote => {
            let server = arguments.server;
            runtime()?.block_on(operate(remote, &server, &mut out))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))
}

/// The commands that go through the API.
async fn operate(command: Command, server: &cli::Server, out: &mut Out) -> Result<(), Failure> {
    let client = server.client()?;
    match command {
        Command::Status => status::status(&client, out).await,
        Command::Rollouts { command } => rollouts::run(&client, command, out).await,
        Command::Devices { command } => devices::run(&client, command, out).await,
        Command::Policies { command } => policies::run(&client, command, out).await,
        Command::Why { what } => why::run(&client, &what, out).await,
        Command::Trigger(given) => trigger::run(&client, given, out).await,
        Command::Events(given) => events::run(&client, given, out).await,
        Command::Plans { command } => plans::run(&client, command, out).await,
        Command::Freezes { command } => freezes::run(&client, command, out).await,
        Command::Hold(given) => holds::hold(&client, given, out).await,
        Command::Holds { state } => holds::list(&client, state, out).await,
        Command::Unhold { id, reason } => {
            holds::unhold(&client, windlass_types::ids::HoldId(id), &reason, out).await
        }
        Command::Stop(why) => freezes::stop(&client, &why.reason, out).await,
        Command::Go(why) => freezes::go(&client, &why.reason, out).await,
        Command::Penalties { command } => penalties::run(&client, command, out).await,
        Command::Registries { command } => registries::run(&client, command, out).await,
        Command::Quarantine { command } => quarantine::run(&client, command, out).await,
        Command::Webhooks { command } => webhooks::run(&client, command, out).await,
        Command::Keys { command } => keys::run(&client, command, out).await,
        Command::Up(_)
        | Command::Agent { .. }
        | Command::Demo(_)
        | Command::CheckConfig(_)
        | Command::Completions { .. } => Ok(()),
    }
}
