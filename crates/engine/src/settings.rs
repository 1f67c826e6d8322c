//! Everything that a container was given beside its image, so that it can be made anew with another one.
//!
//! The engine's own words are kept as they are. What the image gave is taken out, so that it does not shadow what
//! another image gives; what the engine chose by itself (a host name, an alias) is taken out, too; and
//! volumes without a name are named, so that what is in them is there again.

use crate::engine::{Engine, QUICK, SLOW};
use crate::error::Error;
use crate::{Created, Found};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, EndpointSettings,
    HostConfig, ImageConfig, MountPoint, MountType, NetworkConnectRequest, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RenameContainerOptionsBuilder,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What a container was given beside its image, in the engine's own words. Nobody outside reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSettings {
    container: ContainerCreateBody,
    networks: BTreeMap<String, EndpointSettings>,
}

impl ContainerSettings {
    /// The labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.container.labels.iter().flatten();
        labels.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same without labels that begin so.
    #[must_use]
    pub fn without_labels(mut self, is_left_out: impl Fn(&str) -> bool) -> Self {
        if let Some(labels) = &mut self.container.labels {
            labels.retain(|name, _| !is_left_out(name));
        }
        self
    }

    /// What the engine does when it exits: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
    #[must_use]
    pub fn restart(&self) -> String {
        let host = self.container.host_config.as_ref();
        restart_word(host.and_then(|host| host.restart_policy.as_ref()))
    }

    /// What it may use of the machine, as [`Found::limits`] says it.
    #[must_use]
    pub fn limits(&self) -> String {
        let host = self.container.host_config.as_ref();
        host.map(limits_word).unwrap_or_default()
    }

    /// The networks that it is to be in.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        self.networks.keys().map(String::as_str)
    }

    /// The same in an order that does not depend on chance, as text: equal settings give equal texts.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut ordered = self.clone();
        if let Some(env) = &mut ordered.container.env {
            env.sort();
        }
        // `Value` has ordered maps; these types have text keys only, so writing them cannot fail.
        serde_json::to_value(&ordered)
            .map(|value| value.to_string())
            .unwrap_or_default()
    }
}

impl Engine {
    /// What a container was given beside its image; none where there is no such container or its image is gone.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn settings(&self, id: &str) -> Result<Option<ContainerSettings>, Error> {
        let asked = self
            .call("inspect container", QUICK, async |docker| {
                docker
                    .inspect_container(id, None::<InspectContainerOptions>)
                    .await
            })
            .await;
        let container = match asked {
            Ok(container) => container,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let image = container.image.clone().unwrap_or_default();
        let asked = self
            .call("inspect image", QUICK, async |docker| {
                docker.inspect_image(&image).await
            })
            .await;
        match asked {
            Ok(image) => Ok(Some(read(container, &image.config.unwrap_or_default()))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a container with these settings, of this image, with these labels beside its own; does not start it. It
    /// is in the network of its mode only: callers [`Engine::attach_as`] it to the others.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub async fn create_as(
        &self,
        name: &str,
        image: &str,
        settings: &ContainerSettings,
        labels: &BTreeMap<String, String>,
    ) -> Result<Created, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let body = body(image, settings, labels);
        let made = self
            .call("create container", SLOW, async |docker| {
                docker.create_container(Some(options), body).await
            })
            .await?;
        Ok(Created {
            id: made.id,
            warnings: made.warnings,
        })
    }

    /// Puts a container into the networks of its settings that it is not in.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn attach_as(
        &self,
        found: &Found,
        settings: &ContainerSettings,
    ) -> Result<(), Error> {
        for (network, endpoint) in &settings.networks {
            if found.networks.contains_key(network) {
                continue;
            }
            let request = NetworkConnectRequest {
                container: found.id.clone(),
                endpoint_config: Some(endpoint.clone()),
            };
            self.call("attach to network", SLOW, async |docker| {
                docker.connect_network(network, request).await
            })
            .await?;
        }
        Ok(())
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::Conflict`] where another has it.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), Error> {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.call("rename container", QUICK, async |docker| {
            docker.rename_container(id, options).await
        })
        .await
    }

    /// Changes what the engine does when a container exits, as [`ContainerSettings::restart`] says it.
    ///
    /// # Errors
    /// Where the engine refuses; some do not offer it.
    pub async fn set_restart(&self, id: &str, restart: &str) -> Result<(), Error> {
        let body = ContainerUpdateBody {
            restart_policy: Some(restart_policy(restart)),
            ..Default::default()
        };
        self.call("update container", QUICK, async |docker| {
            docker.update_container(id, body).await
        })
        .await
    }
}

/// What can be changed of a container while it runs, in a fixed order; what is not limited is left out.
pub(crate) fn limits_word(host: &HostConfig) -> String {
    let limits = [
        ("BlkioWeight", host.blkio_weight.map(i64::from)),
        ("CpuPeriod", host.cpu_period),
        ("CpuQuota", host.cpu_quota),
        ("CpuShares", host.cpu_shares),
        ("Memory", host.memory),
        ("MemoryReservation", host.memory_reservation),
        ("MemorySwap", host.memory_swap),
        ("NanoCpus", host.nano_cpus),
        ("PidsLimit", host.pids_limit),
    ];
    let limits = limits.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| *value != 0)?;
        Some(format!("{name}={value}"))
    });
    let sets = [
        ("CpusetCpus", &host.cpuset_cpus),
        ("CpusetMems", &host.cpuset_mems),
    ];
    let sets = sets.into_iter().filter_map(|(name, value)| {
        let value = value.as_ref().filter(|value| !value.is_empty())?;
        Some(format!("{name}={value}"))
    });
    limits.chain(sets).collect::<Vec<_>>().join(" ")
}

pub(crate) fn restart_word(policy: Option<&RestartPolicy>) -> String {
    let times = policy
        .and_then(|policy| policy.maximum_retry_count)
        .filter(|times| *times > 0);
    match (policy.and_then(|policy| policy.name), times) {
        (Some(RestartPolicyNameEnum::ON_FAILURE), Some(times)) => format!("on-failure:{times}"),
        (Some(RestartPolicyNameEnum::ON_FAILURE), None) => "on-failure".to_owned(),
        (Some(RestartPolicyNameEnum::ALWAYS), _) => "always".to_owned(),
        (Some(RestartPolicyNameEnum::UNLESS_STOPPED), _) => "unless-stopped".to_owned(),
        (Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None, _) => {
            "no".to_owned()
        }
    }
}

fn restart_policy(word: &str) -> RestartPolicy {
    let (name, times) = match word {
        "always" => (RestartPolicyNameEnum::ALWAYS, None),
        "unless-stopped" => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        "on-failure" => (RestartPolicyNameEnum::ON_FAILURE, None),
        other => match other.strip_prefix("on-failure:") {
            Some(times) => (RestartPolicyNameEnum::ON_FAILURE, times.parse().ok()),
            None => (RestartPolicyNameEnum::NO, None),
        },
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: times,
    }
}

fn body(
    image: &str,
    settings: &ContainerSettings,
    labels: &BTreeMap<String, String>,
) -> ContainerCreateBody {
    let mut body = settings.container.clone();
    body.image = Some(image.to_owned());
    let mut all = body.labels.take().unwrap_or_default();
    all.extend(labels.clone());
    body.labels = Some(all);
    let host = body.host_config.as_ref();
    let mode = host.and_then(|host| host.network_mode.clone());
    let first = mode.and_then(|mode| {
        let endpoint = settings.networks.get(&mode)?.clone();
        Some(HashMap::from([(mode, endpoint)]))
    });
    body.networking_config = first.map(|first| NetworkingConfig {
        endpoints_config: Some(first),
    });
    body
}

fn read(answer: ContainerInspectResponse, image: &ImageConfig) -> ContainerSettings {
    let id = answer.id.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let mut host = answer.host_config.unwrap_or_default();
    let mode = host.network_mode.clone().unwrap_or_default();
    let borrowed = mode.starts_with("container:");
    let shares_host = mode == "host" || host.uts_mode.as_deref() == Some("host");
    volumes(&mut host, answer.mounts.unwrap_or_default());
    host.container_id_file = None;
    let (entrypoint, cmd) = command(config.entrypoint, config.cmd, image);
    let container = ContainerCreateBody {
        hostname: config
            .hostname
            .filter(|name| !name.is_empty() && !id.starts_with(name.as_str()))
            .filter(|_| !borrowed && !shares_host),
        domainname: config.domainname.filter(|name| !name.is_empty()),
        user: own(config.user, image.user.as_ref()),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: without(config.exposed_ports, image.exposed_ports.as_ref()),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: without(config.env, image.env.as_ref()),
        cmd,
        healthcheck: own(config.healthcheck, image.healthcheck.as_ref()),
        volumes: without(config.volumes, image.volumes.as_ref()),
        working_dir: own(config.working_dir, image.working_dir.as_ref()),
        entrypoint,
        network_disabled: config.network_disabled,
        labels: Some(own_labels(config.labels, image.labels.as_ref())),
        stop_signal: own(config.stop_signal, image.stop_signal.as_ref()),
        stop_timeout: config.stop_timeout,
        shell: own(config.shell, image.shell.as_ref()),
        host_config: Some(host),
        ..Default::default()
    };
    let settings = answer.network_settings.unwrap_or_default();
    let networks = settings.networks.unwrap_or_default();
    let networks = networks
        .into_iter()
        .filter(|(name, _)| is_joined(&mode, name))
        .map(|(name, at)| (name, endpoint(&id, at)))
        .collect();
    ContainerSettings {
        container,
        networks,
    }
}

/// Whether a container of this mode was put into a network, and is not in it by its mode alone.
pub(crate) fn is_joined(mode: &str, network: &str) -> bool {
    let by_mode = mode.starts_with("container:") || mode == "host" || mode == "none";
    let is_default = network == "bridge" && matches!(mode, "bridge" | "default" | "");
    !by_mode && !is_default
}

/// What a network was told of the container, without what it made of that.
fn endpoint(id: &str, at: EndpointSettings) -> EndpointSettings {
    // Engines add the beginning of the id by themselves.
    let is_own = |alias: &String| !(alias.len() >= 12 && id.starts_with(alias.as_str()));
    let aliases: Option<Vec<String>> = at
        .aliases
        .map(|aliases| aliases.into_iter().filter(is_own).collect());
    EndpointSettings {
        ipam_config: at.ipam_config,
        links: at.links,
        aliases: aliases.filter(|aliases| !aliases.is_empty()),
        driver_opts: at.driver_opts,
        gw_priority: at.gw_priority.filter(|priority| *priority != 0),
        ..Default::default()
    }
}

/// The entry point and the command that were given. One that replaces the entry point takes the image's command away
/// with it, so it is kept with the command that there is.
fn command(
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    image: &ImageConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let some = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (has, gives) = (some(&entrypoint), some(&image.entrypoint));
    let (runs, usual) = (some(&cmd), some(&image.cmd));
    let cleared = runs.is_empty() && !usual.is_empty();
    if has.is_empty() && !gives.is_empty() {
        // Engines tell one that was taken away as none, and take none for the image's.
        return (Some(vec![String::new()]), cmd);
    }
    if has != gives || cleared {
        return (entrypoint, cmd);
    }
    (None, cmd.filter(|_| runs != usual))
}

fn own<T: PartialEq>(has: Option<T>, image: Option<&T>) -> Option<T> {
    has.filter(|has| Some(has) != image)
}

fn without(has: Option<Vec<String>>, image: Option<&Vec<String>>) -> Option<Vec<String>> {
    let gives = |one: &String| image.is_some_and(|image| image.contains(one));
    let own: Vec<String> = has?.into_iter().filter(|one| !gives(one)).collect();
    (!own.is_empty()).then_some(own)
}

fn own_labels(
    has: Option<HashMap<String, String>>,
    image: Option<&HashMap<String, String>>,
) -> HashMap<String, String> {
    let gives =
        |name: &String, value: &String| image.and_then(|image| image.get(name)) == Some(value);
    has.unwrap_or_default()
        .into_iter()
        .filter(|(name, value)| !gives(name, value))
        .collect()
}

/// Names the volumes that are really there, also those that were borrowed from other containers.
fn volumes(host: &mut HostConfig, there: Vec<MountPoint>) {
    let bound = |binds: &[String], at: &str| {
        binds.iter().any(|bind| {
            bind.split(':')
                .nth(1)
                .is_some_and(|target| same(target, at))
        })
    };
    for mount in there {
        let Some(at) = mount.destination.as_deref() else {
            continue;
        };
        if bound(host.binds.as_deref().unwrap_or_default(), at) {
            continue;
        }
        let mounts = host.mounts.iter_mut().flatten();
        let mut of = mounts.filter(|one| one.target.as_deref().is_some_and(|t| same(t, at)));
        if let Some(one) = of.next() {
            let unnamed = one.source.as_deref().unwrap_or_default().is_empty();
            if one.typ == Some(MountType::VOLUME) && unnamed {
                one.source.clone_from(&mount.name);
            }
            continue;
        }
        let source = match mount.typ.as_deref() {
            Some("volume") => mount.name.as_deref(),
            Some("bind") => mount.source.as_deref(),
            _ => None,
        };
        if let Some(source) = source.filter(|source| !source.is_empty()) {
            let mode = if mount.rw == Some(false) { "ro" } else { "rw" };
            let binds = host.binds.get_or_insert_default();
            binds.push(format!("{source}:{at}:{mode}"));
        }
    }
    host.volumes_from = None;
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

#[cfg(test)]
mod tests;
