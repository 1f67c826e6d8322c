//! The distributed tier as it is run: a process for each service, PostgreSQL, Redis, a registry that
//! sends its notifications to webhook-ingest, and devices that poll and report over HTTP.

use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use windlass_client::{Client, PageQuery, RolloutQuery};
use windlass_simulator::{Behaviour, DeviceSpec, Simulator, Style};
use windlass_store::events;
use windlass_testkit::{
    Notify, Process, RedisServer, Registry, TestStore, eventually, free_port, http, postgres,
};
use windlass_types::device::NewProvisioningKey;
use windlass_types::event::{Cursor, Event};
use windlass_types::ids::{CorrelationId, DeviceId, FleetId};
use windlass_types::rollout::{RolloutDevice, RolloutView};

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

const SECRET: &str = "a-secret-of-the-registry";
const OPERATOR: &str = "an-operator-key-for-tests";

/// How a system differs from one process of each service and one notification for each push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Processes of rollout-planner, health-checker and rollback-manager each.
    pub(crate) replicas: usize,
    /// How often the registry sends each notification.
    pub(crate) deliveries: usize,
}

pub(crate) struct System {
    pub(crate) redis: RedisServer,
    pub(crate) registry: Registry,
    pub(crate) client: Client,
    pub(crate) devices: Simulator,
    processes: BTreeMap<String, (Process, String)>,
    // Last: the services go before their database.
    pub(crate) database: TestStore,
}

impl System {
    /// Starts everything and waits until it is ready; no devices yet.
    pub(crate) async fn start(shape: Shape) -> Self {
        let database = postgres().await;
        let redis = RedisServer::start().await;
        let ingest = format!("127.0.0.1:{}", free_port());
        let api = format!("127.0.0.1:{}", free_port());
        let notify = Notify {
            url: format!("http://{ingest}/api/v1/webhooks/docker-registry"),
            headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
        };
        let registry = Registry::start(&vec![notify; shape.deliveries]).await;
        let mut places = vec![
            ("webhook-ingest".to_owned(), ingest),
            ("state-api".to_owned(), api.clone()),
        ];
        for service in ["rollout-planner", "health-checker", "rollback-manager"] {
            for number in 1..=shape.replicas {
                let name = format!("{service}/{number}");
                places.push((name, format!("127.0.0.1:{}", free_port())));
            }
        }
        let endpoints = json!({"docker-registry": {"secret": SECRET}}).to_string();
        let http_hosts = json!([registry.host]).to_string();
        let mut processes = BTreeMap::new();
        for (name, address) in places {
            let program = name.split('/').next().unwrap_or_default();
            let process = Process::workspace(
                &format!("windlass-{program}"),
                &[],
                &[
                    ("WINDLASS_STORE_URL", &database.url),
                    ("WINDLASS_BUS_REDIS_URL", &redis.url),
                    ("WINDLASS_HTTP_LISTEN", &address),
                    ("WINDLASS_STATE_API_API_KEY", OPERATOR),
                    ("WINDLASS_WEBHOOKS_ENDPOINTS", &endpoints),
                    ("WINDLASS_REGISTRY_HTTP_HOSTS", &http_hosts),
                ],
            );
            processes.insert(name, (process, address));
        }
        let server = format!("http://{api}");
        let client = Client::new(&server, Some(OPERATOR.to_owned())).unwrap();
        let system = Self {
            redis,
            registry,
            client,
            devices: Simulator::start(&server, Vec::new()).unwrap(),
            processes,
            database,
        };
        for name in system.names() {
            system.ready(&name).await;
        }
        system
    }

    /// Every process, such as `rollout-planner/2`.
    pub(crate) fn names(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    async fn ready(&self, name: &str) {
        let url = format!("http://{}/readyz", self.processes[name].1);
        eventually(&format!("{name} is ready"), PATIENCE, async || {
            let answer = http().get(&url).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Kills a process as `kill -9` does.
    pub(crate) fn kill(&mut self, name: &str) {
        self.processes.get_mut(name).unwrap().0.kill();
    }

    /// What a process says at one of its addresses; nothing while it is away.
    async fn said(&self, name: &str, path: &str) -> String {
        let url = format!("http://{}{path}", self.processes[name].1);
        match http().get(&url).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// How often the loops of all processes but this one have run.
    async fn runs_without(&self, name: &str) -> f64 {
        let mut runs = 0.0;
        for other in self.processes.keys().filter(|other| *other != name) {
            let metrics = self.said(other, "/metrics").await;
            runs += metrics
                .lines()
                .filter(|line| line.starts_with("windlass_loop_activations_total{"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        runs
    }

    /// Waits until others have gone about their work while this process is away.
    pub(crate) async fn goes_on_without(&self, name: &str) {
        let before = self.runs_without(name).await;
        let what = format!("others go on without {name}");
        eventually(&what, PATIENCE, async || {
            self.runs_without(name).await > before
        })
        .await;
    }

    /// Waits until every process has noticed that Redis is away.
    pub(crate) async fn misses_redis(&self) {
        for name in self.processes.keys() {
            eventually(&format!("{name} misses Redis"), PATIENCE, async || {
                self.said(name, "/readyz").await.contains("degraded")
            })
            .await;
        }
    }

    /// Starts a killed process again and waits until it is ready.
    pub(crate) async fn restart(&mut self, name: &str) {
        self.processes.get_mut(name).unwrap().0.restart();
        self.ready(name).await;
    }

    /// A key with which devices join a fleet.
    async fn provisioning_key(&self, fleet: &str) -> String {
        let asked = NewProvisioningKey {
            fleet_id: FleetId::try_from(fleet.to_owned()).unwrap(),
            max_devices: 1000,
            expires_in_days: 1,
            description: String::new(),
        };
        let made = self.client.create_provisioning_key(&asked).await.unwrap();
        made.key.expect("a new key is shown")
    }

    /// Starts the devices of some fleets and waits until all are provisioned. Every second one seems
    /// to run an existing agent. Returns the devices of each fleet.
    pub(crate) async fn populate(
        &mut self,
        fleets: &[(&str, u64)],
        behave: impl Fn(&str, u64, Behaviour) -> Behaviour,
    ) -> BTreeMap<String, Vec<DeviceId>> {
        let mut specs = Vec::new();
        let mut members: BTreeMap<String, Vec<DeviceId>> = BTreeMap::new();
        for (seed, (fleet, count)) in (1..).zip(fleets) {
            let key = self.provisioning_key(fleet).await;
            for index in 0..*count {
                let style = [Style::Ours, Style::Existing][usize::from(index % 2 == 1)];
                let spec = DeviceSpec::drawn(seed, index, format!("{fleet}-{index}"), &key)
                    .behaving(behave(fleet, index, Behaviour::healthy(style)));
                members
                    .entry((*fleet).to_owned())
                    .or_default()
                    .push(spec.uuid);
                specs.push(spec);
            }
        }
        let count = specs.len();
        self.devices = Simulator::start(self.client.base(), specs).unwrap();
        eventually("every device is provisioned", PATIENCE, async || {
            self.devices.provisioned() == count
        })
        .await;
        members
    }

    /// Pushes an image as people do, with skopeo, and returns its digest.
    pub(crate) async fn push(&self, repository: &str, tag: &str, content: &str) -> String {
        let digest = self.registry.push("staging", tag, content).await;
        self.copy(&format!("staging:{tag}"), &format!("{repository}:{tag}"));
        digest
    }

    /// Copies an image inside the registry, which is a push.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let host = &self.registry.host;
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
            .args([
                format!("docker://{host}/{from}"),
                format!("docker://{host}/{to}"),
            ])
            .output()
            .expect("skopeo; scripts/test installs it");
        assert!(copied.status.success(), "{copied:?}");
    }

    /// Gives devices a target of one service, `web`, and waits until they run it.
    pub(crate) async fn install(&self, devices: &[DeviceId], image: &str) {
        let target = serde_json::from_value(json!({"apps": {"1001": {
            "appId": 1001, "appName": "demo", "services": [{
                "serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
                "config": {"image": image, "restart": "unless-stopped"},
            }],
        }}}))
        .unwrap();
        for device in devices {
            self.client
                .set_target(*device, None, &target)
                .await
                .unwrap();
        }
        eventually(
            &format!("{} devices run {image}", devices.len()),
            PATIENCE,
            async || devices.iter().all(|device| self.runs(*device, image)),
        )
        .await;
    }

    /// Whether a device runs exactly this image as `web`.
    pub(crate) fn runs(&self, device: DeviceId, image: &str) -> bool {
        let snapshot = self.devices.snapshot(device).unwrap();
        let web = snapshot.running.get("web");
        web.is_some_and(|web| web.image == image && web.status == "running")
    }

    /// Makes a staged policy for `<registry>/demo/app` and the fleet north.
    pub(crate) async fn policy(&self, batches: serde_json::Value, failure: serde_json::Value) {
        let spec = serde_json::from_value(json!({
            "name": "demo",
            "image": format!("{}/demo/app", self.registry.host),
            "strategy": "staged",
            "batches": batches,
            "batch_delay_seconds": 4,
            "health": {"stable_window_seconds": 2, "deadline_seconds": 60},
            "failure": failure,
            "filters": {"fleets": ["north"]},
        }))
        .unwrap();
        self.client.create_policy(&spec).await.unwrap();
    }

    /// The rollouts there are; none while state-api is away.
    pub(crate) async fn rollouts(&self) -> Vec<RolloutView> {
        let page = self.client.rollouts(&RolloutQuery::default()).await;
        page.map(|page| page.items).unwrap_or_default()
    }

    /// The one rollout there is, once there is one.
    pub(crate) async fn rollout(&self) -> RolloutView {
        let mut found = Vec::new();
        eventually("there is a rollout", PATIENCE, async || {
            found = self.rollouts().await;
            !found.is_empty()
        })
        .await;
        assert_eq!(found.len(), 1, "one push makes one rollout: {found:#?}");
        found.remove(0)
    }

    /// The devices of a rollout.
    pub(crate) async fn rollout_devices(&self, rollout: &RolloutView) -> Vec<RolloutDevice> {
        let page = PageQuery {
            limit: Some(200),
            after: None,
        };
        let id = rollout.rollout.id;
        let found = self.client.rollout_devices(id, None, &page).await.unwrap();
        assert_eq!(found.next, None);
        found.items
    }

    /// Every event of one origin, or of all.
    pub(crate) async fn events(&self, of: Option<CorrelationId>) -> Vec<Event> {
        let mut session = self.database.store.read().await.unwrap();
        let (mut all, mut at) = (Vec::new(), Cursor::default());
        loop {
            let found = events::after(&mut session, at, 1000).await.unwrap();
            let Some(last) = found.last() else { break };
            at = last.id;
            all.extend(found);
        }
        all.retain(|event| of.is_none() || event.correlation_id == of);
        all
    }
}
