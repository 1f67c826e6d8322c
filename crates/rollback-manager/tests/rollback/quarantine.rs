//! Digests that ship no more.

use crate::world::*;

#[tokio::test]
async fn devices_that_never_ran_a_bad_digest_are_put_back_too() {
    for world in worlds(7, &strict()).await {
        let (scheduled, running, silent) = (world.device(3), world.device(4), world.device(5));
        let v1 = image(1);
        world
            .scenario
            .report(scheduled, &Said::running(1, &v1, "c1"))
            .await;
        world
            .scenario
            .report(running, &Said::running(2, &image(2), "c2"))
            .await;
        world
            .scenario
            .report(silent, &Said::running(1, &v1, "c1"))
            .await;
        let mut tx = world.store().begin().await.unwrap();
        tx.sql("UPDATE device_rollout_status SET status = 'unreachable' WHERE device_uuid = $1")
            .bind(silent.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.status(3).await, "rolling_back");
        assert_eq!(world.scenario.target(scheduled).await, (3, v1.clone()));
        assert_eq!(world.status(5).await, "rolling_back");
        assert_eq!(world.scenario.target(silent).await, (3, v1.clone()));
        assert_eq!(world.status(6).await, "rolling_back", "it never reported");
        assert_eq!(
            world.status(4).await,
            "scheduled",
            "it runs it and is judged"
        );
        // What it ran before its new target is no proof.
        world.pass().await;
        assert_eq!(world.status(5).await, "rolling_back");
        world
            .scenario
            .report(silent, &Said::running(3, &v1, "c1"))
            .await;
        world.until(5, "rolled_back").await;
        assert_eq!(world.scenario.row(silent).await.verdict, None);
    }
}

#[tokio::test]
async fn quarantine_is_listed_and_lifted_once_and_forgives_devices() {
    for world in worlds(1, &strict()).await {
        world.scenario.fail(world.device(0)).await;
        for version in [3, 4, 5] {
            world.quarantine(version).await;
        }
        let mut tx = world.store().begin().await.unwrap();
        let repository = "registry:5000/demo/app".parse().unwrap();
        let again = quarantine::add(&mut tx, &digest(3), &repository, None, "again", json!({}))
            .await
            .unwrap();
        assert!(!again, "the first reason stays");
        let first = quarantine::list(&mut tx, None, 2).await.unwrap();
        let rest = quarantine::list(&mut tx, Some(&(&first[1]).into()), 2)
            .await
            .unwrap();
        let digests: Vec<_> = first
            .iter()
            .chain(&rest)
            .map(|q| q.digest.clone())
            .collect();
        assert_eq!(digests, [digest(3), digest(4), digest(5)]);
        assert_eq!(first[0].reason, "bad");
        quarantine::add(
            &mut tx,
            &digest(2),
            &repository,
            Some(world.scenario.rollout),
            "bad",
            json!({}),
        )
        .await
        .unwrap();
        assert!(quarantine::contains(&mut tx, &digest(2)).await.unwrap());
        let why = "a false alarm";
        assert!(
            quarantine::lift(&mut tx, &digest(2), "operator:ann", why)
                .await
                .unwrap()
        );
        assert!(
            !quarantine::lift(&mut tx, &digest(2), "operator:ann", why)
                .await
                .unwrap()
        );
        assert!(!quarantine::contains(&mut tx, &digest(2)).await.unwrap());
        let failed = rollbacks::good_images(&mut tx, &[world.device(0)])
            .await
            .unwrap()
            .failed;
        assert!(failed.is_empty(), "it may be tried on the device again");
        tx.commit().await.unwrap();
        assert_eq!(world.count(EventType::QuarantineLifted).await, 1);
    }
}

#[tokio::test]
async fn a_digest_that_only_failed_on_devices_is_forgiven_too() {
    for world in worlds(1, &strict()).await {
        world.scenario.fail(world.device(0)).await;
        let mut tx = world.store().begin().await.unwrap();
        let lift = async |tx: &mut Session| {
            quarantine::lift(tx, &digest(2), "operator:ann", "a flat battery")
                .await
                .unwrap()
        };
        assert!(lift(&mut tx).await);
        assert!(!lift(&mut tx).await, "there is nothing left to forgive");
        let good = rollbacks::good_images(&mut tx, &[world.device(0)])
            .await
            .unwrap();
        assert!(good.failed.is_empty());
        tx.commit().await.unwrap();
        assert_eq!(world.count(EventType::QuarantineLifted).await, 1);
    }
}
