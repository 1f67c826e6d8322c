//! A container engine in memory: the second implementation of `Machine`.

use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use windlass_agent::machine::{LogLine, Machine, Scene, Trouble};
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::{Container, ContainerState, Image, Observed, Offer};
use windlass_reconcile::outcome::StepFailure;
use windlass_reconcile::spec::ServiceSpec;
use windlass_reconcile::step::Step;

/// What the engine has. Outlives agents.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) containers: Vec<Container>,
    images: BTreeMap<String, String>,
    networks: BTreeMap<String, i64>,
    offers: BTreeMap<String, Offer>,
    /// Images whose containers end at once.
    pub(crate) crashes: BTreeSet<String>,
    /// Images that cannot be pulled.
    pub(crate) unpullable: BTreeSet<String>,
    pub(crate) away: bool,
    /// The steps that were done, by name.
    pub(crate) done: Vec<String>,
    /// After so many more steps, agents are to be killed.
    pub(crate) kill_after: Option<u32>,
    /// What containers printed.
    pub(crate) printed: Vec<(String, LogLine)>,
    made: u64,
}

/// A handle. Clones share the engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engine {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    /// Rung when agents are to be killed.
    pub(crate) kill: Arc<Notify>,
}

impl Engine {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Something changed that no step did.
    pub(crate) fn ring(&self) {
        self.changed.notify_one();
    }

    /// The images of the containers that run.
    pub(crate) fn runs(&self) -> Vec<String> {
        let inner = self.inner();
        let running = |c: &&Container| c.state == ContainerState::Running;
        inner
            .containers
            .iter()
            .filter(running)
            .map(|c| c.image.clone())
            .collect()
    }

    fn act(&self, step: &Step) -> Result<(), Trouble> {
        let mut inner = self.inner();
        if inner.away {
            return Err(Trouble::Away("refused".to_owned()));
        }
        inner.act(step)?;
        inner.done.push(step.name().to_owned());
        if let Some(left) = &mut inner.kill_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                inner.kill_after = None;
                self.kill.notify_one();
            }
        }
        Ok(())
    }
}

impl Inner {
    fn act(&mut self, step: &Step) -> Result<(), Trouble> {
        match step {
            Step::Inspect { image, .. } => {
                self.offers.insert(image.clone(), Offer::default());
            }
            Step::Pull { image, .. } => {
                if self.unpullable.contains(image) {
                    return failed(FailureClass::Registry, "the registry does not answer");
                }
                self.made += 1;
                let id = format!("sha256:{:064x}", self.made);
                self.images.insert(image.clone(), id);
            }
            Step::CreateNetwork { name, app } => {
                self.networks.insert(name.clone(), *app);
            }
            Step::RemoveNetwork { name } => {
                self.networks.remove(name);
            }
            Step::Create {
                service,
                spec,
                name,
                serving,
            } => {
                if self.containers.iter().any(|c| c.name == *name) {
                    return failed(FailureClass::Start, "the name is taken");
                }
                let Some(image_id) = self.images.get(&spec.image).cloned() else {
                    return failed(FailureClass::Start, "no such image");
                };
                self.made += 1;
                let id = format!("{:064x}", self.made);
                self.containers
                    .push(made(id, name, *service, spec, image_id, *serving));
            }
            Step::Start { id, .. } => {
                let crashes = self.crashes.clone();
                let container = self.container(id)?;
                container.started_at = Some(Utc::now());
                if crashes.contains(&container.image) {
                    container.state = ContainerState::Restarting;
                    container.restarts += 5;
                    container.exit_code = Some(1);
                    container.finished_at = Some(Utc::now());
                } else {
                    container.state = ContainerState::Running;
                }
            }
            Step::Restart { id, .. } => {
                let container = self.container(id)?;
                container.started_at = Some(Utc::now());
                container.state = ContainerState::Running;
            }
            Step::Serve { id, .. } => self.container(id)?.serving = true,
            Step::Stop { id, .. } => {
                let container = self.container(id)?;
                container.state = ContainerState::Exited;
                container.exit_code = Some(0);
                container.finished_at = Some(Utc::now());
            }
            Step::Remove { id, .. } => {
                if self.container(id)?.state == ContainerState::Running {
                    return failed(FailureClass::Start, "it runs");
                }
                self.containers.retain(|c| c.id != *id);
            }
            Step::RemoveImage { id } => self.images.retain(|_, other| other != id),
            Step::Accept { .. }
            | Step::Remember { .. }
            | Step::Forget { .. }
            | Step::ForgetImage { .. } => panic!("{step:?} is the loop's own"),
        }
        Ok(())
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, Trouble> {
        let found = self.containers.iter_mut().find(|c| c.id == id);
        found.ok_or_else(|| {
            Trouble::Failed(StepFailure {
                class: FailureClass::Start,
                message: "no such container".to_owned(),
            })
        })
    }
}

fn failed(class: FailureClass, message: &str) -> Result<(), Trouble> {
    Err(Trouble::Failed(StepFailure {
        class,
        message: message.to_owned(),
    }))
}

/// A container as the engine has it after it was made.
pub(crate) fn made(
    id: String,
    name: &str,
    service: windlass_reconcile::spec::ServiceKey,
    spec: &ServiceSpec,
    image_id: String,
    serving: bool,
) -> Container {
    Container {
        id,
        name: name.to_owned(),
        service,
        service_name: spec.name.clone(),
        app_name: spec.app_name.clone(),
        fingerprint: spec.fingerprint(),
        image: spec.image.clone(),
        image_id,
        state: ContainerState::Created,
        serving,
        started_at: None,
        finished_at: None,
        exit_code: None,
        oom_killed: false,
        restarts: 0,
        health: None,
        healthcheck: None,
        ports: Vec::new(),
        stop_seconds: None,
        probes: Default::default(),
        seen_seconds: 0,
        served_seconds: 0,
        restarts_before: 0,
    }
}

impl Machine for Engine {
    async fn observe(&self, scene: &Scene) -> Result<Observed, Trouble> {
        let inner = self.inner();
        if inner.away {
            return Err(Trouble::Away("refused".to_owned()));
        }
        let mut images: BTreeMap<&String, Image> = BTreeMap::new();
        for (name, id) in &inner.images {
            let image = images.entry(id).or_insert_with(|| Image {
                id: id.clone(),
                names: BTreeSet::new(),
                bytes: 1,
            });
            image.names.insert(name.clone());
        }
        let mut containers = inner.containers.clone();
        for container in &mut containers {
            if let Some(claim) = scene.claims.get(&container.id) {
                container.service = claim.service;
                container.fingerprint.clone_from(&claim.fingerprint);
            }
        }
        Ok(Observed {
            containers,
            images: images.into_values().collect(),
            networks: inner.networks.clone(),
            free_bytes: Some(1 << 40),
            platform: Some("linux/amd64".to_owned()),
            offers: inner.offers.clone(),
            ..Observed::default()
        })
    }

    async fn execute(&self, _scene: &Scene, step: &Step) -> Result<(), Trouble> {
        let done = self.act(step);
        // A point at which a killed agent ends, after the engine did it and before the agent knows.
        tokio::task::yield_now().await;
        done
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn logs(
        &self,
        container: &str,
        after: Option<chrono::DateTime<Utc>>,
    ) -> BoxStream<'static, Result<LogLine, Trouble>> {
        let printed: Vec<_> = self
            .inner()
            .printed
            .iter()
            .filter(|(id, line)| id == container && after.is_none_or(|after| line.at > after))
            .map(|(_, line)| Ok(line.clone()))
            .collect();
        futures_util::stream::iter(printed).boxed()
    }
}
