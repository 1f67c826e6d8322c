//! Failure budgets, and what happens beyond them.

use crate::world::*;

#[tokio::test]
async fn a_rollout_beyond_its_budget_pauses_once_and_its_digest_is_quarantined() {
    for world in worlds(10, &strict()).await {
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        world.wait(1);
        world.scenario.fail(world.device(2)).await;
        world.pass().await;
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("consecutive_failures".to_owned()))
        );
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::Quarantined).await, 1);
        let mut read = world.store().read().await.unwrap();
        let found = quarantine::get(&mut read, &digest(2))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.rollout_id, Some(world.scenario.rollout));
        assert_eq!(
            found.evidence["latest_failures"].as_array().unwrap().len(),
            3
        );
    }
}

#[tokio::test]
async fn a_resumed_rollout_is_not_paused_for_what_was_before() {
    for world in worlds(10, &strict()).await {
        for at in 3..6 {
            world
                .scenario
                .report(world.device(at), &Said::running(2, &image(2), "c2"))
                .await;
        }
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let mut tx = world.store().begin().await.unwrap();
        quarantine::lift(&mut tx, &digest(2), "operator:ann", "it was the network")
            .await
            .unwrap();
        rollouts::restart_failure_count(&mut tx, world.scenario.rollout)
            .await
            .unwrap();
        tx.sql("UPDATE image_rollouts SET status = 'in_progress', version = version + 1")
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        world.wait(1);
        for at in 3..6 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "paused");
    }
}

#[tokio::test]
async fn failures_of_a_rollout_that_no_longer_runs_quarantine_its_digest_too() {
    let by_tag = format!("digest = NULL, tag = 'v2', known_digest = '{}'", digest(2));
    let by_digest = "tag = 'v2'".to_owned();
    for (status, ships) in [
        ("paused", &by_digest),
        ("superseded", &by_digest),
        ("cancelled", &by_digest),
        ("completed", &by_digest),
        ("cancelled", &by_tag),
    ] {
        for world in worlds(3, &strict()).await {
            world.rollout(ships).await;
            for at in 0..3 {
                world.scenario.fail(world.device(at)).await;
            }
            let mut tx = world.store().begin().await.unwrap();
            let finished = (status != "paused").then(|| tx.now());
            tx.sql("UPDATE image_rollouts SET status = $1, finished_at = $2")
                .bind(status)
                .bind(finished)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
            world.pass().await;
            world.pass().await;
            let mut read = world.store().read().await.unwrap();
            assert!(
                quarantine::contains(&mut read, &digest(2)).await.unwrap(),
                "{status} {ships}"
            );
            drop(read);
            assert_eq!(world.scenario.status().await.0, status);
            assert_eq!(world.count(EventType::Quarantined).await, 1);
            assert_eq!(world.count(EventType::RolloutPaused).await, 0);
            // Lifted, it stays lifted: a person took these failures upon themselves.
            let mut tx = world.store().begin().await.unwrap();
            quarantine::lift(&mut tx, &digest(2), "operator:ann", "the network")
                .await
                .unwrap();
            tx.commit().await.unwrap();
            world.pass().await;
            let mut read = world.store().read().await.unwrap();
            assert!(!quarantine::contains(&mut read, &digest(2)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_batch_that_has_ended_stays_so_for_its_budget_when_a_device_of_it_is_tried_again() {
    let rule = RolloutRule {
        failure: FailureRule {
            max_consecutive_failures: 0,
            min_sample: 20,
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    };
    for world in worlds(3, &rule).await {
        world.scenario.fail(world.device(0)).await;
        world.set(1, "status = 'pending', retries = 1").await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress", "too few");
        // The planner admits nobody beyond a budget: were this not judged, neither would go on.
        world.rollout("next_batch_at = created_at").await;
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("failure_rate".to_owned()))
        );
    }
}

#[tokio::test]
async fn a_class_beyond_its_budget_pauses_the_rollout_where_the_digest_is_not_known() {
    let rule = RolloutRule {
        failure: FailureRule {
            quarantine_by: Some("model".to_owned()),
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    };
    for world in worlds(10, &rule).await {
        let mut tx = world.store().begin().await.unwrap();
        tx.sql("INSERT INTO device_tags (device_uuid, key, value) VALUES ($1, 'model', 'new')")
            .bind(world.device(9).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world
            .rollout("digest = NULL, tag = 'v2', known_digest = NULL")
            .await;
        for at in 0..4 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "paused");
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::Quarantined).await, 0);
    }
}

#[tokio::test]
async fn failures_of_a_rollout_that_ended_are_counted_again_once_more_is_told_of_it() {
    for world in worlds(10, &strict()).await {
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        let mut tx = world.store().begin().await.unwrap();
        let now = tx.now();
        tx.sql("UPDATE image_rollouts SET status = 'cancelled', finished_at = $1")
            .bind(now)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        // Another test's open transaction can hold the log back for a moment.
        eventually("nothing to count", Duration::from_secs(20), async || {
            world.pass().await;
            let mut read = world.store().read().await.unwrap();
            let left = rollbacks::rollouts_with_failures(&mut read).await.unwrap();
            left.is_empty()
        })
        .await;
        world.wait(1);
        world.scenario.fail(world.device(2)).await;
        world.pass().await;
        let mut read = world.store().read().await.unwrap();
        assert!(quarantine::contains(&mut read, &digest(2)).await.unwrap());
    }
}

#[tokio::test]
async fn a_verdict_that_commits_after_a_count_that_began_later_is_counted() {
    // On SQLite writers come one after the other.
    let world = postgres_world(10, &strict()).await;
    for at in 0..2 {
        world.scenario.fail(world.device(at)).await;
    }
    world
        .rollout("status = 'cancelled', finished_at = started_at")
        .await;
    let slow = world.scenario.failing(world.device(2)).await;
    world.wait(1);
    world.pass().await;
    // Somebody else's event, after which the count has seen more than the slow one's place.
    world.scenario.poll(world.device(3)).await;
    world
        .scenario
        .report(world.device(3), &Said::running(2, &image(2), "c2"))
        .await;
    world.pass().await;
    slow.commit().await.unwrap();
    world.pass().await;
    let mut read = world.store().read().await.unwrap();
    assert!(quarantine::contains(&mut read, &digest(2)).await.unwrap());
}
