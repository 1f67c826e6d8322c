//! Devices that wait to be tried again with the image in their target, and are let go.

use crate::world::*;
use windlass_store::rollouts::SliceOf;
use windlass_types::event::NewEvent;
use windlass_types::rollout::SkipReason;

/// What lets go of devices that wait for their turn.
const WAYS: [&str; 3] = ["the rollout ends", "out of scope", "switched off"];

fn rule(auto_rollback: bool) -> RolloutRule {
    let mut rule = lax();
    rule.failure.auto_rollback = auto_rollback;
    rule
}

impl World {
    /// The first device had no room for the image; the turn of the second has not come.
    async fn waiting(&self) {
        let off = "status = 'pending', check_at = NULL";
        self.set(
            0,
            &format!("{off}, reason = 'disk_error', retries = 1, retry_at = updated_at"),
        )
        .await;
        self.set(1, &format!("{off}, target_version = NULL")).await;
    }

    async fn let_go(&self, way: &str) {
        if way == "out of scope" {
            self.rollout(r#"filters = '{"fleets": ["elsewhere"]}'"#)
                .await;
        }
        let mut tx = self.store().begin().await.unwrap();
        let rollout = rollouts::lock(&mut tx, self.scenario.rollout)
            .await
            .unwrap()
            .unwrap();
        if way == "the rollout ends" {
            let why = SkipReason::RolloutEnded;
            let skipped = rollouts::skip_pending(&mut tx, &rollout, why, "test").await;
            assert_eq!(skipped.unwrap(), [(1, 1)].into());
        } else if way == "out of scope" {
            let (_, left, failed) = rollouts::follow(&mut tx, &rollout, None, "test")
                .await
                .unwrap();
            assert_eq!((left.len(), failed), (1, 1));
        } else {
            tx.sql("UPDATE devices SET enabled = (1 = 0)")
                .execute()
                .await
                .unwrap();
            let of = SliceOf {
                batch: 1,
                at_most: 10,
                time_zones: None,
            };
            let told = NewEvent::new(EventType::DeviceSkipped, "test").data(json!({}));
            let taken = rollouts::take_slice(&mut tx, &rollout, &of, &told).await;
            assert_eq!(taken.unwrap().skipped, 2);
        }
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_device_that_is_tried_no_more_has_failed_and_goes_back() {
    for way in WAYS {
        for world in worlds(2, &rule(true)).await {
            world.waiting().await;
            world.let_go(way).await;
            let row = world.scenario.row(world.device(0)).await;
            assert_eq!(
                (row.status.as_str(), row.reason.as_deref()),
                ("failed", Some("disk_error")),
                "{way}"
            );
            assert_eq!(row.verdict.as_deref(), Some("environment"), "{way}");
            assert_eq!(world.status(1).await, "skipped", "{way}");
            assert_eq!(world.count(EventType::UpdateFailed).await, 1, "{way}");
            world.pass().await;
            let (device, good) = (world.device(0), image(1));
            assert_eq!(world.status(0).await, "rolling_back", "{way}");
            assert_eq!(world.scenario.target(device).await, (3, good), "{way}");
        }
    }
}

#[tokio::test]
async fn it_stays_where_failed_devices_stay_unless_its_digest_is_in_quarantine() {
    for quarantined in [false, true] {
        for world in worlds(2, &rule(false)).await {
            world.waiting().await;
            if quarantined {
                world.quarantine(2).await;
            }
            world.let_go("the rollout ends").await;
            world.pass().await;
            let expected = if quarantined {
                "rolling_back"
            } else {
                "failed"
            };
            assert_eq!(world.status(0).await, expected);
        }
    }
}

#[tokio::test]
async fn a_device_that_was_put_back_before_a_person_had_it_tried_again_is_only_skipped() {
    for world in worlds(2, &rule(true)).await {
        world.waiting().await;
        world.set(0, "rollback_version = 3").await;
        let mut tx = world.store().begin().await.unwrap();
        let id = world.scenario.rollout;
        let rollout = rollouts::lock(&mut tx, id).await.unwrap().unwrap();
        rollouts::skip_pending(&mut tx, &rollout, SkipReason::RolloutEnded, "test")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.status(0).await, "skipped");
    }
}
