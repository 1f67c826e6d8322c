//! What an engine says of a container, turned into what it was given.

use super::ContainerSettings;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, ImageConfig,
    MountPoint, MountType,
};
use std::collections::HashMap;

/// Digits of an id that engines take and show for the whole.
const SHORT_ID: usize = 12;

pub(super) fn read(answer: ContainerInspectResponse, image: &ImageConfig) -> ContainerSettings {
    let id = answer.id.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let mut host = answer.host_config.unwrap_or_default();
    let mode = host.network_mode.clone().unwrap_or_default();
    let borrowed = mode.starts_with("container:");
    let shares_host = mode == "host" || host.uts_mode.as_deref() == Some("host");
    volumes(&mut host, answer.mounts.unwrap_or_default());
    host.container_id_file = None;
    let at = answer.network_settings.unwrap_or_default();
    let at = at.networks.unwrap_or_default();
    host.network_mode = Some(mode_of(&mode, &at));
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
    let networks = at
        .into_iter()
        .filter(|(name, _)| is_joined(&mode, name))
        .map(|(name, at)| (name, endpoint(&id, at)))
        .collect();
    ContainerSettings {
        container,
        networks,
    }
}

/// The mode with which a container comes into the networks that it is in. Its own says what it was made with: it may have
/// been taken out of that network since, or it named the network by its id.
fn mode_of(mode: &str, at: &HashMap<String, EndpointSettings>) -> String {
    let is_by_default = matches!(mode, "" | "default" | "bridge");
    if !names_network(mode) || at.contains_key(mode) || is_by_default && at.contains_key("bridge") {
        return mode.to_owned();
    }
    let has_id = |one: &EndpointSettings| {
        let id = one.network_id.as_deref().unwrap_or_default();
        mode.len() >= SHORT_ID && id.starts_with(mode)
    };
    let by_id = at.iter().find(|(_, one)| has_id(one));
    by_id
        .map(|(name, _)| name)
        .or(at.keys().min())
        .map_or_else(|| "none".to_owned(), Clone::clone)
}

/// Whether a mode is a network's name or id, and none of the words that say where else a container is.
fn names_network(mode: &str) -> bool {
    let word = mode.split(':').next().unwrap_or_default();
    !matches!(
        word,
        "host" | "none" | "container" | "ns" | "private" | "pasta" | "slirp4netns"
    )
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
