//! Containers that somebody else made: found, made anew from all that they had, and kept in their place.

use super::step::{called, gone, of_network};
use super::{Docker, failed, lends, names, own};
use crate::machine::{Scene, Trouble};
use crate::taking::{Candidate, ENABLE, Owner, Taken};
use futures_util::stream::{self, StreamExt as _};
use windlass_engine::{Error, Found, FoundImage};
use windlass_reconcile::label;
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec};
use windlass_types::image::ImageReference;

/// Where compose notes which image it made a container from; it makes one anew that is of another one.
const COMPOSE_IMAGE: &str = "com.docker.compose.image";

/// What the name of a container gets that makes way for another one, and so many digits of its id.
const ASIDE: &str = "-windlass-";
const SHORT: usize = 8;

/// Containers that an engine is asked for at once.
pub(super) const AT_ONCE: usize = 8;

/// Whether a container is one that somebody else made, or was made anew from what such a one had.
pub(super) fn is_taken(scene: &Scene, found: &Found) -> bool {
    let claim = scene.claims.get(&found.id);
    claim.is_some_and(|claim| claim.taken) || found.labels.contains_key(label::SETTINGS)
}

/// Whether a container was made anew from what one had that is held no more, or was made anew by hand since: by its labels
/// it is the service's, but it is what a person kept of it. What nobody but us can have left there is not.
pub(super) fn is_put_aside(scene: &Scene, found: &Found) -> bool {
    let Some(settings) = found.labels.get(label::SETTINGS) else {
        return false;
    };
    if scene.claims.contains_key(&found.id) {
        return false;
    }
    let service = own::read(&found.labels).map(|labels| labels.service);
    match service.and_then(|key| scene.taken.get(&key)) {
        None => true,
        Some(taken) if taken.settings == *settings => false,
        // Never started, or renamed by us: what an update left that was cut off.
        Some(_) => {
            let short = found.id.get(..SHORT).unwrap_or(&found.id);
            let ours = found.name.ends_with(&format!("{ASIDE}{short}"));
            found.state != ContainerState::Created && !ours
        }
    }
}

/// The service of a container that is held.
fn service_of(scene: &Scene, found: &Found) -> Option<ServiceKey> {
    match scene.claims.get(&found.id) {
        Some(claim) => claim.taken.then_some(claim.service),
        None if !found.labels.contains_key(label::SETTINGS) || is_put_aside(scene, found) => None,
        None => own::read(&found.labels).map(|labels| labels.service),
    }
}

impl Docker {
    /// Every container with the label.
    pub(super) async fn labelled(&self, scene: &Scene) -> Result<Vec<Candidate>, Trouble> {
        let trouble = |error| self.trouble(FailureClass::Config, &error);
        if self.strangers.is_none() {
            return Ok(Vec::new());
        }
        let all = self.engine.all().await.map_err(trouble)?;
        let lenders = self.lenders(&all).await;
        let mut asked = Vec::new();
        for one in all.iter().filter(|one| one.labels.contains_key(ENABLE)) {
            asked.push(async move { (one, self.candidate(scene, &one.id).await) });
        }
        let asked: Vec<_> = stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut candidates = Vec::new();
        for (one, answer) in asked {
            match answer {
                Ok(None) => {}
                Ok(Some(mut candidate)) => {
                    candidate.lends_to = lends::to(&lenders, &candidate.id, &candidate.name);
                    candidates.push(candidate);
                }
                Err(error) if error.is_away() => return Err(trouble(error)),
                // One that cannot be looked at keeps nobody else from being taken.
                Err(error) => {
                    tracing::warn!(container = one.name, %error, "it cannot be looked at");
                }
            }
        }
        Ok(candidates)
    }

    /// A container as one that asks to be taken; none where it went meanwhile.
    async fn candidate(&self, scene: &Scene, id: &str) -> Result<Option<Candidate>, Error> {
        let Some(found) = self.engine.inspect(id).await? else {
            return Ok(None);
        };
        let owner = match found.labels.get(label::SCOPE) {
            None => Owner::Nobody,
            Some(scope) if *scope == self.scope => Owner::Us,
            Some(scope) => Owner::Other(scope.clone()),
        };
        // What is held was looked up when it was taken.
        let known = owner != Owner::Nobody || scene.claims.contains_key(&found.id);
        let image = if known {
            None
        } else {
            self.engine.image(&found.image_id).await?
        };
        Ok(Some(Candidate {
            lends_to: None,
            names: image
                .map(|image| Vec::from_iter(image.names))
                .unwrap_or_default(),
            networks: found.joined(),
            leads_to_engine: !self.engine.address().is_local() && found.has_engine_socket(),
            id: found.id,
            name: found.name,
            labels: found.labels,
            owner,
            image: found.image,
            state: found.state,
            auto_remove: found.auto_remove,
            restart: found.restart,
            limits: found.limits,
        }))
    }

    /// Makes a container of all that the one that was taken had, and another image.
    pub(super) async fn create_as(
        &self,
        scene: &Scene,
        key: ServiceKey,
        spec: &ServiceSpec,
        settings: &str,
        name: &str,
        image: &FoundImage,
    ) -> Result<(), Trouble> {
        let held = scene.taken.get(&key);
        let Some(taken) = held.filter(|taken| taken.settings == settings) else {
            return Err(failed(
                FailureClass::Config,
                format!("config.settings: this device keeps no settings {settings} of {key}"),
            ));
        };
        let mut labels = own::of_container(&self.scope, &self.prefix, key, spec);
        labels.remove(label::NETWORKS);
        labels.insert(label::SETTINGS.to_owned(), settings.to_owned());
        // Where another tag runs than the one in the compose file, that one names what it did.
        let labelled = taken.kept.labels().any(|(name, _)| name == COMPOSE_IMAGE);
        if labelled && same_tag(&taken.image, &spec.image) {
            labels.insert(COMPOSE_IMAGE.to_owned(), image.id.clone());
        }
        let of = called(image, &spec.image);
        let made = self.engine.create_as(name, of, &taken.kept, &labels).await;
        if matches!(&made, Err(error) if gone(error) && !of_network(error)) {
            return Ok(());
        }
        self.made(key, name, &labels, made).await
    }

    /// Gives a container that is about to be started what it is to have: its networks, its restart policy, and
    /// the service's name, which the one before it gives up.
    pub(super) async fn put_in_place(&self, scene: &Scene, found: &Found) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Start, &error);
        let Some((key, taken)) = held(scene, found) else {
            return Ok(());
        };
        self.engine
            .attach_as(found, &taken.kept)
            .await
            .map_err(trouble)?;
        self.fault.within("start");
        if found.name != taken.name {
            if let Some(other) = self.engine.inspect(&taken.name).await.map_err(trouble)?
                && other.name == taken.name
            {
                if service_of(scene, &other) != Some(key) {
                    return Err(failed(
                        FailureClass::Start,
                        format!("another container is called {}", taken.name),
                    ));
                }
                let short = other.id.get(..SHORT).unwrap_or(&other.id);
                let aside = format!("{}{ASIDE}{short}", taken.name);
                self.engine
                    .rename(&other.id, &aside)
                    .await
                    .map_err(trouble)?;
                self.fault.within("start");
                self.keep_down(scene, &other).await?;
            }
            self.engine
                .rename(&found.id, &taken.name)
                .await
                .map_err(trouble)?;
            self.fault.within("start");
        }
        self.restarts(found, &taken.kept.restart()).await
    }

    /// A container that is put aside must not come back with its engine.
    pub(super) async fn keep_down(&self, scene: &Scene, found: &Found) -> Result<(), Trouble> {
        if !comes_back(&found.restart) || held(scene, found).is_none() {
            return Ok(());
        }
        self.restarts(found, "no").await?;
        self.fault.within("stop");
        Ok(())
    }

    /// One that was put aside and has its place again, without having been started by a step, has its policy again.
    pub(super) async fn give_back(&self, scene: &Scene, found: &Found) -> Result<(), Trouble> {
        let Some((key, taken)) = held(scene, found) else {
            return Ok(());
        };
        let of = scene.memory.of(key);
        let put_aside = of.is_some_and(|of| of.stops.iter().any(|run| run.id == found.id));
        let in_place = found.state == ContainerState::Running && found.name == taken.name;
        if put_aside && in_place && found.restart == "no" {
            self.restarts(found, &taken.kept.restart()).await?;
        }
        Ok(())
    }

    async fn restarts(&self, found: &Found, policy: &str) -> Result<(), Trouble> {
        if found.restart == policy {
            return Ok(());
        }
        match self.engine.set_restart(&found.id, policy).await {
            Err(error) if error.is_away() => Err(self.trouble(FailureClass::Start, &error)),
            Err(error) => {
                // Some engines do not offer it; what matters more goes on.
                tracing::warn!(container = found.name, %error, "its restart policy stays as it is");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Has the tag that a service follows name the image that proved itself, as a pull by hand would: whoever
    /// starts the service by its tag gets that one.
    pub(super) async fn move_tag(&self, scene: &Scene, key: ServiceKey) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Config, &error);
        let good = scene.memory.of(key).and_then(|of| of.good.as_ref());
        let Some(good) = good.filter(|good| good.container.is_taken()) else {
            return Ok(());
        };
        // Another tag than the one that it was started from is nobody's to find here, and would keep the image for ever.
        let taken = scene.taken.get(&key);
        if taken.is_none_or(|taken| !same_tag(&taken.image, &good.image)) {
            return Ok(());
        }
        let Ok(reference) = good.image.parse::<ImageReference>() else {
            return Ok(());
        };
        let images = self.engine.images().await.map_err(trouble)?;
        let image = names::find(&images, &good.image, &self.mirrors);
        if let (Some(image), Some(tag)) = (image, reference.tag()) {
            let tagged = self.engine.tag(&image.id, reference.name(), tag).await;
            tagged.map_err(trouble)?;
        }
        Ok(())
    }
}

/// Whether an engine that is started again starts a container with this policy though it was stopped.
fn comes_back(restart: &str) -> bool {
    restart == "always" || restart.starts_with("on-failure")
}

/// Whether two images are asked for by the same tag.
fn same_tag(one: &str, other: &str) -> bool {
    let tag = |image: &str| {
        let image: ImageReference = image.parse().ok()?;
        Some(image.tag().unwrap_or("latest").to_owned())
    };
    tag(one) == tag(other)
}

/// What is known of a container that is held.
fn held<'a>(scene: &'a Scene, found: &Found) -> Option<(ServiceKey, &'a Taken)> {
    let key = service_of(scene, found)?;
    Some((key, scene.taken.get(&key)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    #[test]
    fn what_an_engine_starts_again_though_it_was_stopped_is_kept_down() {
        for (restart, comes) in [
            ("always", true),
            ("on-failure", true),
            ("on-failure:3", true),
            ("unless-stopped", false),
            ("no", false),
        ] {
            assert_eq!(comes_back(restart), comes, "{restart}");
        }
    }

    /// A container that says that it was made of these settings.
    fn made_anew(settings: &str, name: &str, state: ContainerState) -> Found {
        let labels = [
            (label::APP, "7"),
            (label::SERVICE, "1"),
            (label::SETTINGS, settings),
        ];
        Found {
            id: "0123456789abcdef".to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::from(labels.map(|(n, v)| (n.to_owned(), v.to_owned()))),
            image_id: String::new(),
            image: String::new(),
            created_at: None,
            state,
            started_at: None,
            finished_at: None,
            exit_code: None,
            oom_killed: false,
            restarts: 0,
            health: None,
            healthcheck: None,
            network_mode: String::new(),
            networks: BTreeMap::new(),
            ports: Vec::new(),
            published: Vec::new(),
            stop_seconds: None,
            restart: "no".to_owned(),
            auto_remove: false,
            binds: BTreeSet::new(),
            limits: String::new(),
            borrows: BTreeSet::new(),
        }
    }

    #[test]
    fn what_a_person_keeps_of_a_service_that_was_taken_anew_is_theirs() {
        use ContainerState::{Created, Exited, Running};
        let taken: Taken = serde_json::from_value(serde_json::json!({
            "container": "c", "name": "web", "app_name": "local", "service_name": "web",
            "image": "r/web:1", "asks": {}, "settings": "now",
            "kept": {"container": {"Labels": {}}, "networks": {}},
        }))
        .unwrap();
        let key = ServiceKey { app: 7, service: 1 };
        let held = scene(&[(key, taken)]);
        for (settings, name, state, aside) in [
            ("now", "web", Running, false),
            ("now", "web-windlass-01234567", Exited, false),
            ("before", "web-backup", Exited, true),
            ("before", "web", Running, true),
            // What only an update of ours can have left there.
            ("before", "web-windlass-01234567", Exited, false),
            ("before", "windlass-web-7-1-f", Created, false),
        ] {
            let found = made_anew(settings, name, state);
            assert_eq!(is_put_aside(&held, &found), aside, "{settings} {name}");
            assert_eq!(service_of(&held, &found).is_none(), aside, "{name}");
            assert!(is_put_aside(&scene(&[]), &found), "{name}: it was let go");
        }
    }

    fn scene(book: &[(ServiceKey, Taken)]) -> Scene {
        let wanted = windlass_reconcile::spec::Wanted::read(&Default::default(), 1);
        Scene {
            wanted: Arc::new(wanted),
            memory: Arc::default(),
            claims: Arc::default(),
            taken: Arc::new(book.iter().cloned().collect()),
        }
    }

    #[test]
    fn a_tag_is_the_same_whatever_digest_it_names() {
        let digest = |digit: &str| format!("@sha256:{}", digit.repeat(64));
        for (one, other, same) in [
            ("r/web:1.2.3", "r/web:1.2.3", true),
            ("r/web", "r/web:latest", true),
            ("r/web:1.2.3", "r/web:1.3.0", false),
        ] {
            let (one, other) = (
                one.to_owned() + &digest("1"),
                other.to_owned() + &digest("2"),
            );
            assert_eq!(same_tag(&one, &other), same, "{one} {other}");
        }
    }
}
