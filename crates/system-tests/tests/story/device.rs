//! A device: an agent's process, its state directory and its scope of the engine.

use crate::PATIENCE;
use crate::engine::clean;
use crate::server::Server;
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_engine::{Engine, Found};
use windlass_reconcile::observed::ContainerState;
use windlass_testkit::{Process, eventually};
use windlass_types::ids::DeviceId;

/// How its service `web` changes from one container to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Recreate,
    /// Recreate, and its program does not listen to SIGTERM.
    SlowStop,
    HandOver,
}

pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) strategy: Strategy,
    pub(crate) uuid: DeviceId,
    host: String,
    engine: Engine,
    agent: Option<Process>,
    _folder: tempfile::TempDir,
}

impl Device {
    /// Starts its agent with a provisioning key and waits until the server knows it.
    pub(crate) async fn start(host: &str, server: &Server, strategy: Strategy, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let state = state.to_string_lossy();
        let id = Uuid::new_v4().simple().to_string();
        let scope = format!("s{}", id.get(..12).unwrap());
        let name = format!("{strategy:?}-{scope}");
        let variables = [
            ("WINDLASS_AGENT_STATE_DIR", &*state),
            ("WINDLASS_AGENT_SERVER_URL", &server.url),
            ("WINDLASS_AGENT_SERVER_PROVISIONING_KEY", key),
            ("WINDLASS_AGENT_SERVER_LONGEST_BACKOFF_SECONDS", "1"),
            ("WINDLASS_AGENT_DEVICE_NAME", &name),
            ("WINDLASS_AGENT_ENGINE_ADDRESS", host),
            ("WINDLASS_AGENT_ENGINE_SCOPE", &scope),
            ("WINDLASS_AGENT_UPDATE_PREFIX", &scope),
            ("WINDLASS_AGENT_UPDATE_RESERVE_BYTES", "1"),
            ("WINDLASS_AGENT_UPDATE_SETTLE_SECONDS", "2"),
            ("WINDLASS_AGENT_UPDATE_DRAIN_SECONDS", "1"),
            // Engines wait before each further restart, twice as long as before the last.
            ("WINDLASS_AGENT_UPDATE_CRASH_RESTARTS", "2"),
            ("WINDLASS_AGENT_LOG_LEVEL", "debug"),
        ];
        let agent = Process::workspace("windlass-agent", &["run"], &variables);
        let mut uuid = None;
        eventually(&format!("{name} is registered"), PATIENCE, async || {
            uuid = server.uuid_of(&name).await;
            uuid.is_some()
        })
        .await;
        Self {
            name,
            scope,
            strategy,
            uuid: uuid.unwrap(),
            host: host.to_owned(),
            engine: Engine::new(host.parse().unwrap()),
            agent: Some(agent),
            _folder: folder,
        }
    }

    /// What its service `web` has in its target beside its image.
    pub(crate) fn config(&self) -> Value {
        let mut config = json!({
            "readinessProbe": {"type": "http", "path": "/health", "port": 8080, "periodSeconds": 1},
        });
        match self.strategy {
            Strategy::Recreate => {}
            Strategy::SlowStop => {
                config["environment"] = json!({"APP_IGNORE_TERM": "1"});
                config["stop_grace_period"] = json!("2s");
            }
            // In the spelling that the policy of a rollout leaves as it is.
            Strategy::HandOver => config["update_strategy"] = json!("blue-green"),
        }
        config
    }

    /// Waits until a service runs this image in one container and there is no other.
    pub(crate) async fn runs(&self, service: &str, image: &str) -> Found {
        let mut only = None;
        let what = format!("{} runs {image} as {service}", self.name);
        eventually(&what, PATIENCE, async || {
            let found = of_service(&self.engine, &self.scope, service).await;
            only = match found.as_slice() {
                [one] if one.state == ContainerState::Running => Some(one.clone()),
                _ => None,
            };
            only.as_ref().is_some_and(|one| {
                one.labels
                    .get("windlass.image")
                    .is_some_and(|of| of == image)
            })
        })
        .await;
        only.unwrap()
    }
}

async fn of_service(engine: &Engine, scope: &str, service: &str) -> Vec<Found> {
    let labels = [
        format!("windlass.scope={scope}"),
        format!("windlass.service-name={service}"),
    ];
    let mut found = Vec::new();
    for id in engine.list(&labels).await.unwrap_or_default() {
        found.extend(engine.inspect(&id).await.ok().flatten());
    }
    found
}

impl Drop for Device {
    fn drop(&mut self) {
        // The agent first: it would make anew what is removed here.
        self.agent = None;
        clean(&self.host, &format!("windlass.scope={}", self.scope));
    }
}
