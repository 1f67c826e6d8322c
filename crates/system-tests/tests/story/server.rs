//! `windlass up`, the registry that tells it of pushes, and the operator.

use crate::PATIENCE;
use crate::device::Device;
use serde_json::{Value, json};
use std::process::Command;
use windlass_client::{Client, DeliveryQuery, DeviceQuery, PageQuery, RolloutQuery};
use windlass_testkit::{Notify, Process, Registry, eventually, free_port};
use windlass_types::api::{PlanDecision, QuarantinedDigest};
use windlass_types::delivery::Decision;
use windlass_types::device::NewProvisioningKey;
use windlass_types::ids::{DeviceId, FleetId};
use windlass_types::rollout::{RolloutDevice, RolloutStatus, RolloutView};

const SECRET: &str = "a-secret-of-the-registry";
const OPERATOR: &str = "an-operator-key-for-tests";
const APP: &str = "demo/app";

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) registry: Registry,
    client: Client,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");
        let registry = Registry::start(&[Notify {
            url: format!("{url}/api/v1/webhooks/docker-registry"),
            headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
        }])
        .await;
        let data = folder.path().to_string_lossy();
        let endpoints = json!({"docker-registry": {"secret": SECRET}}).to_string();
        let process = Process::workspace(
            "windlass",
            &["up", "--data", &data],
            &[
                ("WINDLASS_HTTP_LISTEN", address.as_str()),
                ("WINDLASS_STATE_API_API_KEY", OPERATOR),
                ("WINDLASS_WEBHOOKS_ENDPOINTS", &endpoints),
                (
                    "WINDLASS_REGISTRY_HTTP_HOSTS",
                    &json!([registry.host]).to_string(),
                ),
            ],
        );
        let client = Client::new(&url, Some(OPERATOR.to_owned())).unwrap();
        eventually("windlass up is ready", PATIENCE, async || {
            client.ready().await.is_ok()
        })
        .await;
        Self {
            url,
            registry,
            client,
            _process: process,
            _folder: folder,
        }
    }

    /// A key with which the three devices join.
    pub(crate) async fn provisioning_key(&self) -> String {
        let asked = NewProvisioningKey {
            fleet_id: FleetId::try_from("edge".to_owned()).unwrap(),
            max_devices: 3,
            expires_in_days: 1,
            description: String::new(),
        };
        let made = self.client.create_provisioning_key(&asked).await.unwrap();
        made.key.unwrap()
    }

    pub(crate) async fn uuid_of(&self, name: &str) -> Option<DeviceId> {
        let page = self.client.devices(&DeviceQuery::default()).await.unwrap();
        let found = page.items.iter().find(|device| device.name == name);
        found.map(|device| device.uuid)
    }

    /// Pushes a version as people do, with skopeo; returns its image by digest.
    pub(crate) async fn push(&self, tag: &str, variables: &[(&str, &str)]) -> String {
        let staged = self.registry.push_app("staging/app", tag, variables).await;
        self.copy(tag, tag);
        staged.replace("/staging/app:", "/demo/app:")
    }

    /// Pushes what is there as `from` under a tag.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let host = &self.registry.host;
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
            .args([
                format!("docker://{host}/staging/app:{from}"),
                format!("docker://{host}/{APP}:{to}"),
            ])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
    }

    /// Gives a device a target of two services: `web`, which is updated later, and `store`, which is not.
    pub(crate) async fn install(&self, device: &Device, web: &str, store: &str) {
        let service = |id: i64, name: &str, image: &str, mut config: Value| {
            config["image"] = json!(image);
            json!({"serviceId": id, "serviceName": name, "imageName": image, "state": "running",
                   "config": config})
        };
        let target = serde_json::from_value(json!({"apps": {"1": {
            "appId": 1, "appName": "demo", "services": [
                service(1, "web", web, device.config()),
                service(2, "store", store, json!({})),
            ],
        }}}))
        .unwrap();
        self.client
            .set_target(device.uuid, None, &target)
            .await
            .unwrap();
    }

    /// Every version goes to all at once, so that a bad one meets every strategy.
    pub(crate) async fn policy(&self) {
        let spec = serde_json::from_value(json!({
            "name": "demo",
            "image": format!("{}/{APP}", self.registry.host),
            "strategy": "auto",
            "health": {"stable_window_seconds": 2, "deadline_seconds": 170},
            "filters": {"fleets": ["edge"]},
        }))
        .unwrap();
        self.client.create_policy(&spec).await.unwrap();
    }

    pub(crate) async fn rollouts(&self) -> Vec<RolloutView> {
        let page = self.client.rollouts(&RolloutQuery::default()).await;
        page.unwrap().items
    }

    /// The rollout of an image, once there is one.
    pub(crate) async fn rollout_of(&self, image: &str) -> RolloutView {
        let mut found = None;
        eventually(
            &format!("there is a rollout of {image}"),
            PATIENCE,
            async || {
                let mut all = self.rollouts().await.into_iter();
                found = all.find(|view| view.image == image);
                found.is_some()
            },
        )
        .await;
        found.unwrap()
    }

    /// Waits until a rollout stands at one of these and nobody is on the way, forth or back.
    pub(crate) async fn ends(&self, rollout: &RolloutView, at: &[RolloutStatus]) {
        eventually(
            &format!("{} is at {at:?}", rollout.image),
            PATIENCE,
            async || {
                let view = self.client.rollout(rollout.rollout.id).await.unwrap();
                let moving: i64 = view
                    .batches
                    .iter()
                    .map(|b| b.scheduled + b.updating + b.verifying + b.failed + b.rolling_back)
                    .sum();
                at.contains(&view.rollout.status) && moving == 0
            },
        )
        .await;
    }

    pub(crate) async fn devices_of(&self, rollout: &RolloutView) -> Vec<RolloutDevice> {
        let (id, page) = (rollout.rollout.id, PageQuery::default());
        let found = self.client.rollout_devices(id, None, &page).await;
        found.unwrap().items
    }

    /// The image that a device said last that it runs as `web`.
    pub(crate) async fn reported(&self, device: &Device) -> Option<String> {
        let state = self.client.current_state(device.uuid).await.unwrap();
        let report = state.report?;
        let services = report.pointer("/apps/1/services")?.as_array()?;
        let web = services.iter().find(|one| one["serviceName"] == "web")?;
        let runs = web["status"] == "running";
        web["imageName"]
            .as_str()
            .filter(|_| runs)
            .map(str::to_owned)
    }

    pub(crate) async fn quarantine(&self) -> Vec<QuarantinedDigest> {
        let page = self.client.quarantine(&PageQuery::default()).await;
        page.unwrap().items
    }

    /// The versions of targets.
    pub(crate) async fn targets(&self, devices: &[Device]) -> Vec<i64> {
        let mut versions = Vec::new();
        for device in devices {
            versions.push(self.client.target(device.uuid).await.unwrap().version);
        }
        versions
    }

    /// How many deliveries of the app became this.
    pub(crate) async fn deliveries(&self, decision: Decision) -> usize {
        let query = DeliveryQuery {
            decision: Some(decision),
            repository: Some(format!("{}/{APP}", self.registry.host)),
            ..DeliveryQuery::default()
        };
        self.client.deliveries(&query).await.unwrap().items.len()
    }

    /// What was made of the version that a tag names now.
    pub(crate) async fn decision(&self, tag: &str) -> Option<PlanDecision> {
        let page = self
            .client
            .image_versions(&PageQuery::default())
            .await
            .unwrap();
        let own = page
            .items
            .into_iter()
            .find(|version| version.repository.ends_with(APP) && version.tag == tag);
        own?.decision
    }
}
