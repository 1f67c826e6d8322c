//! The whole agent: one state directory, one identity, and the tasks around them.

use crate::config::Config;
use crate::facts::Facts;
use crate::identity::{Identity, IdentityError};
use crate::link::{Line, Link, Offer};
use crate::machine::Machine;
use crate::picture::Picture;
use crate::reconciler::{Fault, Kept, Reconciler, own_container};
use crate::reporter::Reporter;
use crate::ship::{Shipped, Shipper};
use crate::state::{self, LockError, StateDir, StateError, StateLock};
use crate::status::StatusWriter;
use crate::taking::Watching;
use chrono::Utc;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_client::Client;

/// How often a state directory that another agent has is tried again.
const LOCK: Duration = Duration::from_millis(250);

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No server is named, or none that can be.
    #[error(
        "server.url is {0:?}: give the server's address, such as https://windlass.example:8080"
    )]
    Server(String),
    /// TLS, mostly for want of certificate authorities.
    #[error(
        "no connection to {url} can be prepared (where there are no certificate authorities: install ca-certificates, \
         or mount the host's /etc/ssl)"
    )]
    Tls {
        /// The server.
        url: String,
        /// Why.
        source: windlass_client::Error,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state directory's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Runs an agent until shutdown. `machine` makes the engine's side for a scope. Where another agent has the state
/// directory, this one waits for it to end: that is how an agent that runs in a container takes over
/// from the one before it.
///
/// # Errors
/// [`RunError`] for what a person has to mend; whatever may mend itself is waited for.
pub async fn run<M: Machine>(
    config: &Config,
    machine: impl FnOnce(&Config, &str) -> M,
    fault: Fault,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    run_watching(config, machine, fault, None, shutdown).await
}

/// The same; containers that somebody else made are taken where it is told how.
///
/// # Errors
/// As [`run`].
pub async fn run_watching<M: Machine>(
    config: &Config,
    machine: impl FnOnce(&Config, &str) -> M,
    fault: Fault,
    watching: Option<Watching>,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let url = &config.server.url;
    // The server of a watching agent is this very process, wherever it listens: no proxy stands between.
    let connect = match watching {
        Some(_) => Client::direct,
        None => Client::new,
    };
    let client = connect(url, None).map_err(|error| match error {
        windlass_client::Error::Address(_) => RunError::Server(url.clone()),
        source => RunError::Tls {
            url: url.clone(),
            source,
        },
    })?;
    let state = StateDir::open(&config.state_dir)?;
    let Some(lock) = shutdown.run_until_cancelled(own_lock(&state)).await else {
        return Ok(());
    };
    let _lock = lock?;
    let identity = Identity::of(&state, Utc::now())?;
    let scope = config
        .engine
        .scope
        .clone()
        .unwrap_or_else(|| identity.uuid.to_string());
    tracing::info!(device.uuid = %identity.uuid, server = url, scope, "the agent runs");
    let machine = Arc::new(machine(config, &scope));
    let facts = Facts::read(&config.device);
    let kept = Kept::open(state.clone())?;
    let longest = Duration::from_secs(config.server.longest_backoff_seconds);
    let line = Arc::new(Line::new(client, identity.clone()));
    let pictures = watch::Sender::new(Arc::new(Picture {
        version: kept.version(),
        ..Picture::default()
    }));
    let shipped = watch::Sender::new(Arc::new(Shipped::new()));
    let offers = watch::Sender::new(Offer::None);

    let reconciler = Reconciler {
        machine: Arc::clone(&machine),
        kept,
        settings: config.update.clone(),
        own: own_container(),
        offers: offers.subscribe(),
        pictures: pictures.clone(),
        shipped: shipped.clone(),
        fault,
        watching,
    };
    let link = Link {
        line: Arc::clone(&line),
        config: config.server.clone(),
        facts: facts.clone(),
        state: state.clone(),
        offers,
    };
    let reporter = Reporter {
        line: Arc::clone(&line),
        config: config.report.clone(),
        longest,
        facts,
        pictures: pictures.subscribe(),
        history: state.file(state::HISTORY),
        storage: storage(config),
    };
    let shipper = Shipper {
        machine,
        line: Arc::clone(&line),
        shipped: shipped.subscribe(),
        state: state.clone(),
        longest,
    };
    let status = StatusWriter {
        state,
        identity,
        line,
        pictures: pictures.subscribe(),
    };
    tokio::join!(
        link.run(shutdown),
        reconciler.run(shutdown),
        reporter.run(shutdown),
        shipper.run(shutdown),
        status.run(shutdown),
    );
    tracing::info!("the agent ends; what runs goes on");
    Ok(())
}

/// Waits for the state directory.
async fn own_lock(state: &StateDir) -> Result<StateLock, LockError> {
    let mut told = false;
    loop {
        match state.lock() {
            Err(LockError::Held { path, by }) => {
                if !told {
                    tracing::warn!(
                        directory = %path.display(),
                        by,
                        "another agent has the state directory; this one waits for it to end"
                    );
                    told = true;
                }
                sleep(LOCK).await;
            }
            other => return other,
        }
    }
}

fn storage(config: &Config) -> PathBuf {
    let given = config.engine.storage.clone();
    given.unwrap_or_else(|| config.state_dir.clone())
}
