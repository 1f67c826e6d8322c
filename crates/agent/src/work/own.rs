//! The labels by which the agent knows its own, written and read.

use std::collections::{BTreeMap, BTreeSet};
use windlass_engine::{Attachment, Found};
use windlass_reconcile::label;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec};
use windlass_reconcile::step::network_name;

/// What a container says of itself.
pub(super) struct Labels {
    pub(super) service: ServiceKey,
    pub(super) service_name: String,
    pub(super) app_name: String,
    pub(super) fingerprint: String,
    pub(super) image: String,
}

/// The filter for everything of a scope.
pub(super) fn scope(scope: &str) -> Vec<String> {
    vec![format!("{}={scope}", label::SCOPE)]
}

/// What a container gets.
pub(super) fn of_container(
    scope: &str,
    prefix: &str,
    key: ServiceKey,
    spec: &ServiceSpec,
) -> BTreeMap<String, String> {
    let networks = names(prefix, key, spec);
    BTreeMap::from([
        (label::SCOPE.to_owned(), scope.to_owned()),
        (label::APP.to_owned(), key.app.to_string()),
        (label::APP_NAME.to_owned(), spec.app_name.clone()),
        (label::SERVICE.to_owned(), key.service.to_string()),
        (label::SERVICE_NAME.to_owned(), spec.name.clone()),
        (label::FINGERPRINT.to_owned(), spec.fingerprint()),
        (label::IMAGE.to_owned(), spec.image.clone()),
        // A container is given its networks, with its names there once it serves, from what it carries itself,
        // whatever the target says meanwhile. A map of texts can always be written.
        (
            label::NETWORKS.to_owned(),
            serde_json::to_string(&networks).unwrap_or_default(),
        ),
    ])
}

/// What a network gets.
pub(super) fn of_network(scope: &str, app: i64) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::SCOPE.to_owned(), scope.to_owned()),
        (label::APP.to_owned(), app.to_string()),
    ])
}

/// The app of a network.
pub(super) fn app(labels: &BTreeMap<String, String>) -> Option<i64> {
    labels.get(label::APP)?.parse().ok()
}

/// What a container says of itself; none where it is not an agent's.
pub(super) fn read(labels: &BTreeMap<String, String>) -> Option<Labels> {
    let text = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Some(Labels {
        service: ServiceKey {
            app: labels.get(label::APP)?.parse().ok()?,
            service: labels.get(label::SERVICE)?.parse().ok()?,
        },
        service_name: text(label::SERVICE_NAME),
        app_name: text(label::APP_NAME),
        fingerprint: text(label::FINGERPRINT),
        image: text(label::IMAGE),
    })
}

/// The networks of a spec and the names in them.
pub(super) fn attachments(
    prefix: &str,
    key: ServiceKey,
    spec: &ServiceSpec,
    serving: bool,
) -> Vec<Attachment> {
    names(prefix, key, spec)
        .into_iter()
        .map(|(network, aliases)| Attachment {
            network,
            aliases: if serving { aliases } else { Vec::new() },
        })
        .collect()
}

fn names(prefix: &str, key: ServiceKey, spec: &ServiceSpec) -> BTreeMap<String, Vec<String>> {
    if spec.container.network_mode.is_some() {
        return BTreeMap::new();
    }
    spec.container
        .networks
        .iter()
        .map(|(network, further)| {
            let mut aliases = vec![spec.name.clone()];
            aliases.extend(further.iter().filter(|alias| **alias != spec.name).cloned());
            (network_name(prefix, key.app, network), aliases)
        })
        .collect()
}

/// The networks that a container is to be in, with its names there once it serves.
pub(super) fn wired(found: &Found) -> Vec<Attachment> {
    let networks: BTreeMap<String, Vec<String>> = found
        .labels
        .get(label::NETWORKS)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    networks
        .into_iter()
        .map(|(network, aliases)| Attachment { network, aliases })
        .collect()
}

/// Whether a container is in all networks that it is to be in, under whatever names.
pub(super) fn is_wired(found: &Found) -> bool {
    wired(found)
        .iter()
        .all(|at| found.networks.contains_key(&at.network))
}

/// Whether a container is in a network under all of its names there.
pub(super) fn has(found: &Found, at: &Attachment) -> bool {
    let Some((aliases, _)) = found.networks.get(&at.network) else {
        return false;
    };
    let wants: BTreeSet<&String> = at.aliases.iter().collect();
    wants.into_iter().all(|alias| aliases.contains(alias))
}

/// Whether a container carries its service's name wherever it is to; true where that is nowhere.
pub(super) fn serves(found: &Found) -> bool {
    wired(found).iter().all(|at| has(found, at))
}
