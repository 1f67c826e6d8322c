//! Where one scenario happens: a repository, a policy and a fleet of its own in a system that others
//! use at the same time.

use crate::api::{Api, until};
use crate::tier::Tier;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use windlass_simulator::{Behaviour, DeviceSpec, Simulator, Style};
use windlass_types::ids::DeviceId;

pub(crate) struct Scene {
    pub(crate) tier: Arc<Tier>,
    pub(crate) name: &'static str,
    pub(crate) devices: Simulator,
    /// The devices, in the order in which they were asked for.
    pub(crate) uuids: Vec<DeviceId>,
    key: String,
}

/// An address that no other device of this test has.
pub(crate) fn own_address() -> Ipv4Addr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let number = GIVEN.fetch_add(1, Ordering::Relaxed);
    // Of each test's process another part, so that two at a time do not meet.
    let part = std::process::id() % 128;
    Ipv4Addr::from(0x7f00_0000 | (0x40 + part) << 16 | (0x100 + number))
}

/// What `over` says, in place of what `base` says, object by object.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

impl Scene {
    /// So many devices of a fleet of their own, every second one as existing agents are; all run v1.
    pub(crate) async fn of(
        tier: &Arc<Tier>,
        name: &'static str,
        count: usize,
        behave: impl Fn(usize, Behaviour) -> Behaviour,
    ) -> Self {
        Self::tagged(tier, name, count, behave, |_| json!({})).await
    }

    /// The same, with tags.
    pub(crate) async fn tagged(
        tier: &Arc<Tier>,
        name: &'static str,
        count: usize,
        behave: impl Fn(usize, Behaviour) -> Behaviour,
        tags: impl Fn(usize) -> Value,
    ) -> Self {
        let asked =
            json!({"fleetId": name, "maxDevices": 100, "expiresInDays": 1, "description": ""});
        let made = tier.ann.post("/provisioning-keys", &asked).await;
        let key = made["key"].as_str().unwrap().to_owned();
        let mut scene = Self {
            tier: Arc::clone(tier),
            name,
            devices: Simulator::start(&tier.url, Vec::new()).unwrap(),
            uuids: Vec::new(),
            key,
        };
        let (devices, uuids) = scene.join(0, count, behave).await;
        (scene.devices, scene.uuids) = (devices, uuids);
        for (index, uuid) in scene.uuids.iter().enumerate() {
            let given = tags(index);
            if given != json!({}) {
                scene.patch(*uuid, json!({"tags": given})).await;
            }
        }
        let first = scene.push("v1", "the first").await;
        scene.install(&scene.uuids, &first).await;
        until("every device runs v1", async || {
            (scene.running("v1") == count).then_some(())
        })
        .await;
        scene
    }

    /// Registers devices from this number on.
    pub(crate) async fn join(
        &self,
        from: usize,
        count: usize,
        behave: impl Fn(usize, Behaviour) -> Behaviour,
    ) -> (Simulator, Vec<DeviceId>) {
        let seed = self.name.bytes().fold(7, |sum: u64, byte| {
            sum.wrapping_mul(131).wrapping_add(u64::from(byte))
        });
        let specs: Vec<DeviceSpec> = (from..from + count)
            .map(|index| {
                let style = if index % 2 == 0 {
                    Style::Ours
                } else {
                    Style::Existing
                };
                let name = format!("{}-{index}", self.name);
                DeviceSpec::drawn(seed, u64::try_from(index).unwrap(), name, &self.key)
                    .behaving(behave(index, Behaviour::healthy(style)))
            })
            .collect();
        let uuids = specs.iter().map(|spec| spec.uuid).collect();
        let devices = Simulator::start(&self.tier.url, specs).unwrap();
        until("every device is registered", async || {
            (devices.provisioned() == count).then_some(())
        })
        .await;
        (devices, uuids)
    }

    pub(crate) async fn patch(&self, device: DeviceId, patch: Value) {
        let path = format!("/devices/{device}");
        let (status, answer) = self.tier.ann.send(Method::PATCH, &path, Some(&patch)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The repository, as policies name it.
    pub(crate) fn repository(&self) -> String {
        format!("{}/demo/{}", self.tier.host(), self.name)
    }

    /// Pushes an image; returns its reference.
    pub(crate) async fn push(&self, tag: &str, content: &str) -> String {
        let path = format!("demo/{}", self.name);
        let content = format!("{}: {content}", self.name);
        let digest = self.tier.registry.push(&path, tag, &content).await;
        format!("{}:{tag}@{digest}", self.repository())
    }

    /// Gives devices a target of one service, `web`.
    pub(crate) async fn install(&self, devices: &[DeviceId], image: &str) {
        let target = json!({"apps": {"1": {"appId": 1, "appName": "demo", "services": [{
            "serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
            "config": {"image": image, "restart": "unless-stopped"},
        }]}}});
        for device in devices {
            let path = format!("/devices/{device}/target-state");
            let (status, answer) = self.tier.ann.send(Method::PUT, &path, Some(&target)).await;
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// A policy for this scene alone, with short times, and with what is given here.
    pub(crate) fn spec(&self, more: Value) -> Value {
        let mut spec = json!({
            "name": self.name, "image": self.repository(), "strategy": "auto",
            "batch_delay_seconds": 0,
            "health": {"stable_window_seconds": 1, "deadline_seconds": 45,
                       "unreachable_after_seconds": 30, "crash_loop_restarts": 2},
            "failure": {"min_sample": 1},
            "filters": {"fleets": [self.name]},
        });
        merge(&mut spec, more);
        spec
    }

    pub(crate) async fn policy(&self, more: Value) -> Value {
        self.tier
            .ann
            .post("/image-policies", &self.spec(more))
            .await
    }

    /// Pushes a tag and waits for the rollout that it leads to; returns its id.
    pub(crate) async fn ship(&self, tag: &str) -> String {
        let image = self.push(tag, tag).await;
        self.rollout_of(&image).await
    }

    /// The rollout of an image, once there is one.
    pub(crate) async fn rollout_of(&self, image: &str) -> String {
        until(&format!("there is a rollout of {image}"), async || {
            let rollouts = self.tier.ann.list("/rollouts").await;
            let found = rollouts.into_iter().find(|view| view["image"] == image)?;
            found["id"].as_str().map(str::to_owned)
        })
        .await
    }

    pub(crate) async fn view(&self, rollout: &str) -> Value {
        self.tier.ann.get(&format!("/rollouts/{rollout}")).await
    }

    /// The devices of a rollout.
    pub(crate) async fn rows(&self, rollout: &str) -> Vec<Value> {
        self.tier
            .ann
            .list(&format!("/rollouts/{rollout}/devices"))
            .await
    }

    /// How many of its devices stand here.
    pub(crate) async fn count(&self, rollout: &str, status: &str) -> usize {
        let rows = self.rows(rollout).await;
        rows.iter().filter(|row| row["status"] == status).count()
    }

    /// Waits until a rollout stands here and nobody of it is on the way, forth or back. A rollout that
    /// ends otherwise is not waited for.
    pub(crate) async fn rests(&self, rollout: &str, status: &str) -> Value {
        until(
            &format!("{}: the rollout is {status}", self.name),
            async || {
                let view = self.view(rollout).await;
                let ended = view["finished_at"].is_string();
                assert!(
                    !ended || view["status"] == status || status == "rolled_back",
                    "{}: it is to be {status}: {view:#}",
                    self.name
                );
                let moving: i64 = view["batches"]
                    .as_array()?
                    .iter()
                    .flat_map(|batch| {
                        ["scheduled", "updating", "verifying", "rolling_back"]
                            .map(|name| batch[name].as_i64().unwrap_or(0))
                    })
                    .sum();
                (view["status"] == status && moving == 0).then_some(view)
            },
        )
        .await
    }

    /// Waits until a rollout waits for this, in a sentence with these words.
    pub(crate) async fn waits(&self, rollout: &str, status: &str, words: &str) -> Value {
        let what = format!(
            "{}: the rollout is {status} and waits for {words:?}",
            self.name
        );
        until(&what, async || {
            let view = self.view(rollout).await;
            let waits = view["waiting_for"].as_str().unwrap_or_default();
            (view["status"] == status && waits.contains(words)).then_some(view)
        })
        .await
    }

    /// How many devices run a tag.
    pub(crate) fn running(&self, tag: &str) -> usize {
        self.devices
            .count_running("web", &format!("/{}:{tag}@", self.name))
    }

    /// Waits until so many devices run a tag.
    pub(crate) async fn runs(&self, tag: &str, count: usize) {
        let what = format!("{}: {count} devices run {tag}", self.name);
        until(&what, async || (self.running(tag) == count).then_some(())).await;
    }

    /// The events of a rollout of one type, oldest first.
    pub(crate) async fn events(&self, rollout: &str, kind: &str) -> Vec<Value> {
        let path = format!("/rollouts/{rollout}/events");
        let mut events = self.tier.ann.list(&path).await;
        events.retain(|event| event["type"] == kind);
        events
    }

    pub(crate) fn ann(&self) -> &Api {
        &self.tier.ann
    }
}
