//! Devices that a rollout must not touch: of a class in quarantine, with a target of a person, or with
//! one that cannot be read.

use crate::decisions::reasons;
use crate::meanwhile::{moved, name, waiting};
use crate::site::{PATIENCE, Site, running};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_core::target;
use windlass_store::quarantine::{self, Class};
use windlass_store::targets;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{CommandKind, CommandOutcome, DeviceStatus, RolloutStatus};
use windlass_types::target::TargetSource;

/// The digest is in quarantine for devices without the tag.
async fn ban_untagged(site: &Site, digit: char) {
    let mut tx = site.test.store.begin().await.unwrap();
    let app = "r.io/demo/app".parse().unwrap();
    let class = Class {
        key: "model".to_owned(),
        value: String::new(),
    };
    let digest = digest(digit).parse().unwrap();
    let by = RolloutId(Uuid::nil());
    quarantine::add_for_class(&mut tx, &digest, &class, &app, by, "crashed", json!({}))
        .await
        .unwrap();
    site.deps.commit(tx).await.unwrap();
}

/// Why each device is where it is, by name.
async fn why(site: &Site, id: RolloutId) -> BTreeMap<String, String> {
    let mut read = site.test.store.read().await.unwrap();
    reasons(&mut read, id).await.into_iter().collect()
}

/// A person sets the target that a device has already.
async fn set_by_hand(site: &Site, device: DeviceId, images: &[&str]) {
    let state = fleet::state(images);
    let id = target::state_id(&state);
    let mut tx = site.test.store.begin().await.unwrap();
    targets::ensure_states(&mut tx, &BTreeMap::from([(id, state)]))
        .await
        .unwrap();
    targets::set(&mut tx, device, id, TargetSource::Operator, None, None)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
}

/// The first batch is healthy and the delay of ten minutes over.
async fn second_batch(site: &Site, id: RolloutId) {
    site.judge(id, DeviceStatus::Completed, 1).await;
    eventually("the delay runs", PATIENCE, async || {
        site.read(id).await.next_batch_at.is_some()
    })
    .await;
    site.advance(600);
    site.reaches(id, RolloutStatus::InProgress, 2).await;
}

#[tokio::test]
async fn a_rollout_skips_devices_without_the_tag_whose_class_is_in_quarantine() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        fleet::tag(&site.test.store, fleet::device(0), "model", "pi").await;
        ban_untagged(&site, 'b').await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        eventually("the one with the tag is admitted", PATIENCE, async || {
            !site.targets(&image).await.is_empty()
        })
        .await;
        let found = why(&site, id).await;
        let found: Vec<_> = found.values().map(String::as_str).collect();
        assert_eq!(found, ["scheduled", "quarantined", "quarantined"]);
    }
}

#[tokio::test]
async fn a_class_without_the_tag_that_comes_into_quarantine_is_admitted_no_more() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..5, &["r.io/demo/app:v1"]).await;
        let batches = json!({"batches": [{"count": 1}, {"percent": 100}],
                             "batch_delay_seconds": 600});
        site.policy("apps", batches).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let waiting = waiting(&site, id).await;
        fleet::tag(&site.test.store, waiting[0], "model", "pi").await;
        ban_untagged(&site, 'b').await;
        second_batch(&site, id).await;
        let found = why(&site, id).await;
        for (at, device) in waiting.iter().enumerate() {
            let expected = if at == 0 { "scheduled" } else { "quarantined" };
            let name = name(&site, *device).await;
            assert_eq!(found[&name], expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_persons_target_is_left_alone_though_another_rollout_moved_it_since() {
    for site in running().await {
        let old = ["r.io/demo/app:v1", "r.io/other:v1"];
        fleet::add(&site.test.store, "north", 0..4, &old).await;
        let batches = json!({"batches": [{"count": 1}, {"percent": 100}],
                             "batch_delay_seconds": 600});
        site.policy("apps", batches).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let waiting = waiting(&site, id).await;
        // At the very time of the row, as a slower clock may have it.
        set_by_hand(&site, waiting[0], &["r.io/demo/app:mine", "r.io/other:v1"]).await;
        set_by_hand(&site, waiting[1], &["r.io/demo/app:mine", "r.io/other:v1"]).await;
        site.advance(1);
        moved(&site, waiting[1], "rollout", Some(Uuid::now_v7())).await;
        second_batch(&site, id).await;
        let found = why(&site, id).await;
        for (device, expected) in [
            (waiting[0], "target_changed"),
            (waiting[1], "target_changed"),
            (waiting[2], "scheduled"),
        ] {
            let name = name(&site, device).await;
            assert_eq!(found[&name], expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_retry_does_not_undo_the_target_that_a_person_set_after_the_failure() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        let failure = json!({"max_failure_rate": 1.0, "max_consecutive_failures": 0});
        site.policy("apps", json!({"strategy": "auto", "failure": failure}))
            .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.judge(id, DeviceStatus::Failed, 1).await, 1);
        set_by_hand(&site, fleet::device(0), &["r.io/demo/app:mine"]).await;
        site.advance(1);
        let done = site.ordered(id, CommandKind::Retry).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        eventually("its turn has come", PATIENCE, async || {
            why(&site, id).await["device-0"] == "target_changed"
        })
        .await;
        assert_eq!(site.targets("r.io/demo/app:mine").await, [(3, 1)]);
    }
}

#[tokio::test]
async fn nobody_joins_whose_target_a_person_set_since_the_rollout_was_made() {
    for site in running().await {
        let old = ["r.io/demo/app:v1", "r.io/other:v1"];
        fleet::add(&site.test.store, "north", 0..4, &old).await;
        let south = fleet::add(&site.test.store, "south", 10..12, &old).await;
        site.policy("apps", json!({"filters": {"fleets": ["north"]}}))
            .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.advance(1);
        set_by_hand(&site, south[0], &["r.io/demo/app:v0", "r.io/other:v1"]).await;
        for device in &south {
            moved(&site, *device, "rollout", Some(Uuid::now_v7())).await;
        }
        site.sql("UPDATE devices SET fleet_id = 'north'").await;
        let mut tx = site.test.store.begin().await.unwrap();
        let told = south
            .iter()
            .map(|device| NewEvent::new(EventType::DeviceChanged, "test").device(*device))
            .collect();
        windlass_store::events::append_all(&mut tx, told)
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        eventually("the other one joined", PATIENCE, async || {
            why(&site, id).await.contains_key("device-11")
        })
        .await;
        assert!(!why(&site, id).await.contains_key("device-10"));
    }
}

#[tokio::test]
async fn a_new_device_joins_with_its_first_target_and_not_with_one_that_a_person_changed() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..4, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.advance(1);
        let new = fleet::add(&site.test.store, "north", 10..12, &[]).await;
        site.advance(1);
        for device in &new {
            set_by_hand(&site, *device, &["r.io/demo/app:v1"]).await;
        }
        // Whether the planner has seen the device before that must make no difference.
        site.advance(1);
        set_by_hand(&site, new[1], &["r.io/demo/app:v0"]).await;
        let mut tx = site.test.store.begin().await.unwrap();
        let told = new.iter().rev();
        let told = told
            .map(|device| NewEvent::new(EventType::TargetSet, "operator:ann").device(*device))
            .collect();
        windlass_store::events::append_all(&mut tx, told)
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        eventually("the first one joined", PATIENCE, async || {
            site.read(id).await.total_devices == 5
        })
        .await;
        let mut read = site.test.store.read().await.unwrap();
        let joined: Vec<(Uuid,)> = read
            .sql("SELECT device_uuid FROM events WHERE type = 'device.joined_rollout'")
            .all()
            .await
            .unwrap();
        assert_eq!(joined, [(new[0].0,)]);
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_read_does_not_hold_the_rollout_up() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        let broken = ["r.io/demo/app:v1", "r.io/broken:v1"];
        fleet::add(&site.test.store, "north", 3..4, &broken).await;
        site.sql(
            "UPDATE target_states SET body = '{\"apps\": 7}' WHERE id IN \
             (SELECT state_id FROM target_services WHERE repository = 'r.io/broken')",
        )
        .await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        eventually(
            "those that can be read are on their way",
            PATIENCE,
            async || site.judge(id, DeviceStatus::Completed, 3).await == 3,
        )
        .await;
        site.reaches(id, RolloutStatus::Completed, 1).await;
        assert_eq!(why(&site, id).await["device-3"], "unreadable");
        let mut read = site.test.store.read().await.unwrap();
        let told: BTreeSet<(Uuid, String)> = read
            .sql("SELECT device_uuid, data ->> 'reason' FROM events WHERE type = 'device.skipped'")
            .all::<(Uuid, String)>()
            .await
            .unwrap()
            .into_iter()
            .collect();
        let expected = (fleet::device(3).0, "unreadable".to_owned());
        assert_eq!(told, BTreeSet::from([expected]));
    }
}
