//! A device: an agent's process, its state directory, its scope of an engine, and the server it listens to.

use crate::server::Server;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;
use windlass_engine::{Engine, Found};
use windlass_reconcile::observed::ContainerState;
use windlass_testkit::{Process, Registry, docker_host, eventually, http};

/// Much longer than anything here takes on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Bench {
    pub(crate) scope: String,
    pub(crate) server: Server,
    pub(crate) engine: Engine,
    pub(crate) host: String,
    folder: tempfile::TempDir,
    agent: Option<Process>,
}

impl Bench {
    /// A device on the engine that tests share. No agent runs yet.
    pub(crate) async fn new() -> Self {
        Self::on(&docker_host()).await
    }

    /// A device on this engine.
    pub(crate) async fn on(host: &str) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            scope: format!("t{}", id.get(..12).unwrap()),
            server: Server::start().await,
            engine: Engine::new(host.parse().unwrap()),
            host: host.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            agent: None,
        }
    }

    /// A file of the device's, beside the agent's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings that make an agent quick.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let state = self.file("state").to_string_lossy().into_owned();
        let pairs: &[(&str, &str)] = &[
            ("WINDLASS_AGENT_STATE_DIR", &state),
            ("WINDLASS_AGENT_SERVER_URL", &self.server.url),
            ("WINDLASS_AGENT_SERVER_PROVISIONING_KEY", "a key"),
            ("WINDLASS_AGENT_SERVER_WAIT_SECONDS", "0"),
            ("WINDLASS_AGENT_SERVER_POLL_SECONDS", "1"),
            ("WINDLASS_AGENT_SERVER_LONGEST_BACKOFF_SECONDS", "1"),
            ("WINDLASS_AGENT_REPORT_GATHER_MS", "50"),
            ("WINDLASS_AGENT_ENGINE_ADDRESS", &self.host),
            ("WINDLASS_AGENT_ENGINE_SCOPE", &self.scope),
            ("WINDLASS_AGENT_UPDATE_PREFIX", &self.scope),
            ("WINDLASS_AGENT_UPDATE_RESERVE_BYTES", "1"),
            ("WINDLASS_AGENT_UPDATE_SETTLE_SECONDS", "2"),
            ("WINDLASS_AGENT_UPDATE_DEADLINE_SECONDS", "10"),
            ("WINDLASS_AGENT_UPDATE_GRACE_SECONDS", "3"),
            ("WINDLASS_AGENT_UPDATE_DRAIN_SECONDS", "1"),
            ("WINDLASS_AGENT_UPDATE_RETRY_FIRST_SECONDS", "1"),
            ("WINDLASS_AGENT_UPDATE_RETRY_LONGEST_SECONDS", "4"),
            ("WINDLASS_AGENT_LOG_LEVEL", "debug"),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    /// Starts the agent, with settings beside those that make it quick.
    pub(crate) fn start(&mut self, further: &[(&str, &str)]) {
        let settings = self.variables();
        let mut variables: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        variables.extend(further);
        self.agent = Some(Process::workspace("windlass-agent", &["run"], &variables));
    }

    /// Runs one of the agent's commands with the same settings; whether it ended well, and what it said.
    pub(crate) fn command(&self, arguments: &[&str]) -> (bool, String) {
        let settings = self.variables();
        let variables: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut process = Process::workspace("windlass-agent", arguments, &variables);
        let well = process.wait();
        (well, process.log())
    }

    pub(crate) fn agent(&mut self) -> &mut Process {
        self.agent.as_mut().unwrap()
    }

    /// Whether the agent's last report is of this version of the target.
    pub(crate) fn agent_knows(&self, version: &Value) -> bool {
        self.server.reported_version().as_ref() == Some(version)
    }

    /// All containers of this device.
    pub(crate) async fn containers(&self) -> Vec<Found> {
        let label = format!("windlass.scope={}", self.scope);
        let mut found = Vec::new();
        for id in self.engine.list(&[label]).await.unwrap_or_default() {
            found.extend(self.engine.inspect(&id).await.ok().flatten());
        }
        found
    }

    /// Those of a service that run.
    pub(crate) async fn running(&self, name: &str) -> Vec<Found> {
        let mut found = self.containers().await;
        found.retain(|one| {
            one.state == ContainerState::Running
                && one.labels.get("windlass.service-name").map(String::as_str) == Some(name)
        });
        found
    }

    /// Waits until a service runs this image in one container, proven and alone, and the server knows.
    pub(crate) async fn settles(&self, name: &str, image: &str) -> Found {
        let mut last = None;
        eventually(
            &format!("{name} settles on {image}"),
            PATIENCE,
            async || {
                let containers = self.containers().await;
                let mut of = containers.into_iter().filter(|one| {
                    one.labels.get("windlass.service-name").map(String::as_str) == Some(name)
                });
                let (Some(only), None) = (of.next(), of.next()) else {
                    return false;
                };
                let told = self.server.reported(name).is_some_and(|told| {
                    told["imageName"] == json!(image)
                        && told["containerId"] == json!(only.id)
                        && (told["phase"] == "running" || told["phase"] == "failed")
                });
                let runs = only.state == ContainerState::Running && image_of(&only) == image;
                last = Some(only);
                told && runs
            },
        )
        .await;
        last.unwrap()
    }

    /// Waits until the server is told of an error of this class.
    pub(crate) async fn tells(&self, name: &str, class: &str) {
        eventually(
            &format!("{name} fails with {class}"),
            PATIENCE,
            async || self.server.error(name).as_deref() == Some(class),
        )
        .await;
    }
}

impl Bench {
    /// Waits until the server is told that a service waits for what is said like this.
    pub(crate) async fn waits(&self, name: &str, what: &str) {
        eventually(&format!("{name} waits for {what}"), PATIENCE, async || {
            let told = self.server.reported(name);
            told.is_some_and(|told| {
                told["waitsFor"]
                    .as_str()
                    .is_some_and(|why| why.contains(what))
            })
        })
        .await;
    }

    /// Waits until the server is told of an error of this class, with this in its message.
    pub(crate) async fn tells_why(&self, name: &str, class: &str, why: &str) {
        eventually(
            &format!("{name} fails with {class}: {why}"),
            PATIENCE,
            async || {
                let error = self.server.reported(name).map(|told| told["error"].clone());
                error.is_some_and(|error| {
                    error["type"] == json!(class)
                        && error["message"]
                            .as_str()
                            .is_some_and(|said| said.contains(why))
                })
            },
        )
        .await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The agent first: it would make anew what is removed here.
        self.agent = None;
        let (host, scope) = (self.host.clone(), self.scope.clone());
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(clean(&host, &scope));
        });
        cleaned.join().ok();
    }
}

async fn clean(host: &str, scope: &str) {
    let engine = Engine::new(host.parse().unwrap());
    let label = [format!("windlass.scope={scope}")];
    let mut images = Vec::new();
    for id in engine.list(&label).await.unwrap_or_default() {
        images.extend(
            engine
                .inspect(&id)
                .await
                .ok()
                .flatten()
                .map(|one| one.image_id),
        );
        engine.kill(&id).await.ok();
        engine.remove(&id).await.ok();
    }
    for network in engine.networks(&label).await.unwrap_or_default() {
        engine.remove_network(&network.name).await.ok();
    }
    for id in images {
        engine.remove_image(&id).await.ok();
    }
}

/// The image that a container was made from, as its target named it.
pub(crate) fn image_of(found: &Found) -> &str {
    found
        .labels
        .get("windlass.image")
        .map_or("", String::as_str)
}

/// A service of the target.
pub(crate) fn service(id: i64, name: &str, image: &str, mut config: Value) -> Value {
    config["image"] = json!(image);
    json!({"serviceId": id, "serviceName": name, "imageName": image, "state": "running", "config": config})
}

/// The usual one: a server with a readiness probe.
pub(crate) fn web(image: &str) -> Value {
    service(1, "web", image, probed())
}

pub(crate) fn probed() -> Value {
    json!({"readinessProbe": {"type": "http", "path": "/health", "port": 8080,
           "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3}})
}

/// Asks a container.
pub(crate) async fn ask(found: &Found, path: &str) -> Option<String> {
    let address = found
        .networks
        .values()
        .find_map(|(_, address)| address.clone())?;
    let url = format!("http://{address}:8080{path}");
    http().get(url).send().await.ok()?.text().await.ok()
}

/// A registry and a good first version in it.
pub(crate) async fn with_v1() -> (Registry, String) {
    let registry = Registry::start(&[]).await;
    let v1 = registry.push_app("demo/app", "v1", &[]).await;
    (registry, v1)
}
