//! Reading containers.

use crate::engine::{Engine, QUICK};
use crate::error::Error;
use crate::settings::{is_joined, limits_word, restart_word};
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthConfig, HealthStatusEnum, MountPoint,
    PortMap,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use windlass_reconcile::observed::{ContainerState, Health};
use windlass_reconcile::spec::{Healthcheck, Port, Protocol};

/// A container as the engine has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// 64 hex digits.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The id of its image.
    pub image_id: String,
    /// The image as it was asked for.
    pub image: String,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// The engine's word.
    pub state: ContainerState,
    /// The last start.
    pub started_at: Option<DateTime<Utc>>,
    /// The last end.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub exit_code: Option<i64>,
    /// Whether it was ended for want of memory.
    pub oom_killed: bool,
    /// How often the engine started it again.
    pub restarts: u32,
    /// What its own health check says, and the end of the last output.
    pub health: Option<(Health, String)>,
    /// When the engine asks that check.
    pub healthcheck: Option<Healthcheck>,
    /// `bridge`, `host`, `none`, a network's name.
    pub network_mode: String,
    /// Its networks by name: its aliases and its address there.
    pub networks: BTreeMap<String, (BTreeSet<String>, Option<String>)>,
    /// Ports that it was made to publish.
    pub ports: Vec<Port>,
    /// Ports that it publishes at the moment.
    pub published: Vec<Published>,
    /// How long it may take to stop, in seconds, where it was made so.
    pub stop_seconds: Option<u32>,
    /// What the engine does when it exits: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
    pub restart: String,
    /// Whether the engine removes it when it ends.
    pub auto_remove: bool,
    /// Files and folders of the machine that are bound into it.
    pub binds: BTreeSet<String>,
    /// What it may use of the machine, in a fixed order; empty where nothing is limited.
    pub limits: String,
    /// Containers whose processes it sees (`--pid`) or whose shared memory it has (`--ipc`), as the engine names them.
    pub borrows: BTreeSet<String>,
}

impl Found {
    /// The networks that it was put into: not the one that engines put everybody into, nor another container's.
    #[must_use]
    pub fn joined(&self) -> BTreeSet<String> {
        let names = self.networks.keys();
        names
            .filter(|name| is_joined(&self.network_mode, name))
            .cloned()
            .collect()
    }

    /// Whether it has the socket of an engine.
    #[must_use]
    pub fn has_engine_socket(&self) -> bool {
        let is_socket =
            |path: &str| path.ends_with("/docker.sock") || path.ends_with("/podman.sock");
        self.binds.iter().any(|path| is_socket(path))
    }
}

/// A container in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// 64 hex digits.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `bridge`, `host`, `none`, a network's name, or `container:` and an id.
    pub network_mode: String,
}

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The container's port.
    pub container: u16,
    /// Of which kind.
    pub protocol: Protocol,
    /// The address of the host.
    pub address: String,
    /// The host's port.
    pub host: u16,
}

impl Engine {
    /// The ids of all containers, also ended ones, that carry every one of these labels (`name=value` or `name`).
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn list(&self, labels: &[String]) -> Result<Vec<String>, Error> {
        let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .call("list containers", QUICK, async |docker| {
                docker.list_containers(Some(options)).await
            })
            .await?;
        Ok(found.into_iter().filter_map(|one| one.id).collect())
    }

    /// All containers, also ended ones, whosever they are.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn all(&self) -> Result<Vec<Listed>, Error> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = self
            .call("list containers", QUICK, async |docker| {
                docker.list_containers(Some(options)).await
            })
            .await?;
        let listed = |one: bollard::models::ContainerSummary| {
            let names = one.names.unwrap_or_default();
            // Links give a container further names, with another slash in them.
            let name = names.iter().map(|name| name.trim_start_matches('/'));
            Some(Listed {
                id: one.id?,
                name: name
                    .filter(|name| !name.contains('/'))
                    .min()
                    .unwrap_or_default()
                    .to_owned(),
                labels: one.labels.unwrap_or_default().into_iter().collect(),
                network_mode: one
                    .host_config
                    .and_then(|host| host.network_mode)
                    .unwrap_or_default(),
            })
        };
        Ok(found.into_iter().filter_map(listed).collect())
    }

    /// A container by id or name; none where it is not there.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn inspect(&self, id: &str) -> Result<Option<Found>, Error> {
        Ok(self.inspected(id).await?.map(read))
    }

    /// All that the engine says of a container; none where it is not there.
    pub(crate) async fn inspected(
        &self,
        id: &str,
    ) -> Result<Option<ContainerInspectResponse>, Error> {
        let asked = self
            .call("inspect container", QUICK, async |docker| {
                docker
                    .inspect_container(id, None::<InspectContainerOptions>)
                    .await
            })
            .await;
        match asked {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read(answer: ContainerInspectResponse) -> Found {
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let limits = limits_word(&host);
    let settings = answer.network_settings.unwrap_or_default();
    let networks = settings
        .networks
        .unwrap_or_default()
        .into_iter()
        .map(|(name, at)| {
            let aliases = at.aliases.unwrap_or_default().into_iter().collect();
            let address = at.ip_address.filter(|address| !address.is_empty());
            let address =
                address.or_else(|| at.global_ipv6_address.filter(|address| !address.is_empty()));
            (name, (aliases, address))
        })
        .collect();
    Found {
        id: answer.id.unwrap_or_default(),
        name: answer
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        image_id: answer.image.unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        created_at: answer.created,
        exit_code: state.exit_code,
        oom_killed: state.oom_killed.unwrap_or_default(),
        restarts: answer
            .restart_count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        started_at: instant(state.started_at.as_deref()),
        finished_at: instant(state.finished_at.as_deref()),
        health: state.health.and_then(health),
        healthcheck: config.healthcheck.and_then(healthcheck),
        state: word(state.status),
        network_mode: host.network_mode.unwrap_or_default(),
        networks,
        ports: host.port_bindings.map(|map| made(&map)).unwrap_or_default(),
        published: settings
            .ports
            .map(|map| published(&map))
            .unwrap_or_default(),
        stop_seconds: config
            .stop_timeout
            .and_then(|seconds| u32::try_from(seconds).ok()),
        binds: binds(answer.mounts.unwrap_or_default()),
        limits,
        borrows: [&host.pid_mode, &host.ipc_mode]
            .into_iter()
            .filter_map(|mode| mode.as_ref()?.strip_prefix("container:"))
            .map(str::to_owned)
            .collect(),
        restart: restart_word(host.restart_policy.as_ref()),
        auto_remove: host.auto_remove.unwrap_or_default(),
    }
}

fn binds(mounts: Vec<MountPoint>) -> BTreeSet<String> {
    let bound = mounts.into_iter();
    let bound = bound.filter(|mount| mount.typ.as_deref() == Some("bind"));
    bound.filter_map(|mount| mount.source).collect()
}

/// The engine's instants; year 1 means never.
fn instant(text: Option<&str>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text?).ok()?.to_utc();
    (at.timestamp() > 0).then_some(at)
}

const fn word(status: Option<ContainerStateStatusEnum>) -> ContainerState {
    match status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        // One that is being stopped runs until it has.
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => {
            ContainerState::Running
        }
        Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
        Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
        Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
        Some(ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::EMPTY) | None => {
            ContainerState::Dead
        }
    }
}

fn health(health: bollard::models::Health) -> Option<(Health, String)> {
    let says = match health.status? {
        HealthStatusEnum::STARTING => Health::Starting,
        HealthStatusEnum::HEALTHY => Health::Healthy,
        HealthStatusEnum::UNHEALTHY => Health::Unhealthy,
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => return None,
    };
    let output = health
        .log
        .and_then(|mut log| log.pop())
        .and_then(|last| last.output)
        .unwrap_or_default();
    Some((says, output.trim().to_owned()))
}

/// Of a check what says when it is asked; what is 0 or not there is the engine's usual.
fn healthcheck(check: HealthConfig) -> Option<Healthcheck> {
    let test = check.test.unwrap_or_default();
    if test.first().is_none_or(|first| first == "NONE") {
        return None;
    }
    let positive = |number: Option<i64>| u64::try_from(number?).ok().filter(|number| *number > 0);
    // Rounded up: it is waited for at least as long as the engine may take.
    let seconds = |nanoseconds: Option<i64>| {
        let seconds = positive(nanoseconds)?.div_ceil(1_000_000_000);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    };
    Some(Healthcheck {
        interval_seconds: seconds(check.interval),
        timeout_seconds: seconds(check.timeout),
        retries: positive(check.retries).map(|times| u32::try_from(times).unwrap_or(u32::MAX)),
        start_period_seconds: seconds(check.start_period),
        test,
    })
}

/// `8080/tcp` as a port and its kind; others than TCP and UDP are left out.
fn port(key: &str) -> Option<(u16, Protocol)> {
    let (number, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((number.parse().ok()?, protocol))
}

fn made(map: &PortMap) -> Vec<Port> {
    let mut ports: Vec<Port> = bindings(map)
        .map(|(container, protocol, address, host)| Port {
            address: Some(address).filter(|address| !address.is_empty()),
            host: match host.split_once('-') {
                Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
                None => host.parse().ok().map(|one| (one, one)),
            }
            .filter(|range| *range != (0, 0)),
            container,
            protocol,
        })
        .collect();
    ports.sort();
    ports
}

fn published(map: &PortMap) -> Vec<Published> {
    let mut ports: Vec<Published> = bindings(map)
        .filter_map(|(container, protocol, address, host)| {
            Some(Published {
                container,
                protocol,
                address,
                host: host.parse().ok()?,
            })
        })
        .collect();
    ports.sort_by(|a, b| (a.container, &a.address).cmp(&(b.container, &b.address)));
    ports
}

fn bindings(map: &PortMap) -> impl Iterator<Item = (u16, Protocol, String, String)> {
    map.iter()
        .filter_map(|(key, bindings)| Some((port(key)?, bindings.as_ref()?)))
        .flat_map(|((container, protocol), bindings)| {
            bindings.iter().map(move |binding| {
                (
                    container,
                    protocol,
                    binding.host_ip.clone().unwrap_or_default(),
                    binding.host_port.clone().unwrap_or_default(),
                )
            })
        })
}

#[cfg(test)]
mod tests;
