//! Containers that somebody else made: found, made anew from all that they had, and kept in their place.

use super::step::{called, carries, gone};
use super::{Docker, failed, names, own};
use crate::machine::{Scene, Trouble};
use crate::taking::{Candidate, ENABLE, Owner, Taken};
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeMap;
use windlass_engine::{Error, Found, FoundImage};
use windlass_reconcile::label;
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec};
use windlass_types::image::ImageReference;

/// Where compose notes which image it made a container from; it makes one anew that is of another one.
const COMPOSE_IMAGE: &str = "com.docker.compose.image";

/// Containers that an engine is asked for at once.
const AT_ONCE: usize = 8;

/// Whether a container is one that somebody else made, or was made anew from what such a one had.
pub(super) fn is_taken(scene: &Scene, found: &Found) -> bool {
    let claim = scene.claims.get(&found.id);
    claim.is_some_and(|claim| claim.taken) || found.labels.contains_key(label::SETTINGS)
}

/// The service of a container that is held.
fn service_of(scene: &Scene, found: &Found) -> Option<ServiceKey> {
    match scene.claims.get(&found.id) {
        Some(claim) => claim.taken.then_some(claim.service),
        None => found
            .labels
            .contains_key(label::SETTINGS)
            .then(|| Some(own::read(&found.labels)?.service))
            .flatten(),
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
        let lenders: BTreeMap<&str, &str> = all
            .iter()
            .filter_map(|one| Some((one.network_mode.strip_prefix("container:")?, &*one.name)))
            .collect();
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
                    let lends_to = lenders
                        .get(&*candidate.id)
                        .or_else(|| lenders.get(&*candidate.name));
                    candidate.lends_to = lends_to.map(|name| (*name).to_owned());
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
        let trouble = |error: Error| {
            let class = match &error {
                Error::Refused { status: 400, .. } | Error::Conflict { .. } => FailureClass::Config,
                _ => FailureClass::Start,
            };
            self.trouble(class, &error)
        };
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
        match self.engine.create_as(name, of, &taken.kept, &labels).await {
            Ok(created) => {
                for warning in created.warnings {
                    tracing::warn!(service = %key, warning, "the engine cannot do all of it");
                }
            }
            Err(Error::Conflict { action, message }) => {
                let there = self.engine.inspect(name).await.map_err(trouble)?;
                if there.is_none_or(|there| !carries(&there, &labels)) {
                    return Err(trouble(Error::Conflict { action, message }));
                }
            }
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(trouble(error)),
        }
        self.fault.within("create");
        Ok(())
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
                let short = other.id.get(..8).unwrap_or(&other.id);
                let aside = format!("{}-windlass-{short}", taken.name);
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
