//! Why: reasons as the services themselves bring them about, told over HTTP.

use crate::harness::{Answer, Api, start};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::time::Duration;
use windlass_bus::Bus;
use windlass_core::checks::Allowed;
use windlass_health_checker::{self as health, Counter};
use windlass_rollback_manager as rollback;
use windlass_rollout_planner::{self as planner, Metrics};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::{Clock, presence};
use windlass_testkit::fleet::{self, digest};
use windlass_testkit::scenario::{Said, Scenario, clock};
use windlass_testkit::{eventually, free_port, postgres_with, sqlite_with};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId};

const PATIENCE: Duration = Duration::from_secs(20);
const GROUP: i64 = 100;

/// An API, and the services' passes over its store. The clock stands until it is moved.
struct World {
    api: Api,
    clock: Clock,
    planner: Metrics,
    verdicts: Counter,
}

async fn worlds() -> Vec<World> {
    let (one, other) = (clock(), clock());
    let mut worlds = Vec::new();
    for (store, clock) in [
        (sqlite_with(one.clone()).await, one),
        (postgres_with(other.clone()).await, other),
    ] {
        let api = start(store).await;
        // Services of their own, as in separate processes.
        let deps = Deps::new(api.deps.store.clone(), Bus::local());
        worlds.push(World {
            planner: Metrics::new(&deps.metrics).unwrap(),
            verdicts: Counter::new(&deps.metrics).unwrap(),
            api,
            clock,
        });
    }
    worlds
}

impl World {
    async fn plan(&self) {
        let deps = &self.api.deps;
        planner::versions(deps, &self.planner, 3).await.unwrap();
        while planner::rollouts(deps, &self.planner).await.unwrap() == Next::Again {}
    }

    async fn pass(&self) {
        let deps = &self.api.deps;
        self.plan().await;
        health::reports(deps, &self.verdicts, GROUP).await.unwrap();
        health::due(deps, &self.verdicts, GROUP).await.unwrap();
        rollback::commands(deps, GROUP).await.unwrap();
        rollback::budgets(deps, GROUP).await.unwrap();
        rollback::put_back(deps, GROUP).await.unwrap();
        self.plan().await;
    }

    /// Devices that run v1.
    async fn devices(&self, count: u128) -> Vec<DeviceId> {
        let images = ["r.io/demo/app:v1"];
        fleet::add(&self.api.deps.store, "lab", 0..count, &images).await
    }

    async fn policy(&self, change: Value) {
        let mut policy = json!({"name": "apps", "image": "r.io/demo/*", "strategy": "auto"});
        let fields = policy.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        let made = self.api.call("POST", "/image-policies", policy).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    async fn push(&self, tag: &str, digit: char) {
        let mut tx = self.api.deps.store.begin().await.unwrap();
        fleet::push(&mut tx, &format!("r.io/demo/app:{tag}@{}", digest(digit))).await;
        self.api.deps.commit(tx).await.unwrap();
        self.plan().await;
    }

    /// A policy with these rules, and a rollout of v2 made by it.
    async fn rollout(&self, rule: Value) -> RolloutId {
        self.policy(rule).await;
        self.push("v2", 'b').await;
        let found = self.api.get("/rollouts").await;
        let id = found.body["items"][0]["id"].as_str().unwrap();
        id.parse().unwrap()
    }

    /// What is said of this, as `code: sentence`, one a line.
    async fn why(&self, path: &str) -> String {
        let answer = self.api.get(&format!("{path}/why")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let reasons = answer.body["reasons"].as_array().unwrap();
        let line = |one: &Value| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            format!("{}: {}\n", text("code"), text("sentence"))
        };
        reasons.iter().map(line).collect()
    }

    async fn says(&self, path: &str, told: &str) {
        let why = self.why(path).await;
        assert!(why.contains(told), "{told}\n{why}");
    }

    async fn never_says(&self, path: &str, told: &str) {
        let why = self.why(path).await;
        assert!(!why.contains(told), "{told}\n{why}");
    }

    /// An order over the API, with the services at work.
    async fn order(&self, path: &str) -> Answer {
        let call = self
            .api
            .call("POST", path, json!({"reason": "the shop is full"}));
        tokio::pin!(call);
        loop {
            tokio::select! {
                answer = &mut call => return answer,
                () = tokio::time::sleep(Duration::from_millis(20)) => self.pass().await,
            }
        }
    }

    fn acts(&self, rollout: RolloutId, devices: &[DeviceId]) -> Scenario {
        Scenario {
            store: self.api.deps.store.clone(),
            rollout,
            correlation: CorrelationId(uuid::Uuid::now_v7()),
            devices: devices.to_vec(),
        }
    }

    /// Every device that is on its way runs the new image and stays up through its stable window.
    async fn all_healthy(&self, rollout: RolloutId, devices: &[DeviceId]) {
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let acts = self.acts(rollout, devices);
        eventually("the devices are healthy", PATIENCE, async || {
            let mut on_their_way = 0;
            for device in devices {
                let status = acts.row(*device).await.status;
                if ["scheduled", "updating", "verifying"].contains(&status.as_str()) {
                    on_their_way += 1;
                    acts.report(*device, &Said::running(2, &image, "c2")).await;
                }
            }
            let deps = &self.api.deps;
            health::reports(deps, &self.verdicts, GROUP).await.unwrap();
            health::due(deps, &self.verdicts, GROUP).await.unwrap();
            if on_their_way > 0 {
                self.clock.advance(TimeDelta::seconds(20));
            }
            on_their_way == 0
        })
        .await;
        self.plan().await;
    }
}

#[tokio::test]
async fn windows_rates_and_limits_are_told_as_the_planner_meets_them() {
    for (rule, of_rollout, of_device) in [
        (
            json!({"maintenance_windows": [{"start": "02:00", "end": "04:00", "time_zone": "UTC"}]}),
            "window_closed: ",
            "window_closed: ",
        ),
        (
            json!({"limits": {"max_in_flight": 2}}),
            "in_flight_limit: 2 devices are on their way, and the policy allows 2 at once; 3 more wait.",
            "in_flight_limit: ",
        ),
        (
            json!({"limits": {"per_minute": {"base": 2, "after_successes": 10}}}),
            "rate_limit: ",
            "rate_limit: ",
        ),
        (json!({"strategy": "manual"}), "approval: ", "approval: "),
    ] {
        for world in worlds().await {
            let devices = world.devices(5).await;
            let id = world.rollout(rule.clone()).await;
            let path = format!("/rollouts/{id}");
            world.says(&path, of_rollout).await;
            let acts = world.acts(id, &devices);
            for device in &devices {
                if acts.row(*device).await.status == "pending" {
                    let path = format!("/devices/{device}");
                    world.says(&path, of_device).await;
                    world.says(&path, "turn: ").await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_limit_by_tag_names_who_holds_the_place_silent_ones_too() {
    for world in worlds().await {
        let devices = world.devices(3).await;
        for device in &devices {
            fleet::tag(&world.api.deps.store, *device, "site", "s1").await;
        }
        // The first is silent, the others were seen just now.
        world.clock.advance(TimeDelta::hours(1));
        let mut tx = world.api.deps.store.begin().await.unwrap();
        let now = tx.now();
        presence::seen(&mut tx, &[(devices[1], now), (devices[2], now)])
            .await
            .unwrap();
        world.api.deps.commit(tx).await.unwrap();
        let id = world
            .rollout(json!({
                "limits": {"max_unavailable": {"site": 1}},
                "filters": {"uuids": [devices[1], devices[2]]},
            }))
            .await;
        let path = format!("/rollouts/{id}");
        world
            .says(
                &path,
                "label_limit: 2 devices wait because as many of those that share their site as the policy allows are unavailable; where site is s1, 1 of 1: device-0.",
            )
            .await;
        let view = world.api.get(&path).await;
        let waits = view.body["waiting_for"].as_str().unwrap();
        assert!(waits.contains("site"), "{waits}");
        let told = "label_limit_here: 1 device is unavailable where site is s1, and the policy allows 1 at once: device-0.";
        world.says(&format!("/devices/{}", devices[1]), told).await;
        // It does not come back by itself: that is a person's to see to.
        let needs = async |path: &str, code: &str| {
            let answer = world.api.get(&format!("{path}/why")).await;
            let reasons = answer.body["reasons"].as_array().unwrap();
            let found = reasons.iter().find(|one| one["code"] == code);
            found.unwrap()["needs"].is_string()
        };
        assert!(needs(&path, "label_limit").await);
        let waiting = format!("/devices/{}", devices[1]);
        assert!(needs(&waiting, "label_limit_here").await);
        // Back, it holds nothing, and one of the others goes; now that one holds the place.
        let mut tx = world.api.deps.store.begin().await.unwrap();
        presence::seen(&mut tx, &[(devices[0], now)]).await.unwrap();
        world.api.deps.commit(tx).await.unwrap();
        world.plan().await;
        let acts = world.acts(id, &devices);
        let first = acts.row(devices[1]).await.status == "scheduled";
        let (holder, waits) = if first { (1, 2) } else { (2, 1) };
        let told = format!("the policy allows 1 at once: device-{holder}.");
        world
            .says(&format!("/devices/{}", devices[waits]), &told)
            .await;
        world
            .says(&path, &format!("1 of 1: device-{holder}."))
            .await;
        assert!(!needs(&path, "label_limit").await, "it is on its way");
        world
            .never_says(&format!("/devices/{}", devices[holder]), "label_limit")
            .await;
    }
}

#[tokio::test]
async fn a_pause_a_stop_and_a_newer_version_are_told_with_who_and_what() {
    for world in worlds().await {
        world.devices(4).await;
        let id = world.rollout(json!({"limits": {"max_in_flight": 1}})).await;
        let path = format!("/rollouts/{id}");
        let paused = world.order(&format!("{path}/pause")).await;
        assert_eq!(paused.status, 200, "{paused:?}");
        world
            .says(
                &path,
                "paused_by_person: operator:configured paused the rollout: the shop is full.",
            )
            .await;
        world.order(&format!("{path}/resume")).await;
        world.says(&path, "in_flight_limit: ").await;
        let reason = json!({"reason": "the network is down"});
        let stopped = world.api.call("POST", "/stop", reason.clone()).await;
        assert_eq!(stopped.status, 200, "{stopped:?}");
        let told = "stopped: operator:configured pressed the stop button, so that no device is admitted anywhere: the network is down.";
        world.says(&path, told).await;
        world.clock.advance(TimeDelta::seconds(1));
        let overridden = world.order(&format!("{path}/override-freeze")).await;
        assert_eq!(overridden.status, 200, "{overridden:?}");
        world.never_says(&path, "stopped: ").await;
        world.says(&path, "freeze_overridden: ").await;
        // A stop after that is a new decision, and holds.
        world.clock.advance(TimeDelta::seconds(1));
        world.api.call("POST", "/stop/lift", reason.clone()).await;
        world.api.call("POST", "/stop", reason.clone()).await;
        world.says(&path, told).await;
        let view = world.api.get(&path).await;
        assert_eq!(view.body["freezes"].as_array().unwrap().len(), 1);
        let waits = view.body["waiting_for"].as_str().unwrap();
        assert!(waits.contains("the network is down"), "{waits}");
        world.api.call("POST", "/stop/lift", reason).await;
        world.clock.advance(TimeDelta::seconds(1));
        world.push("v3", 'c').await;
        world
            .says(
                &path,
                "rollout_superseded: A newer version took the rollout's place: r.io/demo/app:v3",
            )
            .await;
    }
}

#[tokio::test]
async fn a_delay_and_a_check_of_a_batch_are_told_as_they_hold() {
    for world in worlds().await {
        let devices = world.devices(10).await;
        let port = free_port();
        let id = world
            .rollout(
                json!({"strategy": "staged", "batch_delay_seconds": 600, "health": {
                "checks": [{"type": "custom", "name": "error rate",
                            "url": format!("http://127.0.0.1:{port}/gate")}]}}),
            )
            .await;
        let path = format!("/rollouts/{id}");
        world.says(&path, "devices_on_their_way: ").await;
        world.all_healthy(id, &devices).await;
        world.says(&path, "delay: ").await;
        world.clock.advance(TimeDelta::seconds(600));
        world.plan().await;
        world.says(&path, "gate_check: ").await;
        let allowed = Allowed::new(&["127.0.0.0/8".to_owned()]).unwrap();
        health::gates(&world.api.deps, &allowed, 4).await.unwrap();
        world.plan().await;
        // Nobody listens there.
        let why = world.why(&path).await;
        assert!(
            why.contains("its check \"error rate\" must pass by"),
            "{why}"
        );
        assert!(why.contains("it was tried once and said last: "), "{why}");
        assert!(why.contains("refused"), "{why}");
    }
}

#[tokio::test]
async fn devices_that_wait_for_their_turn_to_go_back_are_told_how_many_are_before_them() {
    for world in worlds().await {
        let devices = world.devices(4).await;
        let id = world
            .rollout(json!({"failure": {"rollback_max_in_flight": 1}}))
            .await;
        let path = format!("/rollouts/{id}");
        world.all_healthy(id, &devices).await;
        world.says(&path, "rollout_completed: ").await;
        let ordered = world.order(&format!("{path}/rollback-all")).await;
        assert_eq!(ordered.status, 200, "{ordered:?}");
        world.pass().await;
        world.says(&path, "rolling_back_all: ").await;
        world
            .says(
                &path,
                "rollbacks_wait: 3 devices are to go back and wait for their turn: 1 device is on its way back, and the policy allows 1 at once.",
            )
            .await;
        // In the order of their ids within the batch.
        for (device, end) in devices.iter().skip(1).zip([
            "; it is the next.",
            "; 1 device is before it.",
            "; 2 devices are before it.",
        ]) {
            let told = format!(
                "rollback_waits: The device is to go back to what it ran before, but 1 device is on its way back, and the policy allows 1 at once{end}"
            );
            world.says(&format!("/devices/{device}"), &told).await;
        }
        let first = format!("/devices/{}", devices[0]);
        world.never_says(&first, "rollback_waits").await;
        world.says(&first, "rolling_back: ").await;
    }
}

#[tokio::test]
async fn a_time_set_aside_that_is_over_is_no_reason_any_more() {
    for world in worlds().await {
        let device = world.devices(1).await[0];
        let path = format!("/devices/{device}");
        let mut tx = world.api.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO device_penalties (device_uuid, reason, evidence, since, until) \
             VALUES ($1, 'it failed good images', $2, $3, $4)",
        )
        .bind(device.0)
        .bind(windlass_store::Json(json!({})))
        .bind(now)
        .bind(now + TimeDelta::hours(1))
        .execute()
        .await
        .unwrap();
        world.api.deps.commit(tx).await.unwrap();
        world.says(&path, "is set aside until").await;
        world.clock.advance(TimeDelta::hours(1));
        world.never_says(&path, "is set aside until").await;
        world.says(&path, "was_set_aside: ").await;
    }
}
