//! Which service a container is: by what compose calls it, or by its name.

use super::{Candidate, Owner};
use crate::adopt::{COMPOSE_PROJECT, COMPOSE_SERVICE};
use sha2::{Digest as _, Sha256};
use windlass_reconcile::label;
use windlass_reconcile::spec::ServiceKey;

/// Which of a service's containers it is, where compose was told to start several.
const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
/// The app of containers that were started by hand.
const BY_HAND: &str = "containers";

/// Which service a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) key: ServiceKey,
    pub(super) app_name: String,
    pub(super) service_name: String,
}

pub(super) fn of(candidate: &Candidate) -> Identity {
    let label = |name: &str| candidate.labels.get(name).map(String::as_str);
    // Made anew by us, it was called so before.
    if candidate.owner == Owner::Us
        && let Some(key) = key_of(candidate)
    {
        return Identity {
            key,
            app_name: label(label::APP_NAME).unwrap_or_default().to_owned(),
            service_name: label(label::SERVICE_NAME).unwrap_or_default().to_owned(),
        };
    }
    let (kind, app, service) = match (label(COMPOSE_PROJECT), label(COMPOSE_SERVICE)) {
        (Some(project), Some(service)) => {
            let service = match label(COMPOSE_NUMBER) {
                None | Some("1" | "") => service.to_owned(),
                Some(number) => format!("{service}-{number}"),
            };
            ("compose", project, service)
        }
        _ => ("hand", BY_HAND, candidate.name.clone()),
    };
    Identity {
        key: ServiceKey {
            app: id(&[kind, app]),
            service: id(&[kind, app, &service]),
        },
        app_name: app.to_owned(),
        service_name: service,
    }
}

/// The service that a container of ours says it is.
pub(super) fn key_of(candidate: &Candidate) -> Option<ServiceKey> {
    let number = |name: &str| candidate.labels.get(name)?.parse().ok();
    Some(ServiceKey {
        app: number(label::APP)?,
        service: number(label::SERVICE)?,
    })
}

/// A number that is the same for the same names, whenever and in whatever order they are seen.
fn id(names: &[&str]) -> i64 {
    let hashed = Sha256::digest(names.join("\n").as_bytes());
    let bytes = hashed.iter().take(4);
    bytes.fold(0, |id, byte| id << 8 | i64::from(*byte)) & 0x7fff_ffff
}
