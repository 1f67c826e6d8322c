//! The machine on a real container engine: looking at it, doing steps to it, and probing what runs.
//!
//! | Module | What |
//! |---|---|
//! | `look` | engine → `Observed` |
//! | `step` | `Step` → engine |
//! | `fetch` | pulls, mirrors, what registries offer |
//! | `room` | how much a pull takes on the disk |
//! | `own` | the labels by which containers and networks are known |
//! | `names` | which image goes by which name |
//! | `prober`, `attempt` | probes, and one try of one |
//! | `locks` | locks that apps hold |
//! | `taken`, `lends` | watch mode: containers that somebody else made, and what they use of one another |
//! | `watch` | what wakes the loop |
//! | `fault` | where tests end the process between two calls of one step |

mod attempt;
mod fault;
mod fetch;
mod lends;
mod locks;
mod look;
mod names;
mod own;
mod prober;
mod room;
mod step;
mod taken;
mod watch;

use crate::config::Config;
use crate::machine::{LogLine, Machine, Scene, Trouble};
use crate::taking::{Candidate, ENABLE};
use chrono::{DateTime, Utc};
use fault::Fault;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use prober::Prober;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use watch::Watch;
use windlass_engine::{Address, ContainerSettings, Credentials, Engine, Error, Info, PullSettings};
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::{Observed, Offer};
use windlass_reconcile::outcome::StepFailure;
use windlass_reconcile::step::Step;

/// A container engine that speaks Docker's API.
#[derive(Debug)]
pub struct Docker {
    engine: Arc<Engine>,
    scope: String,
    prefix: String,
    credentials: Credentials,
    mirrors: BTreeMap<String, String>,
    storage: Option<PathBuf>,
    unpack_factor: u64,
    pull: PullSettings,
    /// What the engine says of itself; asked again after it was away.
    info: Mutex<Option<Info>>,
    offers: Mutex<BTreeMap<String, Offer>>,
    prober: Prober,
    changed: Arc<Notify>,
    watch: Watch,
    /// The same for containers that ask to be taken.
    strangers: Option<Watch>,
    borrows: lends::Borrows,
    fault: Fault,
}

impl Docker {
    /// The engine that a configuration names, for one scope. Nothing is asked of it yet; what it does is
    /// followed from the first look on.
    #[must_use]
    pub fn new(config: &Config, scope: &str) -> Self {
        // The configuration was checked; a socket by this name is away for ever, and says so.
        let address = config
            .engine
            .address
            .parse()
            .unwrap_or_else(|_| Address::Socket(PathBuf::from(&config.engine.address)));
        let engine = Arc::new(Engine::new(address));
        let changed = Arc::new(Notify::new());
        Self {
            scope: scope.to_owned(),
            prefix: config.update.prefix.clone(),
            credentials: Credentials {
                docker_config: config.registry.docker_config.clone(),
                files: config.registry.credential_files.clone(),
            },
            mirrors: config.registry.mirrors.clone(),
            storage: config.engine.storage.clone(),
            unpack_factor: config.engine.unpack_factor.into(),
            pull: PullSettings {
                stall: Duration::from_secs(config.engine.pull_stall_seconds.max(1)),
            },
            info: Mutex::new(None),
            offers: Mutex::new(BTreeMap::new()),
            prober: Prober::new(Arc::clone(&engine), Arc::clone(&changed)),
            watch: Watch::new(Arc::clone(&engine), own::scope(scope), Arc::clone(&changed)),
            changed,
            engine,
            strangers: None,
            borrows: lends::Borrows::default(),
            fault: Fault::from_environment(),
        }
    }

    /// The same, looking for containers that ask to be taken.
    #[must_use]
    pub fn watching(config: &Config, scope: &str) -> Self {
        let mut docker = Self::new(config, scope);
        docker.strangers = Some(Watch::new(
            Arc::clone(&docker.engine),
            vec![ENABLE.to_owned()],
            Arc::clone(&docker.changed),
        ));
        docker
    }

    /// What a failed call means for a step; `class` is for what the engine's answer leaves open.
    fn trouble(&self, class: FailureClass, error: &Error) -> Trouble {
        if error.is_away() {
            // It may be another one when it is back.
            if let Ok(mut info) = self.info.lock() {
                *info = None;
            }
            return Trouble::Away(error.to_string());
        }
        let class = match error {
            Error::Pull { class, .. } => *class,
            other if other.is_out_of_space() => FailureClass::Disk,
            _ => class,
        };
        failed(class, error.to_string())
    }

    async fn info(&self) -> Result<Info, Trouble> {
        if let Ok(known) = self.info.lock()
            && let Some(info) = known.as_ref()
        {
            return Ok(info.clone());
        }
        let info = self
            .engine
            .info()
            .await
            .map_err(|error| self.trouble(FailureClass::Config, &error))?;
        tracing::info!(
            engine.address = %self.engine.address(),
            engine.kind = ?info.kind,
            engine.version = info.version,
            engine.api = info.api,
            engine.platform = info.platform,
            "the container engine answers"
        );
        if let Ok(mut known) = self.info.lock() {
            *known = Some(info.clone());
        }
        Ok(info)
    }
}

impl Machine for Docker {
    async fn observe(&self, scene: &Scene) -> Result<Observed, Trouble> {
        self.watch.begin();
        if let Some(strangers) = &self.strangers {
            strangers.begin();
        }
        self.look(scene).await
    }

    async fn candidates(&self, scene: &Scene) -> Result<Vec<Candidate>, Trouble> {
        self.labelled(scene).await
    }

    async fn settings(&self, container: &str) -> Result<Option<ContainerSettings>, Trouble> {
        let trouble = |error| self.trouble(FailureClass::Config, &error);
        self.engine.settings(container).await.map_err(trouble)
    }

    async fn execute(&self, scene: &Scene, step: &Step) -> Result<(), Trouble> {
        self.step(scene, step).await
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn logs(
        &self,
        container: &str,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'static, Result<LogLine, Trouble>> {
        let (engine, container) = (Arc::clone(&self.engine), container.to_owned());
        let trouble = |error: Error| {
            if error.is_away() {
                Trouble::Away(error.to_string())
            } else {
                failed(FailureClass::Config, error.to_string())
            }
        };
        stream::once(async move { engine.logs(&container, after, true).await })
            .flat_map(move |lines| match lines {
                Ok(lines) => lines
                    .map(move |line| {
                        line.map_err(trouble).map(|line| LogLine {
                            at: line.at,
                            is_stderr: line.is_stderr,
                            text: line.text,
                        })
                    })
                    .boxed(),
                Err(error) => stream::once(async move { Err(trouble(error)) }).boxed(),
            })
            .boxed()
    }
}

fn failed(class: FailureClass, message: String) -> Trouble {
    Trouble::Failed(StepFailure { class, message })
}
