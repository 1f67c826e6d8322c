//! Slices: limits in flight, limits by tag, and rollouts that race for the same sites.

use crate::site::{PATIENCE, Site, running, sites};
use serde_json::json;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

/// Devices on their way in any rollout, by site.
async fn away(site: &Site) -> Vec<(String, i64)> {
    let mut read = site.test.store.read().await.unwrap();
    read.sql(
        "SELECT g.value, COUNT(DISTINCT g.device_uuid) FROM device_tags g \
         JOIN device_rollout_status s ON s.device_uuid = g.device_uuid \
         WHERE g.key = 'site' AND s.status IN ('scheduled', 'updating', 'verifying') \
         GROUP BY g.value ORDER BY g.value",
    )
    .all()
    .await
    .unwrap()
}

/// Six sites with two devices each, that run two images.
async fn pairs(site: &Site) {
    let images = ["r.io/demo/app:v1", "r.io/demo/web:v1"];
    let devices = fleet::add(&site.test.store, "north", 0..12, &images).await;
    for (at, device) in devices.iter().enumerate() {
        fleet::tag(&site.test.store, *device, "site", &format!("s{}", at / 2)).await;
    }
}

#[tokio::test]
async fn only_so_many_are_on_their_way_at_once() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        let rule = json!({"strategy": "auto", "limits": {"max_in_flight": 3}});
        site.policy("apps", rule).await;
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        for sum in [3, 6, 9, 10] {
            eventually("the next slice", PATIENCE, async || {
                site.targets(&image).await == [(2, sum)]
            })
            .await;
            assert!(site.judge(id, DeviceStatus::Completed, 3).await <= 3);
        }
        site.reaches(id, RolloutStatus::Completed, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        let slices: Vec<(i64, i64)> = read
            .sql(
                "SELECT slice, devices FROM rollout_admissions WHERE rollout_id = $1 \
                 ORDER BY slice",
            )
            .bind(id.0)
            .all()
            .await
            .unwrap();
        assert_eq!(slices, [(1, 3), (2, 3), (3, 3), (4, 1)]);
    }
}

#[tokio::test]
async fn never_both_of_a_pair_also_with_two_images_and_three_planners() {
    for mut site in sites().await {
        pairs(&site).await;
        for image in ["app", "web"] {
            let rule = json!({
                "image": format!("r.io/demo/{image}"), "strategy": "auto",
                "limits": {"max_unavailable": {"site": 1}},
            });
            site.policy(image, rule).await;
        }
        let app = site
            .push(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        let web = site
            .push(&format!("r.io/demo/web:v2@{}", digest('c')))
            .await;
        for _ in 0..3 {
            site.start().await;
        }
        let ids = [
            site.decision(app).await.2.unwrap(),
            site.decision(web).await.2.unwrap(),
        ];
        let within = async || {
            let away = away(&site).await;
            assert!(away.iter().all(|(_, devices)| *devices <= 1), "{away:?}");
            away.len()
        };
        eventually("both rollouts to be through", PATIENCE, async || {
            within().await;
            for id in ids {
                site.judge(id, DeviceStatus::Completed, 1).await;
                within().await;
            }
            let mut done = true;
            for id in ids {
                done &= site.read(id).await.status == RolloutStatus::Completed;
            }
            done
        })
        .await;
    }
}

#[tokio::test]
async fn a_silent_device_takes_the_room_of_its_site() {
    for site in running().await {
        pairs(&site).await;
        let silent = fleet::device(0);
        site.advance(3600);
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        let seen: Vec<_> = (1..12).map(|n| (fleet::device(n), now)).collect();
        windlass_store::presence::seen(&mut tx, &seen)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let rule = json!({"image": "r.io/demo/app", "strategy": "auto",
            "limits": {"max_unavailable": {"site": 1}}});
        site.policy("apps", rule).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        eventually("one of each site", PATIENCE, async || {
            away(&site).await.len() == 6
        })
        .await;
        // The silent one counts already, so it is the one that may go; its neighbour waits.
        let mut read = site.test.store.read().await.unwrap();
        let (status,): (String,) = read
            .sql(
                "SELECT status FROM device_rollout_status \
                 WHERE rollout_id = $1 AND device_uuid = $2",
            )
            .bind(id.0)
            .bind(silent.0)
            .one::<(String,)>()
            .await
            .unwrap();
        assert_eq!(status, "scheduled");
    }
}

#[tokio::test]
async fn of_a_pair_that_is_silent_nobody_goes_until_a_person_switches_one_off() {
    for site in running().await {
        let store = &site.test.store;
        let pair = fleet::add(store, "north", 0..2, &["r.io/demo/app:v1"]).await;
        for device in &pair {
            fleet::tag(store, *device, "site", "s0").await;
        }
        // Another site, so that it is known when the planner has looked.
        let other = fleet::add(store, "north", 2..3, &["r.io/demo/app:v1"]).await;
        site.advance(3600);
        let mut tx = store.begin().await.unwrap();
        let now = tx.now();
        windlass_store::presence::seen(&mut tx, &[(other[0], now)])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let rule = json!({"strategy": "auto", "limits": {"max_unavailable": {"site": 1}}});
        site.policy("apps", rule).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        let stand = async |device: usize| -> String {
            let device = pair.iter().chain(&other).nth(device).unwrap();
            let mut read = store.read().await.unwrap();
            let (status,): (String,) = read
                .sql(
                    "SELECT status FROM device_rollout_status \
                     WHERE rollout_id = $1 AND device_uuid = $2",
                )
                .bind(id.0)
                .bind(device.0)
                .one()
                .await
                .unwrap();
            status
        };
        eventually("the other site", PATIENCE, async || {
            stand(2).await == "scheduled"
        })
        .await;
        assert_eq!(
            (stand(0).await, stand(1).await),
            ("pending".into(), "pending".into())
        );
        let mut tx = store.begin().await.unwrap();
        tx.sql("UPDATE devices SET enabled = $1 WHERE uuid = $2")
            .bind(false)
            .bind(pair[0].0)
            .execute()
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        eventually("nobody waits for it any more", PATIENCE, async || {
            stand(0).await == "skipped" && stand(1).await == "scheduled"
        })
        .await;
    }
}
