//! Doing steps. Each is safe to be done again, and to be cut off between any two calls.

use super::taken::is_taken;
use super::{Docker, failed, names, own};
use crate::machine::{Scene, Trouble};
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::{Attachment, ContainerPlan, Created, Error, Found};
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec};
use windlass_reconcile::step::Step;

impl Docker {
    pub(super) async fn step(&self, scene: &Scene, step: &Step) -> Result<(), Trouble> {
        match step {
            Step::Inspect { image, .. } => self.inspect(image).await,
            Step::Pull { image, .. } => self.fetch(image).await,
            Step::CreateNetwork { name, app } => self
                .engine
                .create_network(name, &own::of_network(&self.scope, *app))
                .await
                .map_err(|error| self.trouble(FailureClass::Config, &error)),
            Step::Create {
                service,
                spec,
                name,
                serving,
            } => self.create(scene, *service, spec, name, *serving).await,
            Step::Start { id, .. } => self.start(scene, id).await,
            Step::Serve { id, .. } => self.serve(id).await,
            Step::Stop {
                id, grace_seconds, ..
            } => self.stop(scene, id, *grace_seconds).await,
            Step::Restart {
                id, grace_seconds, ..
            } => self
                .engine
                .restart(id, seconds(*grace_seconds))
                .await
                .map_err(|error| self.trouble(FailureClass::Start, &error)),
            Step::Remove { service, id } => {
                // Before it, so that a removal that is cut off is done again with it.
                self.move_tag(scene, *service).await?;
                self.fault.within("remove");
                self.engine
                    .remove(id)
                    .await
                    .map_err(|error| self.trouble(FailureClass::Config, &error))
            }
            Step::RemoveImage { id } => self.remove_image(scene, id).await,
            Step::RemoveNetwork { name } => self
                .engine
                .remove_network(name)
                .await
                .map_err(|error| self.trouble(FailureClass::Config, &error)),
            // The loop's own: nothing of the engine changes.
            Step::Accept { .. }
            | Step::Remember { .. }
            | Step::Forget { .. }
            | Step::ForgetImage { .. } => Ok(()),
        }
    }

    async fn create(
        &self,
        scene: &Scene,
        key: ServiceKey,
        spec: &ServiceSpec,
        name: &str,
        serving: bool,
    ) -> Result<(), Trouble> {
        let trouble = |error: Error| self.not_made(&error);
        let images = self.engine.images().await.map_err(trouble)?;
        let Some(image) = names::find(&images, &spec.image, &self.mirrors) else {
            tracing::info!(image = spec.image, "went away before it was used");
            return Ok(());
        };
        if let Some(settings) = &spec.container.settings {
            return self
                .create_as(scene, key, spec, settings, name, image)
                .await;
        }
        let attachments = own::attachments(&self.prefix, key, spec, serving);
        let plan = ContainerPlan {
            name,
            image: called(image, &spec.image),
            spec: &spec.container,
            labels: own::of_container(&self.scope, &self.prefix, key, spec),
            environment: secrets(spec).await?,
            attachments: attachments.clone(),
        };
        let made = self.engine.create(&plan).await;
        if matches!(&made, Err(error) if gone(error)) {
            return Ok(());
        }
        self.made(key, name, &plan.labels, made).await?;
        if let Some(found) = self.engine.inspect(name).await.map_err(trouble)? {
            self.wire(&found, &attachments, "create").await?;
        }
        Ok(())
    }

    /// What comes of making a container: one that the same step made before is there, and is what was asked for.
    pub(super) async fn made(
        &self,
        key: ServiceKey,
        name: &str,
        labels: &BTreeMap<String, String>,
        made: Result<Created, Error>,
    ) -> Result<(), Trouble> {
        let trouble = |error: Error| self.not_made(&error);
        match made {
            Ok(created) => {
                for warning in created.warnings {
                    tracing::warn!(service = %key, warning, "the engine cannot do all of it");
                }
            }
            Err(error @ Error::Conflict { .. }) => {
                let there = self.engine.inspect(name).await.map_err(trouble)?;
                if there.is_none_or(|there| !carries(&there, labels)) {
                    return Err(trouble(error));
                }
            }
            Err(error) => return Err(trouble(error)),
        }
        self.fault.within("create");
        Ok(())
    }

    /// 400: the engine says that what it is asked for is wrong; the rest is the container's.
    pub(super) fn not_made(&self, error: &Error) -> Trouble {
        let class = match error {
            Error::Refused { status: 400, .. } | Error::Conflict { .. } => FailureClass::Config,
            _ => FailureClass::Start,
        };
        self.trouble(class, error)
    }

    /// Attaches a container to the networks that it is not in.
    async fn wire(
        &self,
        found: &Found,
        to: &[Attachment],
        step: &'static str,
    ) -> Result<(), Trouble> {
        for at in to {
            if !found.networks.contains_key(&at.network) {
                self.attach(&found.id, at).await?;
                self.fault.within(step);
            }
        }
        Ok(())
    }

    /// Puts a container back into networks that it is to be in and is not: it was made and not wired to its end, it
    /// was serving half-way, or its network was made anew. It has its names there if it has them elsewhere.
    pub(super) async fn rewire(&self, found: &Found, step: &'static str) -> Result<(), Trouble> {
        let wired = own::wired(found);
        let serving = wired.iter().any(|at| own::has(found, at));
        let to: Vec<Attachment> = wired
            .into_iter()
            .map(|at| Attachment {
                aliases: if serving { at.aliases } else { Vec::new() },
                network: at.network,
            })
            .collect();
        self.wire(found, &to, step).await
    }

    async fn attach(&self, id: &str, at: &Attachment) -> Result<(), Trouble> {
        match self.engine.attach(id, at).await {
            // The network went meanwhile, or the container: the next look sees which.
            Err(error) if gone(&error) => Ok(()),
            done => done.map_err(|error| self.trouble(FailureClass::Start, &error)),
        }
    }

    async fn start(&self, scene: &Scene, id: &str) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Start, &error);
        let Some(found) = self.engine.inspect(id).await.map_err(trouble)? else {
            return Ok(());
        };
        if found.state == ContainerState::Paused {
            return self.engine.unpause(id).await.map_err(trouble);
        }
        self.rewire(&found, "start").await?;
        self.put_in_place(scene, &found).await?;
        match self.engine.start(id).await {
            // The networks of a container that somebody else made are theirs: nobody makes one anew that is missing.
            Err(error) if gone(&error) && !(is_taken(scene, &found) && of_network(&error)) => {
                Ok(())
            }
            done => done.map_err(trouble),
        }
    }

    /// Names cannot be added to a container in a network: it leaves and comes back. It does so network
    /// by network, and serves nobody yet.
    async fn serve(&self, id: &str) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Start, &error);
        let Some(found) = self.engine.inspect(id).await.map_err(trouble)? else {
            return Ok(());
        };
        for at in own::wired(&found) {
            if own::has(&found, &at) {
                continue;
            }
            if found.networks.contains_key(&at.network) {
                self.engine.detach(id, &at.network).await.map_err(trouble)?;
                self.fault.within("serve");
            }
            self.attach(id, &at).await?;
            self.fault.within("serve");
        }
        Ok(())
    }

    async fn stop(&self, scene: &Scene, id: &str, grace: u32) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Config, &error);
        let Some(found) = self.engine.inspect(id).await.map_err(trouble)? else {
            return Ok(());
        };
        if found.state == ContainerState::Paused {
            // One that is held hears no signal.
            self.engine.unpause(id).await.map_err(trouble)?;
            self.fault.within("stop");
        }
        self.engine
            .stop(id, seconds(grace))
            .await
            .map_err(trouble)?;
        // Only then: one that could not be stopped, and is wanted again, is to have what it had.
        self.keep_down(scene, &found).await
    }

    /// Takes the names from an image by which the agent pulled it. Other names are somebody else's, and
    /// so is the image then.
    async fn remove_image(&self, scene: &Scene, id: &str) -> Result<(), Trouble> {
        let trouble = |error: Error| self.trouble(FailureClass::Config, &error);
        let Some(image) = self.engine.image(id).await.map_err(trouble)? else {
            return Ok(());
        };
        for name in names::meant(&image.names, &scene.memory.pulled, &self.mirrors) {
            self.engine.remove_image(&name).await.map_err(trouble)?;
            self.fault.within("remove_image");
        }
        Ok(())
    }
}

/// The name under which an image is asked for: the target's where the engine knows it by that, so that people see
/// what they know; else its id.
pub(super) fn called<'a>(image: &'a windlass_engine::FoundImage, target: &'a str) -> &'a str {
    let plain = target.parse().ok().map(|target| names::plain(&target));
    match plain.and_then(|plain| image.names.get(&plain)) {
        Some(name) => name,
        None => &image.id,
    }
}

/// Variables whose values are in files of the device.
async fn secrets(spec: &ServiceSpec) -> Result<BTreeMap<String, String>, Trouble> {
    let mut values = BTreeMap::new();
    for (name, path) in &spec.container.secret_files {
        let text = tokio::fs::read_to_string(path).await.map_err(|error| {
            failed(
                FailureClass::Config,
                format!("the value of {name} cannot be read from {path}: {error}"),
            )
        })?;
        // Editors end a file with a line's end that nobody meant.
        let value = text.strip_suffix('\n').unwrap_or(&text);
        values.insert(name.clone(), value.trim_end_matches('\r').to_owned());
    }
    Ok(values)
}

fn carries(found: &Found, labels: &BTreeMap<String, String>) -> bool {
    labels
        .iter()
        .all(|(name, value)| found.labels.get(name) == Some(value))
}

/// Whether what a step works on went away meanwhile: no failure; the next look sees what is there.
pub(super) fn gone(error: &Error) -> bool {
    let of_container = |message: &str| {
        let message = message.to_ascii_lowercase();
        message.contains("no such container") || message.contains("no such image")
    };
    match error {
        Error::Missing { message, .. } => of_container(message) || of_network(error),
        _ => false,
    }
}

/// Whether it is a network that is missing.
pub(super) fn of_network(error: &Error) -> bool {
    let Error::Missing { message, .. } = error else {
        return false;
    };
    message.to_ascii_lowercase().contains("network")
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
