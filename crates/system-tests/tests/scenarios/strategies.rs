//! How a rollout goes to its devices.

use crate::api::until;
use crate::scene::Scene;
use crate::tier::Tier;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn auto_reaches_every_device_at_once(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "auto", 6, |_, device| device).await;
    scene.policy(json!({"strategy": "auto"})).await;
    let rollout = scene.ship("v2").await;
    let view = scene.rests(&rollout, "completed").await;
    assert_eq!(view["batch_count"], 1, "{view:#}");
    assert_eq!(scene.running("v2"), 6);
}

/// The devices of each batch, and that none was admitted before the batch before was judged.
fn one_after_the_other(rows: &[Value], sizes: &[usize]) {
    for (batch, size) in (1..).zip(sizes) {
        let of = |number: i64| rows.iter().filter(move |row| row["batch"] == number);
        assert_eq!(of(batch).count(), *size, "the size of batch {batch}");
        let begun = of(batch)
            .filter_map(|row| row["admitted_at"].as_str())
            .min();
        let before = of(batch - 1)
            .filter_map(|row| row["judged_at"].as_str())
            .max();
        assert!(
            begun >= before,
            "batch {batch} began at {begun:?}, before {before:?}"
        );
    }
}

pub(crate) async fn staged_goes_batch_by_batch(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "staged", 8, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 50}, {"percent": 100}]);
    let staged = json!({"strategy": "staged", "batches": batches});
    scene.policy(staged).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    one_after_the_other(&scene.rows(&rollout).await, &[1, 3, 4]);
    assert_eq!(scene.running("v2"), 8);
}

pub(crate) async fn canary_by_count_soaks_before_the_others_follow(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "canary-count", 6, |_, device| device).await;
    let canary = json!({"strategy": "canary", "canary": {"count": 2, "soak_seconds": 3},
                        "batches": [{"percent": 100}]});
    scene.policy(canary).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    one_after_the_other(&rows, &[2, 4]);
    for row in rows.iter().filter(|row| row["batch"] == 1) {
        let soaked = time(&row["judged_at"]) - time(&row["admitted_at"]);
        assert!(soaked >= TimeDelta::seconds(3), "{soaked}: {row:#}");
    }
    assert_eq!(scene.running("v2"), 6);
}

pub(crate) async fn canary_by_tags_begins_with_the_devices_that_carry_them(tier: Arc<Tier>) {
    let ring = |index: usize| json!({"ring": if index < 2 { "early" } else { "late" }});
    let scene = Scene::tagged(&tier, "canary-tags", 5, |_, device| device, ring).await;
    let canary = json!({"strategy": "canary", "batches": [{"percent": 100}],
                        "canary": {"tags": {"ring": "early"}, "soak_seconds": 1}});
    scene.policy(canary).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    one_after_the_other(&rows, &[2, 3]);
    for row in rows.iter().filter(|row| row["batch"] == 1) {
        let early = scene.uuids.iter().take(2);
        assert!(
            early
                .map(ToString::to_string)
                .any(|uuid| row["device_uuid"] == uuid),
            "{row:#}"
        );
    }
}

pub(crate) async fn manual_waits_for_two_different_people(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "manual", 4, |_, device| device).await;
    scene
        .policy(json!({"strategy": "manual", "approval": {"two_people_above": 3}}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.waits(&rollout, "awaiting_approval", "approval").await;
    let (ann, bob) = (&tier.ann, &tier.bob);
    assert_eq!(ann.command(&rollout, "approve", json!({})).await, "applied");
    assert_eq!(
        ann.command(&rollout, "approve", json!({})).await,
        "no_change"
    );
    scene.waits(&rollout, "awaiting_approval", "approval").await;
    assert_eq!(scene.running("v2"), 0);
    assert_eq!(bob.command(&rollout, "approve", json!({})).await, "applied");
    scene.rests(&rollout, "completed").await;
    let approved = scene.events(&rollout, "image.rollout_approved").await;
    let actors: Vec<&str> = approved
        .iter()
        .filter_map(|event| event["actor"].as_str())
        .collect();
    assert_eq!(actors, ["operator:configured", "operator:bob"]);
}

pub(crate) async fn each_batch_waits_for_its_own_approval(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "approve-each", 4, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 100}]);
    scene
        .policy(
            json!({"strategy": "staged", "batches": batches, "approval": {"before": "each_batch"}}),
        )
        .await;
    let rollout = scene.ship("v2").await;
    scene.waits(&rollout, "awaiting_approval", "approval").await;
    let approve = |batch: i64| {
        scene
            .ann()
            .command(&rollout, "approve", json!({"batch": batch}))
    };
    assert_eq!(approve(1).await, "applied");
    scene.runs("v2", 1).await;
    scene.waits(&rollout, "in_progress", "approval").await;
    assert_eq!(scene.running("v2"), 1);
    assert_eq!(approve(2).await, "applied");
    scene.rests(&rollout, "completed").await;
}

const AB: &str = "ab";

async fn held(tier: &Arc<Tier>, name: &'static str) -> (Scene, String) {
    let scene = Scene::of(tier, name, 6, |_, device| device).await;
    let ab =
        json!({"strategy": AB, "ab": {"percent": 50, "hold_seconds": 1, "decide": "approval"}});
    scene.policy(ab).await;
    let rollout = scene.ship("v2").await;
    scene.runs("v2", 3).await;
    scene.waits(&rollout, "in_progress", "promote").await;
    assert_eq!((scene.running("v1"), scene.running("v2")), (3, 3));
    (scene, rollout)
}

pub(crate) async fn of_two_versions_held_the_new_one_is_promoted(tier: Arc<Tier>) {
    let (scene, rollout) = held(&tier, "ab-promoted").await;
    let outcome = scene
        .ann()
        .command(&rollout, "approve", json!({"batch": 2}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 6);
}

pub(crate) async fn of_two_versions_held_the_old_one_is_kept(tier: Arc<Tier>) {
    let (scene, rollout) = held(&tier, "ab-rejected").await;
    let outcome = scene.ann().command(&rollout, "rollback-all", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "rolled_back").await;
    assert_eq!(scene.running("v1"), 6);
}

pub(crate) async fn each_region_has_its_share_of_each_batch(tier: Arc<Tier>) {
    let region = |index: usize| json!({"region": if index < 4 { "north" } else { "south" }});
    let scene = Scene::tagged(&tier, "batch-by", 8, |_, device| device, region).await;
    let batches = json!([{"percent": 25}, {"percent": 100}]);
    scene
        .policy(json!({"strategy": "staged", "batches": batches, "batch_by": "region"}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    one_after_the_other(&rows, &[2, 6]);
    let first: Vec<bool> = rows
        .iter()
        .filter(|row| row["batch"] == 1)
        .map(|row| {
            let mut north = scene.uuids.iter().take(4).map(ToString::to_string);
            north.any(|uuid| row["device_uuid"] == uuid)
        })
        .collect();
    assert!(first.contains(&true) && first.contains(&false), "{rows:#?}");
}

pub(crate) async fn blue_green_is_written_into_the_target(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "blue-green", 2, |_, device| device).await;
    scene.policy(json!({"update_method": "blue_green"})).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    for uuid in &scene.uuids {
        let target = scene
            .ann()
            .get(&format!("/devices/{uuid}/target-state"))
            .await;
        let service = &target["apps"]["1"]["services"][0];
        assert_eq!(
            service["config"]["updateStrategy"], "blue-green",
            "{target:#}"
        );
    }
}

pub(crate) async fn the_next_batch_is_started_by_hand(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "next-batch", 4, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 100}]);
    scene
        .policy(json!({"strategy": "staged", "batches": batches, "batch_delay_seconds": 3600}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.waits(&rollout, "in_progress", "delay").await;
    let outcome = scene
        .ann()
        .command(&rollout, "trigger-next-batch", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "completed").await;
}

pub(crate) async fn a_device_that_joins_late_is_in_the_last_batch(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "late", 4, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 100}]);
    scene
        .policy(json!({"strategy": "staged", "batches": batches, "batch_delay_seconds": 3600}))
        .await;
    let old = scene.push("v1", "the first").await;
    let rollout = scene.ship("v2").await;
    scene.waits(&rollout, "in_progress", "delay").await;
    let (late, uuids) = scene.join(4, 1, |_, device| device).await;
    scene.install(&uuids, &old).await;
    until("the late device has joined", async || {
        let rows = scene.rows(&rollout).await;
        let uuid = uuids[0].to_string();
        let row = rows.iter().find(|row| row["device_uuid"] == uuid)?;
        assert_eq!(
            (&row["batch"], &row["status"]),
            (&json!(2), &json!("pending"))
        );
        Some(())
    })
    .await;
    let joined = scene.events(&rollout, "device.joined_rollout").await;
    assert_eq!(joined.len(), 1, "{joined:#?}");
    let outcome = scene
        .ann()
        .command(&rollout, "trigger-next-batch", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2") + late.count_running("web", ":v2@"), 5);
}

pub(crate) fn time(value: &Value) -> chrono::DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

pub(crate) async fn scheduled_waits_for_its_time_and_its_window(tier: Arc<Tier>) {
    // Two devices are where it is day for the window, two where it is not.
    let scene = Scene::of(&tier, "scheduled", 4, |_, device| device).await;
    let now = Utc::now();
    let clock = |hours: i64| (now + TimeDelta::hours(hours)).format("%H:%M").to_string();
    for uuid in scene.uuids.iter().take(2) {
        scene.patch(*uuid, json!({"time_zone": "Etc/GMT+6"})).await;
    }
    let starts_at = now + TimeDelta::seconds(12);
    let window = json!({"start": clock(-2), "end": clock(2)});
    scene
        .policy(json!({"strategy": "scheduled", "batches": [{"percent": 100}], "starts_at": starts_at, "maintenance_windows": [window]}))
        .await;
    let rollout = scene.ship("v2").await;
    if Utc::now() + TimeDelta::seconds(2) < starts_at {
        scene.waits(&rollout, "scheduled", "start").await;
    }
    scene.runs("v2", 2).await;
    scene
        .waits(&rollout, "in_progress", "maintenance window")
        .await;
    let rows = scene.rows(&rollout).await;
    let admitted = rows.iter().filter(|row| row["admitted_at"].is_string());
    for row in admitted.clone() {
        assert!(time(&row["admitted_at"]) >= starts_at, "{row:#}");
    }
    assert_eq!(admitted.count(), 2, "{rows:#?}");
    // They move to where the window is open.
    for uuid in scene.uuids.iter().take(2) {
        scene.patch(*uuid, json!({"time_zone": "Etc/UTC"})).await;
    }
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 4);
}

pub(crate) async fn of_two_rollouts_of_an_image_the_one_by_hand_has_the_device(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "conflict", 3, |_, device| device).await;
    scene
        .policy(json!({"strategy": "manual", "batches": [{"percent": 100}]}))
        .await;
    let by_policy = scene.ship("v2").await;
    scene
        .waits(&by_policy, "awaiting_approval", "approval")
        .await;
    // Of a tag that the policy's rollout is not superseded by.
    let chosen = scene.uuids[0];
    let hotfix = scene.push("v2", "v2").await;
    let asked = json!({"image": hotfix, "filters": {"uuids": [chosen]}, "reason": "a try",
                       "rule": {"strategy": "manual", "batches": [{"percent": 100}],
                                "health": {"stable_window_seconds": 1}}});
    let trigger = scene.ann().post("/images/trigger-update", &asked).await;
    let by_hand = until("the trigger has its rollout", async || {
        let id = trigger["id"].as_str()?;
        let now = scene.ann().get(&format!("/images/triggers/{id}")).await;
        now["rollout"]["id"].as_str().map(str::to_owned)
    })
    .await;
    let outcome = scene.ann().command(&by_policy, "approve", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&by_policy, "completed").await;
    let rows = scene.rows(&by_policy).await;
    let row = rows
        .iter()
        .find(|row| row["device_uuid"] == chosen.to_string());
    let row = row.unwrap();
    assert_eq!(
        (&row["status"], &row["reason"]),
        (&json!("skipped"), &json!("higher_priority"))
    );
    assert_eq!(scene.running("v2"), 2);
    let outcome = scene.ann().command(&by_hand, "approve", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&by_hand, "completed").await;
    assert_eq!(scene.running("v2"), 3);
}
