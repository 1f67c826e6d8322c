//! Looking at an engine.

use super::{Docker, names, own, taken};
use crate::machine::{Claim, Scene, Trouble};
use futures_util::future;
use std::collections::BTreeSet;
use windlass_engine::{Found, FoundImage, free_bytes};
use windlass_reconcile::ask;
use windlass_reconcile::label;
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::{Container, ContainerState, Image, Observed, ProbeResults};

/// Containers, and the ids of images of others.
type Looked = (Vec<(Found, Container)>, BTreeSet<String>);

impl Docker {
    pub(super) async fn look(&self, scene: &Scene) -> Result<Observed, Trouble> {
        let info = self.info().await?;
        let trouble = |error| self.trouble(FailureClass::Config, &error);
        let (found, in_use) = self.containers(scene).await?;
        let networks = self
            .engine
            .networks(&own::scope(&self.scope))
            .await
            .map_err(trouble)?
            .into_iter()
            .filter_map(|network| Some((own::app(&network.labels)?, network.name)))
            .map(|(app, name)| (name, app))
            .collect();
        let images = self.engine.images().await.map_err(trouble)?;
        let mut observed = Observed {
            containers: found
                .iter()
                .map(|(_, container)| container.clone())
                .collect(),
            images: self.named(scene, images),
            in_use,
            networks,
            free_bytes: self.free(&info.storage),
            platform: Some(info.platform),
            left: found
                .iter()
                .filter(|(one, _)| taken::is_taken(scene, one))
                .map(|(_, container)| container.service)
                .collect(),
            ..Observed::default()
        };
        self.prober.probe(
            &found,
            &ask::probes(&scene.wanted, &observed, &scene.memory),
        );
        for container in &mut observed.containers {
            container.probes = self.prober.results(&container.id, container.started_at);
        }
        let asked = ask::locks(&scene.wanted, &observed, &scene.memory);
        observed.locks = self.locks(&asked, &found).await;
        observed.offers = self.offers(scene);
        Ok(observed)
    }

    /// Our containers, and those that a person gave us; and the images of those that a person put aside.
    async fn containers(&self, scene: &Scene) -> Result<Looked, Trouble> {
        let trouble = |error| self.trouble(FailureClass::Config, &error);
        let mut filter = own::scope(&self.scope);
        filter.extend([label::APP, label::SERVICE].map(str::to_owned));
        let mut ids: BTreeSet<String> = self
            .engine
            .list(&filter)
            .await
            .map_err(trouble)?
            .into_iter()
            .collect();
        ids.extend(scene.claims.keys().cloned());
        let inspected = ids.iter().map(|id| self.engine.inspect(id));
        let mut found = Vec::with_capacity(ids.len());
        let mut in_use = BTreeSet::new();
        for one in future::try_join_all(inspected).await.map_err(trouble)? {
            // One that went meanwhile is gone.
            let Some(mut one) = one else { continue };
            if taken::is_put_aside(scene, &one) {
                in_use.insert(one.image_id);
                continue;
            }
            if one.state == ContainerState::Running && !own::is_wired(&one) {
                // A step was cut off while it changed networks. No probe would reach it until it is back.
                tracing::info!(container = one.name, "put back into its networks");
                match self.rewire(&one, "serve").await {
                    Err(Trouble::Away(reason)) => return Err(Trouble::Away(reason)),
                    // It is seen as it is.
                    Err(failed) => tracing::warn!(error = %failed, "it stays outside"),
                    Ok(()) => {
                        let again = self.engine.inspect(&one.id).await.map_err(trouble)?;
                        one = again.unwrap_or(one);
                    }
                }
            }
            match self.give_back(scene, &one).await {
                Err(Trouble::Away(reason)) => return Err(Trouble::Away(reason)),
                Err(failed) => tracing::warn!(error = %failed, "its restart policy stays as it is"),
                Ok(()) => {}
            }
            let container = match scene.claims.get(&one.id) {
                Some(claim) => Some(claimed(&one, claim)),
                None => labelled(&one),
            };
            if let Some(container) = container {
                found.push((one, container));
            }
        }
        Ok((found, in_use))
    }

    /// Images under the engine's names, and under the target's where a mirror calls them otherwise.
    fn named(&self, scene: &Scene, found: Vec<FoundImage>) -> Vec<Image> {
        let targets: BTreeSet<&String> = targets(scene).collect();
        let aliases: Vec<(&String, String)> = targets
            .into_iter()
            .filter_map(|target| {
                let image = names::find(&found, target, &self.mirrors)?;
                Some((target, image.id.clone()))
            })
            .collect();
        found
            .into_iter()
            .map(|image| {
                let mut names = image.names;
                let further = aliases.iter().filter(|(_, id)| *id == image.id);
                names.extend(further.map(|(name, _)| (*name).clone()));
                Image {
                    id: image.id,
                    names,
                    bytes: image.bytes,
                }
            })
            .collect()
    }

    /// What is free where the engine keeps images; none where that is another machine's disk.
    fn free(&self, storage: &[std::path::PathBuf]) -> Option<u64> {
        if let Some(folder) = &self.storage {
            return free_bytes(folder);
        }
        if !self.engine.address().is_local() {
            return None;
        }
        storage.iter().filter_map(|folder| free_bytes(folder)).min()
    }
}

/// The images that matter: wanted, remembered and pulled.
pub(super) fn targets(scene: &Scene) -> impl Iterator<Item = &String> {
    let wanted = scene.wanted.services.values().map(|spec| &spec.image);
    let good = scene
        .memory
        .services
        .values()
        .filter_map(|memory| memory.good.as_ref())
        .map(|spec| &spec.image);
    wanted.chain(good).chain(&scene.memory.pulled)
}

fn labelled(found: &Found) -> Option<Container> {
    let labels = own::read(&found.labels)?;
    let mut container = container(found);
    container.service = labels.service;
    container.service_name = labels.service_name;
    container.app_name = labels.app_name;
    container.fingerprint = labels.fingerprint;
    container.image = labels.image;
    container.serving = own::serves(found);
    Some(container)
}

fn claimed(found: &Found, claim: &Claim) -> Container {
    let mut container = container(found);
    container.service = claim.service;
    container.service_name.clone_from(&claim.service_name);
    container.app_name.clone_from(&claim.app_name);
    container.fingerprint.clone_from(&claim.fingerprint);
    container.image.clone_from(&claim.image);
    container
}

fn container(found: &Found) -> Container {
    Container {
        id: found.id.clone(),
        name: found.name.clone(),
        service: windlass_reconcile::spec::ServiceKey { app: 0, service: 0 },
        service_name: String::new(),
        app_name: String::new(),
        fingerprint: String::new(),
        image: found.image.clone(),
        image_id: found.image_id.clone(),
        state: found.state,
        serving: true,
        started_at: found.started_at,
        finished_at: found.finished_at,
        exit_code: found.exit_code,
        oom_killed: found.oom_killed,
        restarts: found.restarts,
        health: found.health.as_ref().map(|(says, _)| *says),
        healthcheck: found.healthcheck.clone(),
        ports: found.ports.clone(),
        stop_seconds: found.stop_seconds,
        probes: ProbeResults::default(),
        // The loop's to fill in.
        seen_seconds: 0,
        served_seconds: 0,
        restarts_before: 0,
    }
}
