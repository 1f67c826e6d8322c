//! `windlass up --agent`: the agent of this machine beside the server. Containers that ask for it by their label are
//! taken as they are, and target and policies follow what the agent holds.
//!
//! The agent is the ordinary one and speaks HTTP to the server. docs/adr/0026-watch-mode.md says why.

mod asks;
mod follow;
mod keys;
mod restore;
mod target;
mod wishes;

use crate::exit::Failure;
use follow::Follower;
use restore::HadTaken;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_agent::config::{Config, ConfigError, PREFIX};
use windlass_agent::identity::Identity;
use windlass_agent::reconciler::Fault;
use windlass_agent::state::StateDir;
use windlass_agent::taking::{Book, Watching};
use windlass_agent::work::Docker;
use windlass_agent::{agent, cli};
use windlass_client::Client;
use windlass_service::Deps;
use windlass_store::provisioning;
use windlass_types::device::NewProvisioningKey;
use windlass_types::ids::{DeviceId, FleetId};

/// The fleet of the machine's own agent.
const FLEET: &str = "local";
/// The folder of its state below the data folder.
const FOLDER: &str = "agent";
/// How long is waited before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The machine's own agent, ready to run.
pub(crate) struct Local {
    config: Config,
    state: StateDir,
    uuid: DeviceId,
    client: Client,
    deps: Deps,
}

/// Where its settings and its state are.
pub(crate) struct Place<'a> {
    /// The data folder.
    pub(crate) data: Option<&'a Path>,
    /// The container engine.
    pub(crate) engine: Option<&'a str>,
    /// Where the server listens.
    pub(crate) address: SocketAddr,
}

impl Local {
    /// Reads its settings, and makes its identity and the key with which the target is set.
    pub(crate) async fn open(place: &Place<'_>, deps: &Deps) -> Result<Self, Failure> {
        let url = format!("http://{}", loopback(place.address));
        let mut flags = vec![("server.url", url.clone())];
        flags.extend(
            place
                .engine
                .map(|engine| ("engine.address", engine.to_owned())),
        );
        let environment = windlass_settings::environment(PREFIX);
        let file = std::env::var_os("WINDLASS_AGENT_CONFIG").map(PathBuf::from);
        let mut config = Config::load(file.as_deref(), &environment, &flags).map_err(wrong)?;
        if config.state_dir == Config::default().state_dir {
            config.state_dir = place
                .data
                .unwrap_or_else(|| Path::new(crate::up::DATA))
                .join(FOLDER);
        }
        let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
        let state = StateDir::open(&config.state_dir).map_err(|error| failed(&error))?;
        let identity = Identity::of(&state, chrono::Utc::now()).map_err(|error| failed(&error))?;
        let key = keys::operator(&state, deps).await?;
        let client = Client::direct(&url, Some(key))?;
        Ok(Self {
            config,
            state,
            uuid: identity.uuid,
            client,
            deps: deps.clone(),
        })
    }

    /// Runs until shutdown. The server must be about to serve.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), Failure> {
        let Some(()) = shutdown.run_until_cancelled(self.provide_key()).await else {
            return Ok(());
        };
        let book = watch::Sender::new(Arc::new(Book::new()));
        let said = watch::Sender::new(Arc::new(Vec::new()));
        let watching = Watching {
            understands: asks::understands,
            book: book.clone(),
            said: said.subscribe(),
        };
        let follower = Follower {
            client: self.client,
            deps: self.deps,
            uuid: self.uuid,
            book: book.subscribe(),
            said,
            had: HadTaken::read(&self.state),
        };
        let fault = std::env::var("WINDLASS_TEST_AGENT_FAULT");
        let fault = fault.map_or_else(|_| Fault::default(), |point| Fault::parse(&point));
        let agent = agent::run_watching(
            &self.config,
            Docker::watching,
            fault,
            Some(watching),
            shutdown,
        );
        let (ended, _) = tokio::join!(agent, shutdown.run_until_cancelled(follower.run()));
        ended.map_err(|error| Failure::from(cli::Failure::from(error)))
    }

    /// Has the server make a key with which the agent registers, where the store does not know it: a note of the agent's
    /// that it has registered may be one about a database that is lost.
    async fn provide_key(&mut self) {
        loop {
            match self.key_if_unknown().await {
                Ok(key) => {
                    self.config.server.provisioning_key = key;
                    return;
                }
                Err(reason) => tracing::debug!(reason, "there is no key to register with yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn key_if_unknown(&self) -> Result<Option<String>, String> {
        let told = |error: windlass_store::Error| error.to_string();
        let mut session = self.deps.store.read().await.map_err(told)?;
        let known = provisioning::registered(&mut session, self.uuid).await;
        drop(session);
        match known.map_err(told)? {
            Some(_) => Ok(None),
            None => self.make_key().await.map(Some),
        }
    }

    async fn make_key(&self) -> Result<String, String> {
        let new = NewProvisioningKey {
            fleet_id: fleet()?,
            max_devices: 1,
            expires_in_days: 1,
            description: "this machine's own agent (up --agent)".to_owned(),
        };
        let made = self.client.create_provisioning_key(&new).await;
        let made = made.map_err(|error| error.to_string())?;
        made.key.ok_or_else(|| "the server made no key".to_owned())
    }
}

fn fleet() -> Result<FleetId, String> {
    FleetId::try_from(FLEET.to_owned()).map_err(|error| error.to_string())
}

fn wrong(error: ConfigError) -> Failure {
    Failure::from(cli::Failure::from(error))
}

/// Where this machine itself reaches a listener.
fn loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_the_machines_own() {
        for (listens, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(loopback(listens.parse().unwrap()).to_string(), reached);
        }
    }
}
