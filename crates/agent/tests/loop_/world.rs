//! A server, an engine, a state directory, and agents on them.

use crate::engine::Engine;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_agent::agent;
use windlass_agent::config::Config;
use windlass_agent::identity::Identity;
use windlass_agent::reconciler::Fault;
use windlass_agent::state::{StateDir, TARGET};
use windlass_agent::status::{self, Status};
use windlass_agent::target::Target;
use windlass_bus::Bus;
use windlass_client::Client;
use windlass_reconcile::view::Phase;
use windlass_service::{Deps, serve};
use windlass_testkit::{TestStore, eventually, sqlite};
use windlass_types::api::NewTarget;
use windlass_types::device::{DeviceLog, NewProvisioningKey};
use windlass_types::ids::DeviceId;
use windlass_types::page::Page;

/// Much longer than anything here takes on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const OPERATOR: &str = "operator-key-of-the-tests";

/// A running state-api.
pub(crate) struct Server {
    pub(crate) operator: Client,
    deps: Deps,
    served: Option<std::thread::JoinHandle<()>>,
    _store: TestStore,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let store = sqlite().await;
        let mut config = windlass_service::config::Config::default();
        config.state_api.api_key = Some(OPERATOR.to_owned());
        config.http.workers = 1;
        config.http.shutdown_timeout_seconds = 1;
        let deps = Deps::new(store.store.clone(), Bus::local());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let operator = Client::new(&url, Some(OPERATOR.to_owned())).unwrap();
        let served = deps.clone();
        let (started, begun) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let part = windlass_state_api::part(&config, &served).await.unwrap();
                started.send(()).ok();
                serve(vec![part], &served, &config.http, listener)
                    .await
                    .unwrap();
            });
        });
        begun.await.unwrap();
        Self {
            operator,
            deps,
            served: Some(thread),
            _store: store,
        }
    }

    /// A key that registers one device.
    async fn provisioning_key(&self) -> String {
        let key = NewProvisioningKey {
            fleet_id: "edge".to_owned().try_into().unwrap(),
            max_devices: 1,
            expires_in_days: 1,
            description: String::new(),
        };
        let made = self.operator.create_provisioning_key(&key).await.unwrap();
        made.key.unwrap()
    }

    /// Ends it; nothing listens there any more.
    pub(crate) fn stop(&mut self) {
        self.deps.shutdown.cancel();
        if let Some(thread) = self.served.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.deps.shutdown.cancel();
    }
}

/// A device: its engine and its state directory.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    pub(crate) folder: TempDir,
    pub(crate) config: Config,
}

/// An agent that runs. Dropped, it is killed.
pub(crate) struct Agent {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Device {
    pub(crate) async fn of(server: &Server) -> Self {
        let mut device = Self::without_server(server.operator.base());
        device.config.server.provisioning_key = Some(server.provisioning_key().await);
        device
    }

    pub(crate) fn without_server(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Before an agent makes it, so that a test knows it.
        Identity::of(&StateDir::at(folder.path()), chrono::Utc::now()).unwrap();
        let mut config = Config {
            state_dir: folder.path().to_owned(),
            ..Config::default()
        };
        url.clone_into(&mut config.server.url);
        config.server.poll_seconds = 1;
        config.server.wait_seconds = 2;
        config.server.longest_backoff_seconds = 1;
        config.report.gather_ms = 10;
        config.update.settle_seconds = 0;
        config.update.drain_seconds = 0;
        config.update.retry_first_seconds = 1;
        config.update.retry_longest_seconds = 1;
        config.update.restart_first_seconds = 1;
        config.update.restart_longest_seconds = 1;
        Self {
            engine: Engine::default(),
            folder,
            config,
        }
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::at(self.folder.path())
    }

    pub(crate) fn uuid(&self) -> DeviceId {
        Identity::of(&self.state(), chrono::Utc::now())
            .unwrap()
            .uuid
    }

    pub(crate) fn status(&self) -> Option<Status> {
        status::read(&self.state()).ok().flatten()
    }

    /// Starts an agent. With `RUST_LOG` set, what it says is shown.
    pub(crate) fn agent(&self) -> Agent {
        if std::env::var_os("RUST_LOG").is_some() {
            // Already started by another device of the test.
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_writer(std::io::stderr)
                .try_init()
                .ok();
        }
        let shutdown = CancellationToken::new();
        let (config, engine, ends) = (self.config.clone(), self.engine.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            agent::run(&config, |_, _| engine, Fault::default(), &ends)
                .await
                .unwrap();
        });
        Agent { shutdown, task }
    }

    /// Puts a target where an agent keeps it, as if it had been told some time ago.
    pub(crate) fn write_target(&self, version: i64, target: &Value) {
        let kept = Target {
            version,
            taken_at: chrono::Utc::now(),
            state: serde_json::from_value(target.clone()).unwrap(),
        };
        self.state().write(TARGET, &kept).unwrap();
    }

    /// Waits until every service has proved itself and waits for nothing.
    pub(crate) async fn settles(&self) {
        eventually("all have proved themselves", PATIENCE, async || {
            self.status().is_some_and(|status| {
                let services = status.picture.services.unwrap_or_default();
                !services.is_empty()
                    && services
                        .iter()
                        .all(|view| view.phase == Phase::Running && view.waits.is_none())
            })
        })
        .await;
    }

    /// Waits until exactly these images run.
    pub(crate) async fn runs(&self, images: &[&str]) {
        eventually(&format!("{images:?} run"), PATIENCE, async || {
            let mut runs = self.engine.runs();
            runs.sort();
            runs == images
        })
        .await;
    }
}

impl Agent {
    /// Ends as at SIGTERM.
    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap();
    }

    /// Ends between any two instructions at which it waits.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        (&mut self.task).await.unwrap_err();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A target with one service for each image: `web` the first, `web2` the next.
pub(crate) fn target(images: &[&str]) -> Value {
    let services: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(index, image)| {
            let name = match index {
                0 => "web".to_owned(),
                more => format!("web{}", more + 1),
            };
            json!({"serviceId": index + 1, "serviceName": name, "imageName": image,
                   "config": {"image": image}})
        })
        .collect();
    json!({"apps": {"7": {"appId": 7, "appName": "demo", "services": services}}, "config": {}})
}

impl Server {
    /// Gives a device a target, when it is registered; returns the version.
    pub(crate) async fn set(&self, uuid: DeviceId, target: &Value) -> i64 {
        let target: NewTarget = serde_json::from_value(target.clone()).unwrap();
        eventually("the device is registered", PATIENCE, async || {
            self.operator.device_info(uuid).await.is_ok()
        })
        .await;
        let set = self.operator.set_target(uuid, None, &target).await;
        set.unwrap().version
    }

    /// What the device said last of its first service.
    pub(crate) async fn told(&self, uuid: DeviceId) -> Value {
        let state = self.operator.current_state(uuid).await.unwrap();
        let report = state.report.unwrap_or_default();
        report["apps"]["7"]["services"][0].clone()
    }
}

impl Server {
    /// The lines of a device's logs, in the order in which they were written.
    pub(crate) async fn logs(&self, uuid: DeviceId) -> Vec<DeviceLog> {
        let answer = windlass_testkit::http()
            .get(format!(
                "{}/api/v1/devices/{uuid}/logs",
                self.operator.base()
            ))
            .bearer_auth(OPERATOR)
            .send()
            .await
            .unwrap();
        let page: Page<DeviceLog> = answer.json().await.unwrap();
        let mut lines = page.items;
        lines.sort_by_key(|line| line.logged_at);
        lines
    }
}
