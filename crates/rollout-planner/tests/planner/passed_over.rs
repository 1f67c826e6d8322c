//! A push that watch mode's policy comes too late for.

use crate::site::{PATIENCE, running};
use chrono::TimeDelta;
use serde_json::json;
use windlass_store::plans;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::rollout::RolloutStatus;

#[tokio::test]
async fn a_version_that_is_planned_anew_for_one_policy_ships_to_nobody_of_another() {
    for site in running().await {
        let store = &site.test.store;
        let app = |tag: &str, digit: char| format!("r.io/demo/app:{tag}@{}", digest(digit));
        fleet::add(store, "north", 0..2, &["r.io/demo/app:stable"]).await;
        let local = fleet::add(store, "local", 9..10, &[&app("stable", 'a')]).await[0];
        let stable = site.push(&app("stable", 'b')).await;
        assert_eq!(site.decision(stable).await.0, "no_policy");
        // A person's policy comes, and another tag ships by it.
        let of_a_person = json!({"tag": {"type": "glob", "pattern": "*"}, "filters": {"fleets": ["north"]},
            "strategy": "auto"});
        site.policy("north", of_a_person).await;
        let edge = site.rollout(&app("edge", 'c')).await;
        site.reaches(edge, RolloutStatus::InProgress, 1).await;
        // Then watch mode's own, of the lowest priority, which wants the version that was passed over.
        site.advance(1);
        let own = json!({"image": "r.io/demo/app", "tag": {"type": "fixed", "tag": "stable"},
            "filters": {"fleets": ["local"]}, "priority": i32::MIN, "strategy": "auto"});
        let own = site.policy("local/r.io/demo/app:stable", own).await;
        let mut tx = store.begin().await.unwrap();
        let repository = "r.io/demo/app".parse().unwrap();
        let name = "local/r.io/demo/app:stable";
        let passed = plans::passed_over(&mut tx, &repository, name, local)
            .await
            .unwrap();
        assert_eq!(passed.len(), 1, "{passed:?}");
        assert!(plans::reopen(&mut tx, &passed[0]).await.unwrap());
        site.deps.commit(tx).await.unwrap();
        let (decision, detail, rollout) = site.decision(stable).await;
        assert_eq!(decision, "rollout", "{detail}");
        let rollout = site.read(rollout.unwrap()).await;
        assert_eq!((rollout.policy_id, rollout.total_devices), (Some(own), 1));
        site.reaches(rollout.id, RolloutStatus::InProgress, 1).await;
        for (image, devices) in [(app("stable", 'b'), 1), (app("edge", 'c'), 2)] {
            eventually("its devices have it", PATIENCE, async || {
                site.targets(&image).await == [(2, devices)]
            })
            .await;
        }
        let edge = site.read(edge).await;
        assert_eq!(edge.status, RolloutStatus::InProgress, "{edge:?}");
    }
}

#[tokio::test]
async fn a_version_that_is_planned_anew_for_one_policy_keeps_back_nothing_of_another() {
    for site in running().await {
        let store = &site.test.store;
        let app = |tag: &str, digit: char| format!("r.io/demo/app:{tag}@{}", digest(digit));
        fleet::add(store, "north", 0..2, &["r.io/demo/app:1.0.0"]).await;
        let local = fleet::add(store, "local", 9..10, &["r.io/demo/app:1.0.0"]).await[0];
        let higher = site.push(&app("1.3.0", 'b')).await;
        assert_eq!(site.decision(higher).await.0, "no_policy");
        site.advance(1);
        let rule = json!({"type": "semver", "range": "*"});
        // It waits, so that the version stays open.
        let own = json!({"tag": rule, "filters": {"fleets": ["local"]}, "priority": i32::MIN,
            "strategy": "auto", "min_age_seconds": 3600});
        site.policy("own", own).await;
        let mut tx = store.begin().await.unwrap();
        let repository = "r.io/demo/app".parse().unwrap();
        let passed = plans::passed_over(&mut tx, &repository, "own", local)
            .await
            .unwrap();
        assert!(plans::reopen(&mut tx, &passed[0]).await.unwrap());
        site.deps.commit(tx).await.unwrap();
        eventually("its policy waits", PATIENCE, async || {
            let mut read = store.read().await.unwrap();
            let (waits,): (i64,) = read
                .sql("SELECT COUNT(*) FROM image_waits")
                .one()
                .await
                .unwrap();
            waits == 1
        })
        .await;
        let of_a_person =
            json!({"tag": rule, "filters": {"fleets": ["north"]}, "strategy": "auto"});
        site.policy("north", of_a_person).await;
        // What is lower than it and pushed now ships to those that it is not for.
        site.push(&app("1.2.0", 'c')).await;
        eventually("it ships to the north", PATIENCE, async || {
            site.targets(&app("1.2.0", 'c')).await == [(2, 2)]
        })
        .await;
        site.advance(TimeDelta::hours(1).num_seconds());
        assert_eq!(site.decision(higher).await.0, "rollout");
        assert_eq!(site.targets(&app("1.2.0", 'c')).await, [(2, 2)]);
    }
}
