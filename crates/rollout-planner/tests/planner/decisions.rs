//! What becomes of pushed versions and triggers.

use crate::site::{Site, running, sites};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;
use windlass_store::triggers::{self, NewTrigger};
use windlass_store::{Session, images, quarantine, rollouts};
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::EventType;
use windlass_types::ids::{CorrelationId, RolloutId, TriggerId};
use windlass_types::policy::{Filters, OnUnresolved, RolloutRule};
use windlass_types::rollout::{DeviceStatus, RolloutStatus, StatusReason};

async fn app(site: &Site, devices: std::ops::Range<u128>) {
    fleet::add(&site.test.store, "north", devices, &["r.io/demo/app:v1"]).await;
}

#[tokio::test]
async fn what_leads_to_no_rollout_says_why() {
    for site in running().await {
        app(&site, 0..3).await;
        site.policy("apps", json!({"tag": {"type": "glob", "pattern": "v*"}}))
            .await;
        let mut tx = site.test.store.begin().await.unwrap();
        quarantine::add(
            &mut tx,
            &digest('e').parse().unwrap(),
            &"r.io/demo/app".parse().unwrap(),
            None,
            "it crashed",
            json!({}),
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let cases = [
            (
                format!("r.io/tools/app:v2@{}", digest('a')),
                "no_policy",
                "no policy takes r.io/tools/app",
            ),
            (
                format!("r.io/demo/app:beta@{}", digest('a')),
                "no_policy",
                "not the tag \"beta\"",
            ),
            (
                format!("r.io/demo/web:v2@{}", digest('a')),
                "no_devices",
                "no device's target",
            ),
            (
                format!("r.io/demo/app:v2@{}", digest('e')),
                "quarantined",
                "it crashed",
            ),
        ];
        for (image, expected, why) in &cases {
            let (decision, detail, rollout) = site.decision(site.push(image).await).await;
            assert_eq!((decision.as_str(), rollout), (*expected, None), "{image}");
            assert!(detail.contains(why), "{image}: {detail}");
        }
        assert_eq!(site.told(EventType::UpdateIgnored).await, cases.len());
    }
}

#[tokio::test]
async fn a_version_that_was_replaced_before_it_was_planned_is_left_out() {
    for mut site in sites().await {
        app(&site, 0..3).await;
        site.policy("apps", json!({})).await;
        let first = site
            .push(&format!("r.io/demo/app:v2@{}", digest('a')))
            .await;
        let second = site
            .push(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.start().await;
        assert_eq!(site.decision(first).await.0, "replaced");
        assert_eq!(site.decision(second).await.0, "rollout");
    }
}

#[tokio::test]
async fn an_unknown_digest_is_waited_for_unless_the_policy_ships_tags() {
    for site in running().await {
        app(&site, 0..2).await;
        fleet::add(&site.test.store, "north", 10..12, &["r.io/demo/web:v1"]).await;
        site.policy("careful", json!({"image": "r.io/demo/app"}))
            .await;
        site.policy(
            "bold",
            json!({"image": "r.io/demo/web", "on_unresolved": "ship_tag"}),
        )
        .await;
        let waits = site.push("r.io/demo/app:v2").await;
        let ships = site.push("r.io/demo/web:v2").await;
        let decided = async || {
            let mut read = site.test.store.read().await.unwrap();
            let (n,): (i64,) = read
                .sql("SELECT COUNT(*) FROM image_plans")
                .one()
                .await
                .unwrap();
            n
        };
        assert_eq!(
            decided().await,
            0,
            "the registry was not asked often enough yet"
        );
        site.sql("UPDATE image_versions SET resolve_attempts = 3")
            .await;
        let (decision, _, rollout) = site.decision(ships).await;
        assert_eq!(decision, "rollout");
        let shipped = site.read(rollout.unwrap()).await;
        assert_eq!((shipped.tag.as_deref(), shipped.digest), (Some("v2"), None));
        site.reaches(shipped.id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.targets("r.io/demo/web:v2").await, [(2, 1)]);
        assert_eq!(decided().await, 1, "the other one still waits");
        site.sql(&format!(
            "UPDATE image_versions SET digest = '{}', next_resolve_at = NULL WHERE tag = 'v2' \
             AND repository = 'r.io/demo/app'",
            digest('d')
        ))
        .await;
        assert_eq!(site.decision(waits).await.0, "rollout");
    }
}

#[tokio::test]
async fn a_tag_that_turns_out_to_name_a_quarantined_digest_ships_no_further() {
    for site in running().await {
        app(&site, 0..10).await;
        site.policy(
            "bold",
            json!({"on_unresolved": "ship_tag", "batch_delay_seconds": 600}),
        )
        .await;
        let pushed = site.push("r.io/demo/app:v2").await;
        site.sql("UPDATE image_versions SET resolve_attempts = 3")
            .await;
        let by_push = site.decision(pushed).await.2.unwrap();
        site.reaches(by_push, RolloutStatus::InProgress, 1).await;
        let by_hand = trigger_with(
            &site,
            "r.io/demo/app:v2",
            OnUnresolved::ShipTag,
            Filters::default(),
        )
        .await;
        site.sql("UPDATE image_triggers SET resolve_attempts = 3")
            .await;
        let (_, other) = settled(&site, by_hand).await;
        let other = other.unwrap();
        site.reaches(other, RolloutStatus::InProgress, 1).await;
        let digest = digest('d').parse().unwrap();
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        let questions = images::take_questions(&mut tx, 10, now).await.unwrap();
        assert_eq!(questions.len(), 2, "both are still asked for");
        images::learn(&mut tx, pushed, &digest).await.unwrap();
        assert!(
            images::learn_for_trigger(&mut tx, by_hand.0, &digest)
                .await
                .unwrap()
        );
        for id in [by_push, other] {
            let known = rollouts::shipped_digest(&mut tx, id).await.unwrap();
            assert_eq!(known.as_ref(), Some(&digest));
        }
        assert_eq!(images::next_question(&mut tx).await.unwrap(), None);
        let app = "r.io/demo/app".parse().unwrap();
        quarantine::add(&mut tx, &digest, &app, None, "it crashed", json!({}))
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        for id in [by_push, other] {
            let paused = site.reaches(id, RolloutStatus::Paused, 1).await;
            assert_eq!(paused.status_reason, Some(StatusReason::Quarantined));
        }
    }
}

#[tokio::test]
async fn a_bare_tag_whose_last_known_digest_is_in_quarantine_does_not_ship() {
    for site in running().await {
        app(&site, 0..2).await;
        site.policy("bold", json!({"on_unresolved": "ship_tag"}))
            .await;
        let mut tx = site.test.store.begin().await.unwrap();
        let app = "r.io/demo/app".parse().unwrap();
        let bad = digest('e').parse().unwrap();
        quarantine::add(&mut tx, &bad, &app, None, "it crashed", json!({}))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let known = site
            .push(&format!("r.io/demo/app:v2@{}", digest('e')))
            .await;
        assert_eq!(site.decision(known).await.0, "quarantined");
        site.advance(1);
        let bare = site.push("r.io/demo/app:v2").await;
        site.sql("UPDATE image_versions SET resolve_attempts = 3")
            .await;
        let (decision, detail, _) = site.decision(bare).await;
        assert_eq!(decision, "quarantined");
        assert!(detail.contains("which the tag named last"), "{detail}");
        let by_hand = trigger_with(
            &site,
            "r.io/demo/app:v2",
            OnUnresolved::ShipTag,
            Filters::default(),
        )
        .await;
        site.sql("UPDATE image_triggers SET resolve_attempts = 3")
            .await;
        assert_eq!(settled(&site, by_hand).await.0, "quarantined");
    }
}

pub(crate) async fn reasons(session: &mut Session, id: RolloutId) -> Vec<(String, String)> {
    session
        .sql(
            "SELECT d.name, COALESCE(s.reason, s.status) FROM device_rollout_status s \
             JOIN devices d ON d.uuid = s.device_uuid WHERE s.rollout_id = $1 ORDER BY d.uuid",
        )
        .bind(id.0)
        .all()
        .await
        .unwrap()
}

#[tokio::test]
async fn devices_that_must_not_or_need_not_take_it_are_skipped() {
    for site in running().await {
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        app(&site, 0..4).await;
        fleet::add(&site.test.store, "north", 4..5, &[&image]).await;
        fleet::add(&site.test.store, "north", 5..6, &["r.io/demo/app:beta"]).await;
        fleet::add(&site.test.store, "south", 6..7, &["r.io/demo/app:v1"]).await;
        site.sql("UPDATE devices SET enabled = (1 = 0) WHERE name = 'device-1'")
            .await;
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql("INSERT INTO device_failed_images (device_uuid, digest, rollout_id, failed_at) VALUES ($1, $2, $3, $4)")
            .bind(fleet::device(2).0)
            .bind(digest('b'))
            .bind(Uuid::nil())
            .bind(now)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        site.policy(
            "apps",
            json!({"strategy": "auto", "tag": {"type": "glob", "pattern": "v*"}, "filters": {"fleets": ["north"]}}),
        )
        .await;
        let id = site.rollout(&image).await;
        let started = site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(started.total_devices, 5);
        let mut read = site.test.store.read().await.unwrap();
        let found = reasons(&mut read, id).await;
        let found: Vec<_> = found
            .iter()
            .map(|(name, why)| (name.as_str(), why.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("device-0", "scheduled"),
                ("device-1", "disabled"),
                ("device-2", "failed_here_before"),
                ("device-3", "scheduled"),
                ("device-4", "already_on_image"),
            ]
        );
    }
}

#[tokio::test]
async fn the_same_digest_under_another_tag_is_not_shipped_again() {
    for site in running().await {
        let latest = format!("r.io/demo/app:latest@{}", digest('b'));
        fleet::add(&site.test.store, "north", 0..3, &[&latest]).await;
        app(&site, 3..5).await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        let found = reasons(&mut read, id).await;
        let on_it = found.iter().filter(|(_, why)| why == "already_on_image");
        assert_eq!(on_it.count(), 3, "{found:?}");
        assert_eq!(site.targets(&latest).await, [(1, 3)]);
    }
}

#[tokio::test]
async fn filters_by_tag_and_uuid_hold_together() {
    for site in running().await {
        app(&site, 0..6).await;
        for number in [1, 2, 3] {
            fleet::tag(&site.test.store, fleet::device(number), "ring", "early").await;
        }
        fleet::tag(&site.test.store, fleet::device(2), "rack", "7").await;
        fleet::tag(&site.test.store, fleet::device(3), "rack", "7").await;
        site.policy(
            "apps",
            json!({"strategy": "auto", "filters": {"tags": {"ring": "early", "rack": "7"},
                   "uuids": [fleet::device(3), fleet::device(4)]}}),
        )
        .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        assert_eq!(
            reasons(&mut read, id).await,
            [("device-3".to_owned(), "scheduled".to_owned())]
        );
    }
}

async fn trigger(site: &Site, image: &str) -> TriggerId {
    trigger_with(site, image, OnUnresolved::Wait, Filters::default()).await
}

pub(crate) async fn trigger_with(
    site: &Site,
    image: &str,
    on_unresolved: OnUnresolved,
    filters: Filters,
) -> TriggerId {
    let trigger = NewTrigger {
        filters,
        on_unresolved,
        ..by_hand(image)
    };
    place(site, &trigger).await
}

/// What Ann asks for, as a rule.
pub(crate) fn by_hand(image: &str) -> NewTrigger {
    NewTrigger {
        id: TriggerId(Uuid::now_v7()),
        correlation: CorrelationId(Uuid::now_v7()),
        image: image.parse().unwrap(),
        rule: RolloutRule {
            batch_delay_seconds: 0,
            ..RolloutRule::default()
        },
        filters: Filters::default(),
        priority: i32::MAX,
        plan: None,
        allow_unsigned: false,
        on_unresolved: OnUnresolved::Wait,
        actor: "operator:ann".to_owned(),
        reason: "a hot fix".to_owned(),
    }
}

pub(crate) async fn place(site: &Site, trigger: &NewTrigger) -> TriggerId {
    let mut tx = site.test.store.begin().await.unwrap();
    triggers::create(&mut tx, trigger).await.unwrap();
    site.deps.commit(tx).await.unwrap();
    trigger.id
}

pub(crate) async fn settled(site: &Site, id: TriggerId) -> (String, Option<RolloutId>) {
    let mut found = None;
    eventually("the trigger is settled", Duration::from_secs(20), async || {
        let mut read = site.test.store.read().await.unwrap();
        found = read
            .sql("SELECT decision, rollout_id FROM image_triggers WHERE id = $1 AND settled_at IS NOT NULL")
            .bind(id.0)
            .optional::<(String, Option<Uuid>)>()
            .await
            .unwrap();
        found.is_some()
    })
    .await;
    let (decision, rollout) = found.unwrap();
    (decision, rollout.map(RolloutId))
}

#[tokio::test]
async fn a_rollout_by_hand_is_made_and_an_older_rollout_does_not_undo_it() {
    for site in running().await {
        app(&site, 0..10).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        let old = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(old, RolloutStatus::InProgress, 1).await;
        site.judge(old, DeviceStatus::Completed, 1).await;
        site.advance(1);
        let image = format!("r.io/demo/app:v3@{}", digest('c'));
        let (decision, new) = settled(&site, trigger(&site, &image).await).await;
        assert_eq!(decision, "rollout");
        let new = new.unwrap();
        for batch in 1..=3 {
            site.reaches(new, RolloutStatus::InProgress, batch).await;
            site.judge(new, DeviceStatus::Completed, 10).await;
        }
        site.reaches(new, RolloutStatus::Completed, 3).await;
        for batch in 1..=2 {
            site.reaches(old, RolloutStatus::InProgress, batch).await;
            eventually("the delay runs", Duration::from_secs(20), async || {
                let now = site.test.store.clock().now();
                let next = site.read(old).await.next_batch_at;
                next.is_some_and(|at| at > now)
            })
            .await;
            site.advance(601);
        }
        site.reaches(old, RolloutStatus::Completed, 3).await;
        let shipped: i64 = site.targets(&image).await.iter().map(|(_, n)| n).sum();
        assert_eq!(
            shipped, 10,
            "no device went back to the older rollout's image"
        );
        let (again, none) = settled(&site, trigger(&site, &image).await).await;
        assert_eq!(
            (again.as_str(), none),
            ("no_devices", None),
            "all have it already"
        );
    }
}
