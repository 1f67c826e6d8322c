//! Everything that a container was given beside its image, so that it can be made anew with another one.
//!
//! The engine's own words are kept as they are. What the image gave is taken out, so that it does not shadow what
//! another image gives; what the engine chose by itself (a host name, an alias) is taken out, too; and
//! volumes without a name are named, so that what is in them is there again.

mod reading;

pub(crate) use reading::is_joined;

use crate::engine::{Engine, QUICK, SLOW};
use crate::error::Error;
use crate::{Created, Found};
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointSettings, HostConfig, NetworkConnectRequest,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::RenameContainerOptionsBuilder;
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
        let Some(container) = self.inspected(id).await? else {
            return Ok(None);
        };
        let image = container.image.clone().unwrap_or_default();
        let asked = self
            .call("inspect image", QUICK, async |docker| {
                docker.inspect_image(&image).await
            })
            .await;
        match asked {
            Ok(image) => Ok(Some(reading::read(
                container,
                &image.config.unwrap_or_default(),
            ))),
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
        self.make(name, body(image, settings, labels)).await
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

#[cfg(test)]
mod tests;
