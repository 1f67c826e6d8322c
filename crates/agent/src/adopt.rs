//! Taking containers that somebody else started under services of the target.
//!
//! An engine cannot give a container other labels, so that it is ours is written down in the state
//! directory: a claim. From then on the container is observed as the service's, made from the spec that
//! the target has for the service at that time; it is left alone until that spec changes, and then
//! replaced as any other: the image is pulled and the new container made before it is stopped, and
//! it is started again where the new one does not prove itself.

use crate::machine::{Claim, Claims};
use std::collections::BTreeMap;
use windlass_reconcile::label;
use windlass_reconcile::spec::{ServiceKey, Wanted};

/// The label that compose puts on what it makes: whose project it is.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// The label that compose puts on what it makes: the service's name.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// A container as the engine tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as it was asked for when it was made.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What would be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The container.
    pub stranger: Stranger,
    /// What is written down.
    pub claim: Claim,
    /// What is to be known before: for people.
    pub notes: Vec<String>,
}

/// Why a container is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{container}: {reason}")]
pub struct NotTaken {
    /// Its name.
    pub container: String,
    /// For people.
    pub reason: String,
}

/// Proposes a claim for a container, for this service or for the one of the target that has its name.
///
/// # Errors
/// [`NotTaken`] where there is no such service, more than one, or the container is somebody's already.
pub fn propose(
    stranger: Stranger,
    service: Option<&str>,
    wanted: Option<&Wanted>,
    claims: &Claims,
) -> Result<Proposal, NotTaken> {
    let no = |reason: String| NotTaken {
        container: stranger.name.clone(),
        reason,
    };
    if let Some(scope) = stranger.labels.get(label::SCOPE) {
        return Err(no(format!("it is an agent's own already (scope {scope})")));
    }
    let name = stranger
        .labels
        .get(COMPOSE_SERVICE)
        .unwrap_or(&stranger.name);
    let key = find(service, name, wanted).map_err(no)?;
    let other = claims
        .iter()
        .find(|(id, claim)| claim.service == key && **id != stranger.id);
    if let Some((id, _)) = other {
        let id = id.get(..12).unwrap_or(id);
        return Err(no(format!("service {key} has the container {id} already")));
    }
    let spec = wanted.and_then(|wanted| wanted.services.get(&key));
    let mut notes = Vec::new();
    let claim = match spec {
        Some(spec) => {
            if spec.image != stranger.image {
                notes.push(format!(
                    "it runs {}, and the target names {}: it counts as the latter until the \
                     target changes",
                    stranger.image, spec.image
                ));
            }
            Claim {
                service: key,
                service_name: spec.name.clone(),
                app_name: spec.app_name.clone(),
                fingerprint: spec.fingerprint(),
                image: spec.image.clone(),
                taken: false,
            }
        }
        None => {
            notes.push(format!(
                "the target has no service {key} yet: the container counts as what the first \
                 target that has it says"
            ));
            Claim {
                service: key,
                service_name: name.clone(),
                app_name: String::new(),
                fingerprint: String::new(),
                image: String::new(),
                taken: false,
            }
        }
    };
    if stranger.labels.contains_key(COMPOSE_PROJECT) {
        notes.push(
            "compose must not manage it any more: `docker compose up` would make it anew"
                .to_owned(),
        );
    }
    Ok(Proposal {
        stranger,
        claim,
        notes,
    })
}

/// Which service is meant: `app/service` as numbers, a service's name, or the container's own name.
fn find(
    service: Option<&str>,
    container: &str,
    wanted: Option<&Wanted>,
) -> Result<ServiceKey, String> {
    if let Some(key) = service.and_then(|text| ServiceKey::try_from(text.to_owned()).ok()) {
        return Ok(key);
    }
    let name = service.unwrap_or(container);
    let Some(wanted) = wanted else {
        return Err(format!(
            "there is no target yet in which {name} could be looked up; give --service APP/SERVICE with their ids"
        ));
    };
    let named = wanted.services.iter().filter(|(_, spec)| spec.name == name);
    let found: Vec<ServiceKey> = named.map(|(key, _)| *key).collect();
    match found.as_slice() {
        [key] => Ok(*key),
        [] => Err(format!("the target has no service {name}")),
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!(
                "several services are called {name}; give --service with one of {}",
                several.join(", ")
            ))
        }
    }
}

/// Gives claims that were made before their service was in the target what the target says of it now;
/// whether any was.
pub fn resolve(claims: &mut Claims, wanted: &Wanted) -> bool {
    let mut changed = false;
    for claim in claims.values_mut().filter(|c| c.fingerprint.is_empty()) {
        if let Some(spec) = wanted.services.get(&claim.service) {
            claim.service_name.clone_from(&spec.name);
            claim.app_name.clone_from(&spec.app_name);
            claim.fingerprint = spec.fingerprint();
            claim.image.clone_from(&spec.image);
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use windlass_types::target::TargetState;

    fn wanted() -> Wanted {
        let service = |id: i64, name: &str| json!({"serviceId": id, "serviceName": name, "imageName": "r/app:v1", "config": {}});
        let target: TargetState = serde_json::from_value(json!({"apps": {
            "7": {"appId": 7, "appName": "shop", "services": [service(1, "web"), service(2, "db")]},
            "8": {"appId": 8, "appName": "other", "services": [service(1, "db")]},
        }}))
        .unwrap();
        Wanted::read(&target, 3)
    }

    fn stranger(name: &str, labels: &[(&str, &str)]) -> Stranger {
        Stranger {
            id: format!("id of {name}"),
            name: name.to_owned(),
            image: "r/app:v0".to_owned(),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_container_becomes_the_service_of_its_name_and_of_the_spec_that_is_wanted_now() {
        let wanted = wanted();
        let compose = stranger(
            "shop-web-1",
            &[(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "web")],
        );
        let proposal = propose(compose, None, Some(&wanted), &Claims::new()).unwrap();
        let key = ServiceKey { app: 7, service: 1 };
        assert_eq!(proposal.claim.service, key);
        assert_eq!(
            proposal.claim.fingerprint,
            wanted.services[&key].fingerprint()
        );
        assert_eq!(proposal.claim.image, "r/app:v1");
        assert_eq!(proposal.notes.len(), 2);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let wanted = wanted();
        let none = Claims::new();
        let refusal = |stranger, service, wanted, claims: &Claims| {
            propose(stranger, service, wanted, claims)
                .unwrap_err()
                .reason
        };
        let ours = stranger("web", &[(label::SCOPE, "x")]);
        assert!(refusal(ours, None, Some(&wanted), &none).contains("own already"));
        let db = stranger("db", &[]);
        let reason = refusal(db.clone(), None, Some(&wanted), &none);
        assert!(reason.contains("7/2, 8/1"), "{reason}");
        assert!(refusal(stranger("x", &[]), None, Some(&wanted), &none).contains("no service x"));
        assert!(refusal(db.clone(), None, None, &none).contains("no target yet"));
        let taken = propose(db.clone(), Some("8/1"), Some(&wanted), &none).unwrap();
        let claims = Claims::from([(taken.stranger.id, taken.claim)]);
        let again = propose(db, Some("8/1"), Some(&wanted), &claims);
        assert!(again.is_ok(), "{again:?}");
        let second = stranger("db2", &[]);
        assert!(refusal(second, Some("8/1"), Some(&wanted), &claims).contains("already"));
    }

    #[test]
    fn a_claim_from_before_the_target_becomes_what_the_first_target_says() {
        let proposal = propose(stranger("web", &[]), Some("7/1"), None, &Claims::new()).unwrap();
        let mut claims = Claims::from([(proposal.stranger.id, proposal.claim)]);
        let wanted = wanted();
        assert!(resolve(&mut claims, &wanted));
        let key = ServiceKey { app: 7, service: 1 };
        let fingerprint = wanted.services[&key].fingerprint();
        assert_eq!(claims["id of web"].fingerprint, fingerprint);
        assert!(!resolve(&mut claims, &wanted));
    }
}
