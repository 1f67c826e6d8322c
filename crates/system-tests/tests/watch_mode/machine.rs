//! A machine: its engine, a registry, and `windlass up --agent`.

use crate::engine::{inspect, post, pull};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windlass_client::{Client, PageQuery};
use windlass_testkit::{DockerEngine, Process, Registry, eventually, free_port, http};
use windlass_types::target::TargetState;

/// Much longer than anything here takes on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The network that containers are in.
pub(crate) const NETWORK: &str = "home";

pub(crate) struct Machine {
    pub(crate) engine: DockerEngine,
    pub(crate) registry: Registry,
    /// `host/demo/app:stable`.
    pub(crate) image: String,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

impl Machine {
    /// With a first image in the registry and in the engine, a network, and nothing that runs.
    pub(crate) async fn new() -> Self {
        let (engine, registry) = tokio::join!(DockerEngine::start(), Registry::start(&[]));
        let image = format!("{}/demo/app:stable", registry.host);
        let machine = Self {
            engine,
            registry,
            image,
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            process: None,
        };
        machine.push("1", &[]).await;
        pull(&machine.engine, &machine.image).await;
        let network = json!({"Name": NETWORK, "Driver": "bridge"});
        post(&machine.engine, "/networks/create", &network).await;
        machine
    }

    /// Moves the tag to another image; returns its digest.
    pub(crate) async fn push(&self, build: &str, further: &[(&str, &str)]) -> String {
        let variables = [&[("APP_BUILD", build)], further].concat();
        let name = self
            .registry
            .push_app("demo/app", "stable", &variables)
            .await;
        let (_, digest) = name.split_once('@').unwrap();
        digest.to_owned()
    }

    /// Tells of a push by a webhook in the form that is nobody's own.
    pub(crate) async fn tell(&self, endpoint: &str, digest: &str) {
        let url = format!("http://127.0.0.1:{}/api/v1/webhooks/{endpoint}", self.port);
        let body = json!({"image": format!("{}@{digest}", self.image)});
        eventually("the webhook is taken", PATIENCE, async || {
            let sent = http().post(&url).json(&body).send().await;
            sent.is_ok_and(|answer| answer.status() == 202)
        })
        .await;
    }

    /// Starts `windlass up --agent`, with variables beside those that make it quick.
    pub(crate) fn start(&mut self, further: &[(&str, &str)]) {
        let listen = format!("127.0.0.1:{}", self.port);
        let plain = json!([self.registry.host]).to_string();
        let mut variables = vec![
            ("WINDLASS_REGISTRY_HTTP_HOSTS", plain.as_str()),
            ("WINDLASS_WATCH_INTERVAL_SECONDS", "1"),
            ("WINDLASS_PLANNER_SCAN_MS", "500"),
            ("WINDLASS_AGENT_REPORT_GATHER_MS", "50"),
            ("WINDLASS_AGENT_UPDATE_RESERVE_BYTES", "1"),
            ("WINDLASS_AGENT_UPDATE_SETTLE_SECONDS", "2"),
            ("WINDLASS_AGENT_UPDATE_DEADLINE_SECONDS", "10"),
            ("WINDLASS_AGENT_UPDATE_GRACE_SECONDS", "2"),
            ("WINDLASS_LOG_FORMAT", "text"),
        ];
        variables.extend(further);
        let (data, key) = (self.data(), self.folder.path().join("key"));
        let arguments = [
            "up",
            "--agent",
            "--engine",
            &self.engine.host,
            "--listen",
            &listen,
            "--data",
            text(&data),
            "--key-file",
            text(&key),
        ];
        self.process = Some(Process::workspace("windlass", &arguments, &variables));
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// What the agent holds, as it keeps it.
    pub(crate) fn book(&self) -> Value {
        let text = std::fs::read_to_string(self.data().join("agent/taken.json"));
        serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Removes the database, and nothing else of the data folder. The operator's key is a new one from then on.
    pub(crate) fn lose_database(&self) {
        std::fs::remove_file(self.folder.path().join("key")).unwrap();
        for entry in std::fs::read_dir(self.data()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// The operator's view; there is a key from the first start on.
    pub(crate) async fn client(&self) -> Client {
        let file = self.folder.path().join("key");
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut client = None;
        eventually("windlass up serves", PATIENCE, async || {
            let Ok(key) = std::fs::read_to_string(&file) else {
                return false;
            };
            // The file is there before there is a key.
            if key.trim().is_empty() {
                return false;
            }
            let made = Client::new(&url, Some(key.trim().to_owned())).unwrap();
            let ready = made.ready().await.is_ok();
            client = Some(made);
            ready
        })
        .await;
        client.unwrap()
    }

    /// What the agent says of itself.
    pub(crate) async fn status(&self) -> Value {
        let output = tokio::process::Command::new(program("windlass"))
            .args(["agent", "status", "--json", "--state-dir"])
            .arg(self.data().join("agent"))
            .output()
            .await
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The target of the machine's agent; empty where it has none yet.
    pub(crate) async fn target(&self) -> TargetState {
        let client = self.client().await;
        let devices = client
            .devices(&windlass_client::DeviceQuery::default())
            .await;
        match devices.unwrap().items.first() {
            Some(device) => client.target(device.uuid).await.unwrap().state,
            None => TargetState::default(),
        }
    }

    /// Whether the target names a service of this name.
    pub(crate) async fn targets(&self, name: &str) -> bool {
        let target = self.target().await;
        target
            .services()
            .any(|(_, service)| service.service_name == name)
    }

    /// The names of policies.
    pub(crate) async fn policies(&self) -> Vec<String> {
        let page = self
            .client()
            .await
            .policies(&PageQuery::default())
            .await
            .unwrap();
        page.items
            .into_iter()
            .map(|policy| policy.spec.name)
            .collect()
    }

    /// Waits until the agent holds a container and the server knows what it runs.
    pub(crate) async fn holds(&self, name: &str) {
        eventually(&format!("{name} is held"), PATIENCE, async || {
            let status = self.status().await;
            let services = status["picture"]["services"].as_array();
            let mut services = services.into_iter().flatten();
            let held = services.any(|one| one["name"] == json!(name) && one["phase"] == "running");
            held && self.targets(name).await && !self.policies().await.is_empty()
        })
        .await;
    }

    /// Waits until the only container of this name runs what this digest names, proven. Returns it.
    pub(crate) async fn settles(&self, name: &str, digest: &str) -> Value {
        self.settles_as(name, name, digest).await
    }

    /// The same for a container that is called otherwise than its service.
    pub(crate) async fn settles_as(&self, name: &str, service: &str, digest: &str) -> Value {
        let mut last = Value::Null;
        eventually(
            &format!("{name} settles on {digest}"),
            PATIENCE,
            async || {
                let one = inspect(&self.engine, name).await;
                let made = one["Config"]["Labels"]["windlass.image"]
                    .as_str()
                    .unwrap_or_default();
                let others = crate::engine::names(&self.engine).await;
                let alone = others.iter().filter(|other| other.contains(name)).count() == 1;
                let status = self.status().await;
                let services = status["picture"]["services"].as_array();
                let mut services = services.into_iter().flatten();
                let proven = services.any(|view| {
                    view["name"] == json!(service)
                        && matches!(view["phase"].as_str(), Some("running" | "failed"))
                        && view["container"]["id"] == one["Id"]
                });
                let runs = one["State"]["Running"] == json!(true) && made.ends_with(digest);
                last = one;
                runs && alone && proven
            },
        )
        .await;
        last
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where cargo put a program: beside the folder of the test that runs.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(name)
}
