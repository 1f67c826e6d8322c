//! What the demo happens on: the system, the registry, the devices; and the pushes.

use super::story::Story;
use crate::cli::Demo;
use crate::exit::Failure;
use crate::lookup;
use crate::times::short_image;
use crate::up::System;
use serde_json::json;
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass_client::{Client, PageQuery, RolloutQuery};
use windlass_service::config::{Config, EndpointSection};
use windlass_simulator::{
    Behaviour, DeviceSpec, Failure as Fault, Notify, Pace, Registry, Simulator, Style,
};
use windlass_types::api::{ImageVersion, NewTarget};
use windlass_types::device::NewProvisioningKey;
use windlass_types::image::Digest;
use windlass_types::policy::PolicySpec;
use windlass_types::rollout::{RolloutStatus, RolloutView};

/// The image that is rolled out, and one beside it that nothing may touch.
pub(super) const WEB: &str = "demo/web";
pub(super) const BESIDE: &str = "demo/cache";
const FLEETS: [&str; 2] = ["harbour", "airfield"];
/// What a step may take before the demo is given up: much more than it needs, so that a busy machine
/// is no failure; and so much more for each device.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_PER_DEVICE: Duration = Duration::from_millis(100);
/// How often is looked.
const TICK: Duration = Duration::from_millis(150);

pub(super) struct Stage {
    pub(super) devices: usize,
    pub(super) simulator: Simulator,
    pub(super) v2: Digest,
    pub(super) v3: Digest,
    client: Client,
    registry: Registry,
    url: String,
    key: String,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), Failure>>,
    // Removed with all in it when the demo ends.
    _folder: tempfile::TempDir,
}

fn contents(version: &str) -> String {
    format!("the demo's web server, {version}")
}

fn digest(version: &str) -> Result<Digest, Failure> {
    Registry::digest_of(&contents(version))
        .ok_or_else(|| Failure::failed("the registry makes no digests"))
}

fn anything(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

impl Stage {
    pub(super) async fn set_up(given: &Demo, story: &mut Story<'_>) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(anything)?;
        let registry =
            Registry::start(TcpListener::bind("127.0.0.1:0")?, None).map_err(anything)?;
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let mut config = Config::default();
        config.store.url = format!("sqlite:{}", folder.path().join("windlass.db").display());
        "127.0.0.1:0".clone_into(&mut config.http.listen);
        config.http.shutdown_timeout_seconds = 1;
        // Devices are seen to the second, because health is judged by the second here.
        config.state_api.presence_seconds = 1;
        config.state_api.provisioning_per_minute = given.devices.saturating_mul(4).max(600);
        config.registry.http_hosts = vec![registry.host()];
        let endpoint = EndpointSection {
            secret: Some(secret.clone()),
            ..EndpointSection::default()
        };
        config
            .webhooks
            .endpoints
            .insert("docker-registry".to_owned(), endpoint);
        let shutdown = CancellationToken::new();
        let system = System::open(&config, shutdown.clone()).await?;
        let url = system.url();
        let key = system.first_key().await?.unwrap_or_default();
        let server = tokio::spawn(system.run());
        registry.notify(Notify {
            url: format!("{url}/api/v1/webhooks/docker-registry"),
            authorization: Some(format!("Bearer {secret}")),
        });
        story.say(&format!(
            "windlass is up at {url}, its database in a temporary folder"
        ))?;
        let client = Client::new(&url, Some(key.clone()))?;
        let v3 = digest("v3")?;
        let specs = cast(given, &client, &v3).await?;
        let devices = specs.len();
        let simulator = Simulator::start(&url, specs).map_err(anything)?;
        Ok(Self {
            devices,
            simulator,
            v2: digest("v2")?,
            v3,
            client,
            registry,
            url,
            key,
            shutdown,
            server,
            _folder: folder,
        })
    }

    /// The devices come in by themselves.
    pub(super) async fn everyone_registered(&self, story: &mut Story<'_>) -> Result<(), Failure> {
        self.until("every device is registered", async || {
            Ok(self.simulator.provisioned() == self.devices)
        })
        .await?;
        let [one, other] = FLEETS;
        story.say(&format!(
            "{} simulated devices registered over HTTP, in the fleets {one} and {other}",
            self.devices
        ))
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// An image as devices name it.
    pub(super) fn image(&self, repository: &str, tag: &str, digest: &Digest) -> String {
        format!("{}/{repository}:{tag}@{digest}", self.registry.host())
    }

    /// Waits until something is so.
    async fn until(
        &self,
        what: &str,
        mut so: impl AsyncFnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let devices = u32::try_from(self.devices).unwrap_or(u32::MAX);
        let patience = PATIENCE + PATIENCE_PER_DEVICE.saturating_mul(devices);
        while !so().await? {
            if self.server.is_finished() {
                return Err(Failure::failed("the server ended"));
            }
            if began.elapsed() > patience {
                return Err(Failure::failed(format!("not within {patience:?}: {what}")));
            }
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Pushes v1 and gives it to every device by hand.
    pub(super) async fn everyone_on_v1(&self, story: &mut Story<'_>) -> Result<(), Failure> {
        let v1 = self.push("v1", "v1").await?;
        let beside = self
            .registry
            .push(BESIDE, "7", "the demo's cache")
            .await
            .map_err(anything)?;
        let service = |id: i64, name: &str, image: String| {
            json!({"serviceId": id, "serviceName": name, "imageName": image, "state": "running",
                   "config": {"image": image, "restart": "unless-stopped"}})
        };
        let target = json!({"apps": {"1": {"appId": 1, "appName": "demo", "services": [
            service(1, "web", self.image(WEB, "v1", &v1)),
            service(2, "cache", self.image(BESIDE, "7", &beside)),
        ]}}, "config": {}});
        let target: NewTarget = serde_json::from_value(target).map_err(anything)?;
        for uuid in self.simulator.uuids() {
            self.client.set_target(uuid, None, &target).await?;
        }
        self.until("every device runs v1", async || {
            story.tell(None)?;
            Ok(
                self.simulator.count_running("web", v1.as_str()) == self.devices
                    && self.simulator.count_running("cache", beside.as_str()) == self.devices,
            )
        })
        .await?;
        story.say(&format!("every device runs {WEB}:v1, set by hand"))?;
        self.client
            .create_policy(&policy(&self.registry.host(), self.devices)?)
            .await?;
        story.say("policy: staged 10/50/100 %, pause above 5 % failed, failed devices go back")
    }

    async fn push(&self, tag: &str, version: &str) -> Result<Digest, Failure> {
        self.registry
            .push(WEB, tag, &contents(version))
            .await
            .map_err(anything)
    }

    /// Pushes a good version and follows it to the last device.
    pub(super) async fn ship_v2(&self, story: &mut Story<'_>) -> Result<RolloutView, Failure> {
        let view = self.ship("v2", story).await?;
        self.follow(&view, story, |view| view.rollout.status.is_final())
            .await
    }

    /// Pushes a bad version and follows it until it has paused and nobody is on the way any more.
    pub(super) async fn ship_v3(&self, story: &mut Story<'_>) -> Result<RolloutView, Failure> {
        let view = self.ship("v3", story).await?;
        self.follow(&view, story, |view| {
            let moving: i64 = view
                .batches
                .iter()
                .map(|batch| batch.in_flight() + batch.failed + batch.rolling_back)
                .sum();
            view.rollout.status.is_final()
                || (view.rollout.status == RolloutStatus::Paused && moving == 0)
        })
        .await
    }

    async fn ship(&self, tag: &str, story: &mut Story<'_>) -> Result<RolloutView, Failure> {
        story.end();
        let digest = self.push(tag, tag).await?;
        story.say(&format!(
            "pushed {}; the registry tells the webhook",
            short_image(&self.image(WEB, tag, &digest))
        ))?;
        let mut found = None;
        self.until("the push leads to a rollout", async || {
            let rollouts = self.rollouts().await?;
            found = rollouts
                .into_iter()
                .find(|view| view.rollout.digest.as_ref() == Some(&digest));
            Ok(found.is_some())
        })
        .await?;
        found.ok_or_else(|| Failure::failed("the push led to no rollout"))
    }

    async fn follow(
        &self,
        view: &RolloutView,
        story: &mut Story<'_>,
        done: impl Fn(&RolloutView) -> bool,
    ) -> Result<RolloutView, Failure> {
        let id = view.rollout.id;
        let mut last = view.clone();
        story.tell(Some(&last))?;
        self.until("the rollout has come to rest", async || {
            last = self.client.rollout(id).await?;
            story.tell(Some(&last))?;
            Ok(done(&last))
        })
        .await?;
        // Events of the last moment.
        sleep(TICK * 2).await;
        story.tell(Some(&last))?;
        Ok(last)
    }

    /// Pushes the bad contents again, under the old tag and under a new one.
    pub(super) async fn push_v3_again(&self, story: &mut Story<'_>) -> Result<(), Failure> {
        story.end();
        self.push("v3", "v3").await?;
        story.say(&format!("pushed {WEB}:v3 again: known already"))?;
        self.push("v3.1", "v3").await?;
        story.say(&format!("pushed the same contents as {WEB}:v3.1"))?;
        self.until("the planner has decided on v3.1", async || {
            let versions = self.versions().await?;
            Ok(versions
                .iter()
                .any(|version| version.tag == "v3.1" && version.decision.is_some()))
        })
        .await?;
        sleep(TICK * 2).await;
        story.tell(None)
    }

    pub(super) async fn rollouts(&self) -> Result<Vec<RolloutView>, Failure> {
        lookup::rollouts(&self.client, &RolloutQuery::default(), usize::MAX).await
    }

    pub(super) async fn versions(&self) -> Result<Vec<ImageVersion>, Failure> {
        lookup::all(usize::MAX, |page: PageQuery| async move {
            self.client.image_versions(&page).await
        })
        .await
    }

    pub(super) async fn tear_down(self) {
        self.simulator.shutdown().await;
        self.registry.shutdown().await;
        self.shutdown.cancel();
        if let Ok(Err(failure)) = self.server.await {
            failure.tell();
        }
    }
}

/// The devices: half of them as existing agents are, half as ours; some slow, some that replay old
/// reports; the bad image is bad on every third, in three ways.
async fn cast(given: &Demo, client: &Client, bad: &Digest) -> Result<Vec<DeviceSpec>, Failure> {
    let mut keys = Vec::new();
    for fleet in FLEETS {
        let wanted = NewProvisioningKey {
            fleet_id: fleet.parse().map_err(anything)?,
            max_devices: i64::from(given.devices),
            expires_in_days: 1,
            description: "the demo".to_owned(),
        };
        let made = client.create_provisioning_key(&wanted).await?;
        keys.push((fleet, made.key.unwrap_or_default()));
    }
    let faults = [
        Fault::CrashLoop,
        Fault::ReportsError,
        Fault::RemovesContainer,
    ];
    let mut specs = Vec::new();
    for ((index, (fleet, key)), fault) in (0..given.devices)
        .zip(keys.iter().cycle())
        .zip(faults.iter().cycle())
    {
        let style = if (index / 2) % 2 == 0 {
            Style::Ours
        } else {
            Style::Existing
        };
        let mut behaviour = Behaviour::healthy(style);
        if index % 10 == 4 {
            behaviour = behaviour.paced(Pace::default().slower(2));
        }
        if index % 8 == 3 {
            behaviour = behaviour.replaying();
        }
        if index / 3 % 3 == 1 {
            // A pull that fails and is told of would be taken for the registry's fault, not the image's.
            let fault = match (style, fault) {
                (Style::Ours, Fault::RemovesContainer) => Fault::ReportsError,
                (_, fault) => *fault,
            };
            behaviour = behaviour.bad_on(bad.as_str(), fault);
        }
        let name = format!("{fleet}-{:02}", index / 2 + 1);
        specs.push(DeviceSpec::drawn(given.seed, u64::from(index), name, key).behaving(behaviour));
    }
    Ok(specs)
}

/// The delays and windows of a day, in seconds. The limit is low, so that the bad third shows in the
/// first batches whichever devices these are drawn to hold.
fn policy(host: &str, devices: usize) -> Result<PolicySpec, Failure> {
    // A batch of many devices keeps a small machine busy for longer than a device needs.
    let deadline = 8 + devices / 50;
    serde_json::from_value(json!({
        "name": "demo", "image": format!("{host}/{WEB}"), "strategy": "staged",
        "batches": [{"percent": 10}, {"percent": 50}, {"percent": 100}],
        "batch_delay_seconds": 1,
        "health": {"stable_window_seconds": 2, "deadline_seconds": deadline,
                   "unreachable_after_seconds": 20, "crash_loop_restarts": 3},
        "failure": {"max_failure_rate": 0.05, "min_sample": 5, "max_consecutive_failures": 3,
                    "auto_rollback": true, "rollback_timeout_seconds": 20},
    }))
    .map_err(anything)
}
