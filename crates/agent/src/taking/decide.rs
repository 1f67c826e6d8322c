//! What is taken, what is let go, and what is left alone and why.

use super::{Book, Candidate, ENABLE, Labels, Owner, Understands, identity};
use std::collections::{BTreeMap, BTreeSet};
use windlass_reconcile::label;
use windlass_reconcile::memory::{Memory, Run, ServiceMemory};
use windlass_reconcile::observed::{Container, ContainerState};
use windlass_reconcile::spec::ServiceKey;
use windlass_types::image::ImageReference;

const SWARM: &str = "com.docker.swarm.service.id";
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// What a decision is made from.
#[derive(Debug)]
pub struct Round<'a> {
    /// Every container that has the label.
    pub candidates: &'a [Candidate],
    /// Those that are held, as they were seen.
    pub containers: &'a [Container],
    /// What is remembered of them.
    pub memory: &'a Memory,
    /// What is held.
    pub book: &'a Book,
    /// The container that this program runs in.
    pub own: Option<&'a str>,
    /// Reads what containers ask for.
    pub understands: Understands,
}

/// A container that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// As which service.
    pub key: ServiceKey,
    /// The engine's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The app's name.
    pub app_name: String,
    /// The service's name.
    pub service_name: String,
    /// What runs in it: `repository:tag@sha256:…`.
    pub image: String,
    /// What it asks for.
    pub asks: Labels,
}

/// What is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is taken, or taken anew.
    pub take: Vec<Take>,
    /// What is let go, and why.
    pub let_go: BTreeMap<ServiceKey, String>,
    /// What asks to be taken and is not, by the container's name, and why.
    pub alone: BTreeMap<String, String>,
}

/// Decides. Equal input gives equal output, in whatever order containers are listed.
#[must_use]
pub fn decide(round: &Round<'_>) -> Decision {
    let mut decision = Decision::default();
    let mut candidates: Vec<&Candidate> = round.candidates.iter().collect();
    candidates.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let mut takes: BTreeMap<ServiceKey, Take> = BTreeMap::new();
    for candidate in candidates {
        let held = held_as(round, candidate);
        let refusal = match (refusal(round, candidate, held), held) {
            (None, Some(key)) => {
                takes.extend(changed(round, key, candidate).map(|take| (key, take)));
                continue;
            }
            (None, None) => propose(round, candidate, &mut takes).err(),
            (refusal, _) => refusal,
        };
        let Some(reason) = refusal else { continue };
        if reason.is_empty() {
            continue;
        }
        if let Some(key) = held {
            decision.let_go.insert(key, reason.clone());
        }
        decision.alone.insert(candidate.name.clone(), reason);
    }
    for (key, taken) in round.book {
        if takes.contains_key(key) || decision.let_go.contains_key(key) {
            continue;
        }
        let containers: Vec<&Container> = of_service(round, *key).collect();
        let why = if containers.is_empty() {
            "it was removed"
        } else if is_paused(round, *key) {
            "it was paused"
        } else if !is_up(round, *key) {
            "it was stopped, or ended by itself"
        } else {
            continue;
        };
        decision
            .let_go
            .insert(*key, format!("{}: {why}", taken.name));
    }
    decision.take = takes.into_values().collect();
    decision
}

/// The service that a container is held as.
fn held_as(round: &Round<'_>, candidate: &Candidate) -> Option<ServiceKey> {
    let taken = round.book.iter();
    let mut taken = taken.filter(|(_, taken)| taken.container == candidate.id);
    if let Some((key, _)) = taken.next() {
        return Some(*key);
    }
    if candidate.owner != Owner::Us {
        return None;
    }
    identity::key_of(candidate).filter(|key| round.book.contains_key(key))
}

/// Why a container cannot be held; an empty reason where it does not ask for it.
fn refusal(round: &Round<'_>, candidate: &Candidate, held: Option<ServiceKey>) -> Option<String> {
    let label = |name: &str| candidate.labels.get(name).map(String::as_str);
    match label(ENABLE).unwrap_or_default() {
        "true" | "1" | "yes" => {}
        "" | "false" | "0" | "no" => return Some(String::new()),
        other => return Some(format!("{ENABLE} is {other:?}; it is true or false")),
    }
    if candidate.state != ContainerState::Running {
        return Some(String::new());
    }
    if round.own == Some(candidate.id.as_str()) {
        return Some(
            "it is Windlass itself, which cannot stop itself and go on: update it with \
             `docker compose pull` and `docker compose up -d`"
                .to_owned(),
        );
    }
    if let Owner::Other(scope) = &candidate.owner {
        return Some(format!("another agent made it (scope {scope})"));
    }
    if is_a_targets(round, candidate) {
        return Some("it is a service of the target, which says what runs in it".to_owned());
    }
    if label(SWARM).is_some() {
        return Some("it is a swarm's, which would start the old one again".to_owned());
    }
    if label(ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Some("it was started by `docker compose run`, for once".to_owned());
    }
    if candidate.auto_remove {
        return Some(
            "it was started with --rm: stopped for an update it would be gone, and nothing left to \
             go back to"
                .to_owned(),
        );
    }
    if candidate.leads_to_engine {
        return Some(
            "it has the engine's socket, and Windlass may reach the engine through it: without it nothing \
             could be started any more"
                .to_owned(),
        );
    }
    // In the middle of an update it would be let go half-way.
    let under_way = held.is_some_and(|key| is_being_updated(round, key));
    let lends_to = candidate.lends_to.as_ref().filter(|_| !under_way);
    lends_to.map(|lent| {
        let (to, what) = (&lent.to, lent.what);
        format!("{to} uses its {what}, and would lose it when this one is made anew")
    })
}

/// Whether a container was made for a service that somebody wrote into the target, or was given to one.
fn is_a_targets(round: &Round<'_>, candidate: &Candidate) -> bool {
    let made = candidate.owner == Owner::Us && !candidate.labels.contains_key(label::SETTINGS);
    let held = round
        .book
        .values()
        .any(|taken| taken.container == candidate.id);
    let given = round.containers.iter().find(|c| c.id == candidate.id);
    let given = given.is_some_and(|c| !round.book.contains_key(&c.service));
    made || given && !held
}

fn propose(
    round: &Round<'_>,
    candidate: &Candidate,
    takes: &mut BTreeMap<ServiceKey, Take>,
) -> Result<(), String> {
    let image = image_of(candidate)?;
    let reference: ImageReference = image.parse().map_err(|error| format!("{error}"))?;
    (round.understands)(&candidate.labels, &reference)?;
    let identity = identity::of(candidate);
    let key = identity.key;
    let as_it_is =
        |app: &str, service: &str| app == identity.app_name && service == identity.service_name;
    let other = takes.get(&key);
    let other = other.map(|take| (&take.name, as_it_is(&take.app_name, &take.service_name)));
    let held = round.book.get(&key);
    let held = held
        .map(|taken| (&taken.name, as_it_is(&taken.app_name, &taken.service_name)))
        // One that nobody holds up any more has made way.
        .filter(|(_, same)| !same || runs(round, key));
    if let Some((name, _)) = other.or(held) {
        let service = &identity.service_name;
        return Err(format!("{name} runs as the service {service} already"));
    }
    takes.insert(
        key,
        Take {
            key,
            container: candidate.id.clone(),
            name: candidate.name.clone(),
            app_name: identity.app_name,
            service_name: identity.service_name,
            image,
            asks: asks(candidate),
        },
    );
    Ok(())
}

/// What a container asks for.
fn asks(candidate: &Candidate) -> Labels {
    let own = |name: &String| name.starts_with(label::PREFIX) && !label::is_own(name);
    let asks = candidate.labels.iter().filter(|(name, _)| own(name));
    asks.map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The container of a service that is held, where somebody changed it while it ran: it is taken anew as it is now, so
/// that the next update keeps that.
fn changed(round: &Round<'_>, key: ServiceKey, candidate: &Candidate) -> Option<Take> {
    let taken = round.book.get(&key)?;
    let of = round.memory.of(key);
    let aside = of.is_some_and(|of| of.stops.iter().any(|run| run.id == candidate.id));
    let ours = aside && candidate.restart == "no" && taken.kept.restart() != "no";
    let alone = of_service(round, key).count() == 1;
    if !alone || ours || is_being_updated(round, key) || !taken.differs(candidate) {
        return None;
    }
    let image = if candidate.id == taken.container {
        taken.image.clone()
    } else {
        image_of(candidate).ok()?
    };
    Some(Take {
        key,
        container: candidate.id.clone(),
        name: candidate.name.clone(),
        app_name: taken.app_name.clone(),
        service_name: taken.service_name.clone(),
        image,
        asks: asks(candidate),
    })
}

/// What runs in a container, by its tag and its registry's digest.
fn image_of(candidate: &Candidate) -> Result<String, String> {
    let ours = candidate.labels.get(label::IMAGE);
    if let (Owner::Us, Some(image)) = (&candidate.owner, ours) {
        return Ok(image.clone());
    }
    let image = &candidate.image;
    let by_id = image.starts_with("sha256:");
    let Some(asked) = (!by_id)
        .then(|| image.parse::<ImageReference>().ok())
        .flatten()
    else {
        return Err(format!(
            "it was started from {image}, which names no tag that could be followed"
        ));
    };
    if asked.digest().is_some() {
        return Err(format!(
            "its image is pinned: {image}; without the digest its tag would be followed"
        ));
    }
    let known = candidate.names.iter();
    let known = known.filter_map(|name| name.parse::<ImageReference>().ok());
    let mut digests: Vec<String> = known
        .filter(|name| name.repository() == asked.repository())
        .filter_map(|name| Some(name.digest()?.to_string()))
        .collect();
    digests.sort();
    let Some(digest) = digests.first() else {
        return Err(format!(
            "{image} has no digest of {}: it was built on this machine, or loaded from a file",
            asked.repository().registry()
        ));
    };
    let tag = asked.tag().unwrap_or("latest");
    Ok(format!("{}:{tag}@{digest}", asked.name()))
}

fn of_service<'a>(round: &'a Round<'_>, key: ServiceKey) -> impl Iterator<Item = &'a Container> {
    round.containers.iter().filter(move |c| c.service == key)
}

fn runs(round: &Round<'_>, key: ServiceKey) -> bool {
    of_service(round, key).any(Container::is_active)
}

/// Whether somebody paused what runs of a service, and no update of ours is under way: then it is the update's.
fn is_paused(round: &Round<'_>, key: ServiceKey) -> bool {
    let mut active = of_service(round, key).filter(|c| c.is_active());
    let paused = |c: &Container| c.state == ContainerState::Paused;
    runs(round, key) && active.all(paused) && !is_down_for_us(round, key)
}

/// Whether something of a service runs, or is down because of an update of ours.
fn is_up(round: &Round<'_>, key: ServiceKey) -> bool {
    runs(round, key) || is_down_for_us(round, key)
}

fn is_down_for_us(round: &Round<'_>, key: ServiceKey) -> bool {
    let of = round.memory.of(key);
    of.is_some_and(|of| is_under_way(of, of_service(round, key)))
}

/// Whether an update of a service has been written down, or something of it was stopped for one.
fn is_being_updated(round: &Round<'_>, key: ServiceKey) -> bool {
    let of = round.memory.of(key);
    of.is_some_and(|of| of.update.is_some() || is_under_way(of, of_service(round, key)))
}

fn is_under_way<'a>(
    of: &ServiceMemory,
    mut containers: impl Iterator<Item = &'a Container>,
) -> bool {
    let begun = of
        .update
        .as_ref()
        .is_some_and(|update| update.started_at.is_some());
    let ended = |container: &Container| {
        of.stops.contains(&Run {
            id: container.id.clone(),
            started_at: container.started_at,
        })
    };
    begun || containers.any(ended)
}

impl Decision {
    /// Whether the book stays as it is.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.take.is_empty() && self.let_go.is_empty()
    }

    /// What is left alone, as sentences.
    #[must_use]
    pub fn sentences(&self) -> BTreeSet<String> {
        self.alone
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
