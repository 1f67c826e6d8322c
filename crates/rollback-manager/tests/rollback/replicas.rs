//! Crashes, broken rows, and several at once.

use crate::world::*;

#[tokio::test]
async fn a_rollout_that_cannot_be_read_stops_no_other() {
    for world in worlds(1, &lax()).await {
        // Older than the scenario's, so that it comes first.
        let broken = Uuid::nil();
        let mut tx = world.store().begin().await.unwrap();
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at) SELECT $1, 'NO REPOSITORY', tag, digest, strategy, rule, \
             filters, tag_rule, seed, status, 1, 1, 1, correlation_id, 'test', created_at \
             FROM image_rollouts",
        )
        .bind(broken)
        .execute()
        .await
        .unwrap();
        tx.sql(
            "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, verdict, \
             target_version, admitted_at, check_at, judged_at, updated_at) \
             SELECT $1, device_uuid, 1, 'failed', 'failed', 2, admitted_at, admitted_at, \
             admitted_at, admitted_at FROM device_rollout_status",
        )
        .bind(broken)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        world.scenario.fail(world.device(0)).await;
        assert!(manager::budgets(&world.deps, GROUP).await.is_err());
        assert!(manager::put_back(&world.deps, GROUP).await.is_err());
        assert_eq!(world.status(0).await, "rolling_back");
    }
}

#[tokio::test]
async fn whoever_admits_devices_and_whoever_puts_them_back_never_wait_for_each_other() {
    let world = worlds(2, &lax()).await.pop().unwrap();
    for at in 0..2 {
        world.scenario.fail(world.device(at)).await;
    }
    // As an admission does it: the targets first, then the rows.
    let mut tx = world.store().begin().await.unwrap();
    tx.sql("UPDATE device_targets SET updated_at = updated_at")
        .execute()
        .await
        .unwrap();
    let admission = async {
        eventually("the other to wait", Duration::from_secs(10), async || {
            let mut read = world.store().read().await.unwrap();
            let (waiting,): (i64,) = read
                .sql(
                    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()",
                )
                .one()
                .await
                .unwrap();
            waiting > 0
        })
        .await;
        tx.sql("UPDATE device_rollout_status SET updated_at = updated_at")
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let (put_back, ()) = tokio::join!(manager::put_back(&world.deps, GROUP), admission);
    put_back.unwrap();
    for at in 0..2 {
        assert_eq!(world.status(at).await, "rolling_back");
    }
}

#[tokio::test]
async fn a_crash_between_the_steps_leaves_nothing_half_done() {
    for world in worlds(1, &lax()).await {
        let device = world.device(0);
        world.scenario.fail(device).await;
        // What put_back does, up to the commit that never comes.
        let mut tx = world.store().begin().await.unwrap();
        let rollout = world.scenario.rollout;
        rollouts::lock(&mut tx, rollout).await.unwrap();
        let rows = rollbacks::candidates(
            &mut tx,
            rollout,
            rollbacks::Scope::Failed,
            rollbacks::Presence::There,
            10,
        )
        .await
        .unwrap()
        .rows;
        let put = rollbacks::PutBack {
            device,
            version: rows[0].version,
            state: rows[0].old_state.unwrap(),
            image: image(1),
            evidence: json!({}),
            check_at: tx.now(),
            deadline_at: tx.now(),
        };
        let done = rollbacks::put_back(&mut tx, rollout, &[put]).await.unwrap();
        assert_eq!(done.get(&device), Some(&3));
        drop(tx);
        assert_eq!(world.scenario.target(device).await, (2, image(2)));
        assert_eq!(world.status(0).await, "failed");
        world.pass().await;
        assert_eq!(world.scenario.target(device).await, (3, image(1)));
        assert_eq!(world.status(0).await, "rolling_back");
    }
}

#[tokio::test]
async fn two_replicas_do_everything_once() {
    for world in worlds(12, &strict()).await {
        for at in 0..6 {
            world.scenario.fail(world.device(at)).await;
        }
        // Both at once, in small groups; what another got in the way of is tried again, as loops do.
        let replica = || async {
            for _ in 0..30 {
                manager::budgets(&world.deps, 2).await.ok();
                manager::put_back(&world.deps, 2).await.ok();
                manager::reports(&world.deps, 2).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        for at in 0..12 {
            let (version, image_now) = world.scenario.target(world.device(at)).await;
            assert_eq!((version, image_now), (3, image(1)), "{at}");
            assert_eq!(world.status(at).await, "rolling_back");
        }
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::Quarantined).await, 1);
        assert_eq!(world.count(EventType::RollbackScheduled).await, 12);
    }
}

#[tokio::test]
async fn the_service_pauses_and_puts_back_by_itself() {
    for kept in windlass_testkit::stores().await {
        let scenario = Scenario::begin(&kept.store, 4, &strict()).await;
        let mut config = windlass_service::config::Config::default();
        config.rollback.scan_ms = 100;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        let part = manager::part(&config, &deps).await.unwrap();
        let listener = windlass_service::listen("127.0.0.1:0").unwrap();
        let (http, shutdown) = (config.http.clone(), deps.shutdown.clone());
        for device in &scenario.devices {
            scenario
                .report(*device, &Said::running(2, &image(2), "c"))
                .await;
        }
        for device in &scenario.devices {
            scenario.fail(*device).await;
        }
        let devices = async {
            eventually("all to be back", Duration::from_secs(30), async || {
                let mut done = 0;
                for device in &scenario.devices {
                    let (version, image) = scenario.target(*device).await;
                    scenario
                        .report(*device, &Said::running(version, &image, "d"))
                        .await;
                    done += usize::from(scenario.row(*device).await.status == "rolled_back");
                }
                done == 4
            })
            .await;
            shutdown.cancel();
        };
        let (served, ()) = tokio::join!(
            windlass_service::serve(vec![part], &deps, &http, listener),
            devices
        );
        served.unwrap();
        assert_eq!(scenario.status().await.0, "paused");
        assert_eq!(scenario.events().await[&EventType::DeviceRolledBack], 4);
    }
}
