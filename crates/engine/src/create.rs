//! Making containers: everything that a spec says, in the engine's words.

use crate::engine::{Engine, SLOW};
use crate::error::Error;
use crate::networks::endpoint;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount as EngineMount, MountType, NetworkingConfig, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::collections::{BTreeMap, HashMap};
use windlass_reconcile::spec::{ContainerSpec, Healthcheck, Mount, Port, Protocol, Restart};

/// A network that a container is in, and its names there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The engine's name of the network.
    pub network: String,
    /// What others in it find the container by, beside its own name.
    pub aliases: Vec<String>,
}

/// A container that is to be made.
#[derive(Debug, Clone)]
pub struct ContainerPlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its image, by a name or id that the engine knows.
    pub image: &'a str,
    /// Everything else. Its networks and secret files are not read here: see the other fields.
    pub spec: &'a ContainerSpec,
    /// Labels beside the spec's own.
    pub labels: BTreeMap<String, String>,
    /// Variables beside the spec's own, which they replace.
    pub environment: BTreeMap<String, String>,
    /// Its networks; none where the spec has a network mode.
    pub attachments: Vec<Attachment>,
}

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// 64 hex digits.
    pub id: String,
    /// What the engine could not do as it was asked: limits that its kernel does not know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container and does not start it. It is in the first of its networks only: engines before API
    /// 1.44 take no more, so callers [`Engine::attach`] it to the others.
    ///
    /// # Errors
    /// [`Error::Missing`] where the image is not there, [`Error::Conflict`] where the name is taken; where the
    /// engine refuses.
    pub async fn create(&self, plan: &ContainerPlan<'_>) -> Result<Created, Error> {
        self.make(plan.name, body(plan)).await
    }

    /// Makes what is asked for.
    pub(crate) async fn make(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<Created, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
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
}

fn body(plan: &ContainerPlan<'_>) -> ContainerCreateBody {
    let spec = plan.spec;
    let mut environment = spec.environment.clone();
    environment.extend(plan.environment.clone());
    let mut labels = spec.labels.clone();
    labels.extend(plan.labels.clone());
    ContainerCreateBody {
        image: Some(plan.image.to_owned()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        env: Some(
            environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        labels: Some(labels.into_iter().collect()),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_seconds.map(i64::from),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        exposed_ports: Some(spec.ports.iter().map(exposed).collect()),
        networking_config: plan.attachments.first().map(|first| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(first.network.clone(), endpoint(first))])),
        }),
        host_config: Some(host_config(plan)),
        ..Default::default()
    }
}

fn host_config(plan: &ContainerPlan<'_>) -> HostConfig {
    let spec = plan.spec;
    let limits = &spec.resources;
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    HostConfig {
        network_mode: plan
            .attachments
            .first()
            .map(|first| first.network.clone())
            .or_else(|| spec.network_mode.clone()),
        port_bindings: Some(bindings(&spec.ports)),
        binds: Some(spec.mounts.iter().filter_map(bind).collect()),
        mounts: Some(spec.mounts.iter().filter_map(volume).collect()),
        restart_policy: Some(restart(spec.restart)),
        nano_cpus: limits
            .cpu_milli
            .map(|milli| signed(milli.saturating_mul(1_000_000))),
        memory: limits.memory_bytes.map(signed),
        memory_reservation: limits.memory_reserved_bytes.map(signed),
        pids_limit: limits.pids.map(i64::from),
        cap_add: some(&spec.cap_add),
        cap_drop: some(&spec.cap_drop),
        devices: Some(spec.devices.iter().map(|text| device(text)).collect()),
        privileged: Some(spec.privileged),
        readonly_rootfs: Some(spec.read_only),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.clone().into_iter().collect()),
        extra_hosts: Some(
            spec.extra_hosts
                .iter()
                .map(|(name, address)| format!("{name}:{address}"))
                .collect(),
        ),
        dns: some(&spec.dns),
        init: spec.init,
        log_config: spec.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone()),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        ..Default::default()
    }
}

fn exposed(port: &Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container)
}

fn bindings(ports: &[Port]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.address.clone(),
            host_port: Some(match port.host {
                Some((from, to)) if from == to => from.to_string(),
                Some((from, to)) => format!("{from}-{to}"),
                // Any that is free.
                None => String::new(),
            }),
        };
        map.entry(exposed(port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

/// A path of the host, in the form that makes the folder where it is not there, as `docker run -v` does.
fn bind(mount: &Mount) -> Option<String> {
    let source = mount
        .source
        .as_deref()
        .filter(|source| source.starts_with('/'))?;
    let mode = if mount.read_only { "ro" } else { "rw" };
    Some(format!("{source}:{}:{mode}", mount.target))
}

fn volume(mount: &Mount) -> Option<EngineMount> {
    let source = mount.source.as_deref();
    if source.is_some_and(|source| source.starts_with('/')) {
        return None;
    }
    Some(EngineMount {
        typ: Some(MountType::VOLUME),
        source: source.map(str::to_owned),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    })
}

fn restart(policy: Restart) -> RestartPolicy {
    let (name, tries) = match policy {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::OnFailure(tries) => (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(tries))),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: tries,
    }
}

/// `/dev/ttyS0[:/dev/ttyS0[:rwm]]`.
fn device(text: &str) -> DeviceMapping {
    let mut parts = text.splitn(3, ':');
    let on_host = parts.next().unwrap_or_default();
    let inside = parts.next().unwrap_or(on_host);
    DeviceMapping {
        path_on_host: Some(on_host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanoseconds =
        |seconds: Option<u32>| seconds.map(|seconds| i64::from(seconds) * 1_000_000_000);
    HealthConfig {
        test: Some(check.test.clone()),
        interval: nanoseconds(check.interval_seconds),
        timeout: nanoseconds(check.timeout_seconds),
        retries: check.retries.map(i64::from),
        start_period: nanoseconds(check.start_period_seconds),
        start_interval: None,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(spec: &ContainerSpec) -> serde_json::Value {
        let plan = ContainerPlan {
            name: "web",
            image: "demo:1",
            spec,
            labels: BTreeMap::from([("windlass.app".to_owned(), "1".to_owned())]),
            environment: BTreeMap::from([("SECRET".to_owned(), "s".to_owned())]),
            attachments: vec![Attachment {
                network: "demo-net".to_owned(),
                aliases: vec!["web".to_owned()],
            }],
        };
        serde_json::to_value(body(&plan)).unwrap()
    }

    fn mount(source: Option<&str>, read_only: bool) -> Mount {
        Mount {
            source: source.map(str::to_owned),
            target: "/data".to_owned(),
            read_only,
        }
    }

    #[test]
    fn a_port_is_fixed_or_from_a_range_or_any_and_may_have_an_address() {
        let port = |address: Option<&str>, host, protocol| Port {
            address: address.map(str::to_owned),
            host,
            container: 80,
            protocol,
        };
        let spec = ContainerSpec {
            ports: vec![
                port(Some("127.0.0.1"), Some((8080, 8080)), Protocol::Tcp),
                port(None, Some((9000, 9010)), Protocol::Tcp),
                port(None, None, Protocol::Udp),
            ],
            ..Default::default()
        };
        let bindings = &made(&spec)["HostConfig"]["PortBindings"];
        assert_eq!(bindings["80/tcp"][0]["HostIp"], "127.0.0.1");
        assert_eq!(bindings["80/tcp"][0]["HostPort"], "8080");
        assert_eq!(bindings["80/tcp"][1]["HostPort"], "9000-9010");
        assert_eq!(bindings["80/udp"][0]["HostPort"], "");
    }

    #[test]
    fn paths_of_the_host_are_binds_and_everything_else_is_a_volume() {
        let spec = ContainerSpec {
            mounts: vec![
                mount(Some("/srv/data"), true),
                mount(Some("named"), false),
                mount(None, false),
            ],
            ..Default::default()
        };
        let host = &made(&spec)["HostConfig"];
        assert_eq!(host["Binds"], serde_json::json!(["/srv/data:/data:ro"]));
        assert_eq!(host["Mounts"][0]["Source"], "named");
        assert_eq!(host["Mounts"][0]["Type"], "volume");
        assert!(host["Mounts"][1].get("Source").is_none());
    }

    #[test]
    fn a_device_has_the_same_path_inside_where_it_does_not_say() {
        let short = device("/dev/ttyS0");
        assert_eq!(short.path_in_container.as_deref(), Some("/dev/ttyS0"));
        assert_eq!(short.cgroup_permissions.as_deref(), Some("rwm"));
        let long = device("/dev/ttyS0:/dev/modem:r");
        assert_eq!(long.path_in_container.as_deref(), Some("/dev/modem"));
        assert_eq!(long.cgroup_permissions.as_deref(), Some("r"));
    }

    #[test]
    fn secrets_replace_variables_and_the_agents_labels_replace_the_targets() {
        let spec = ContainerSpec {
            environment: BTreeMap::from([
                ("SECRET".to_owned(), "visible".to_owned()),
                ("A".to_owned(), "b".to_owned()),
            ]),
            labels: BTreeMap::from([("windlass.app".to_owned(), "2".to_owned())]),
            ..Default::default()
        };
        let body = made(&spec);
        assert_eq!(body["Env"], serde_json::json!(["A=b", "SECRET=s"]));
        assert_eq!(body["Labels"]["windlass.app"], "1");
    }

    #[test]
    fn the_first_network_is_its_mode_and_carries_its_names() {
        let body = made(&ContainerSpec::default());
        assert_eq!(body["HostConfig"]["NetworkMode"], "demo-net");
        let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(endpoints["demo-net"]["Aliases"], serde_json::json!(["web"]));
    }

    #[test]
    fn limits_and_checks_are_in_the_engines_units() {
        let mut spec = ContainerSpec::default();
        spec.resources.cpu_milli = Some(1500);
        spec.resources.memory_bytes = Some(64 << 20);
        spec.restart = Restart::OnFailure(3);
        spec.healthcheck = Some(Healthcheck {
            test: vec!["CMD".to_owned(), "/app".to_owned()],
            interval_seconds: Some(2),
            timeout_seconds: None,
            retries: Some(4),
            start_period_seconds: None,
        });
        let body = made(&spec);
        assert_eq!(body["HostConfig"]["NanoCpus"], 1_500_000_000_i64);
        assert_eq!(body["HostConfig"]["Memory"], 64 << 20);
        assert_eq!(body["HostConfig"]["RestartPolicy"]["Name"], "on-failure");
        assert_eq!(body["HostConfig"]["RestartPolicy"]["MaximumRetryCount"], 3);
        assert_eq!(body["Healthcheck"]["Interval"], 2_000_000_000_i64);
        assert_eq!(body["Healthcheck"]["Retries"], 4);
    }
}
