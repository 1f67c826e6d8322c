//! One device on its way back.

use crate::world::*;

#[tokio::test]
async fn a_failed_device_goes_back_and_is_back_when_its_report_shows_it() {
    for world in worlds(2, &lax()).await {
        let (bad, fine) = (world.device(0), world.device(1));
        let (v1, v2) = (image(1), image(2));
        world
            .scenario
            .report(bad, &Said::running(2, &v2, "c2"))
            .await;
        world.scenario.fail(bad).await;
        world.pass().await;
        let row = world.scenario.row(bad).await;
        assert_eq!(row.status, "rolling_back");
        assert_eq!(row.reason.as_deref(), Some("crash_loop"));
        assert_eq!(row.rollback_image.as_deref(), Some(v1.as_str()));
        assert_eq!(row.rollback_version, Some(3));
        assert_eq!(world.scenario.target(bad).await, (3, v1.clone()));
        assert_eq!(world.scenario.target(fine).await, (2, v2.clone()));
        // The version is received; the bad image still runs.
        world.wait(1);
        world
            .scenario
            .report(bad, &Said::running(3, &v2, "c2"))
            .await;
        world.pass().await;
        assert_eq!(world.status(0).await, "rolling_back");
        world.wait(1);
        world
            .scenario
            .report(bad, &Said::running(3, &v1, "c3"))
            .await;
        world.until(0, "rolled_back").await;
        world.pass().await;
        let row = world.scenario.row(bad).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rolled_back", Some("crash_loop"))
        );
        assert_eq!(world.count(EventType::RollbackScheduled).await, 1);
        assert_eq!(world.count(EventType::DeviceRolledBack).await, 1);
    }
}

#[tokio::test]
async fn each_device_goes_back_to_its_own_last_good_image() {
    for world in worlds(4, &lax()).await {
        world.last_good(1, &image(7)).await;
        world.forget_last_good(2).await;
        world.last_good(3, &image(8)).await;
        world.quarantine(8).await;
        for at in 0..4 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let expected = [
            (image(1), "what it proved healthy on"),
            (image(7), "another device's own"),
            (image(1), "what it had before, where nothing was proved"),
            (image(1), "never a quarantined digest"),
        ];
        for (at, (image, why)) in expected.into_iter().enumerate() {
            assert_eq!(
                world.scenario.target(world.device(at)).await,
                (3, image),
                "{why}"
            );
        }
    }
}

#[tokio::test]
async fn a_device_taken_back_from_its_last_good_image_goes_to_the_good_one_before() {
    for world in worlds(1, &lax()).await {
        let device = world.device(0);
        world.forget_last_good(0).await;
        // It proved 3, was then given 9, which nobody judged, and proved 2 in this rollout.
        world.before(0, &image(9)).await;
        for proved in [3, 2] {
            world.wait(1);
            world.proves(0, &image(proved)).await;
        }
        world
            .scenario
            .report(device, &Said::running(2, &image(2), "c2"))
            .await;
        let order = world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.outcome(order).await, CommandOutcome::Applied);
        assert_eq!(world.scenario.target(device).await, (3, image(3)));
        world
            .scenario
            .report(device, &Said::running(3, &image(3), "c3"))
            .await;
        world.until(0, "rolled_back").await;
        assert_eq!(world.scenario.last_good(device).await, Some(image(3)));
    }
}

#[tokio::test]
async fn no_more_good_images_are_kept_than_are_of_use() {
    for world in worlds(1, &lax()).await {
        for proved in [2, 3, 4, 5, 6, 7, 7, 8] {
            world.wait(1);
            world.proves(0, &image(proved)).await;
        }
        let mut read = world.store().read().await.unwrap();
        let kept: Vec<(String,)> = read
            .sql("SELECT image FROM device_last_good ORDER BY proved_at DESC")
            .all()
            .await
            .unwrap();
        let kept: Vec<String> = kept.into_iter().map(|(image,)| image).collect();
        assert_eq!(kept, [8, 7, 6, 5, 4].map(image));
    }
}

#[tokio::test]
async fn a_tag_that_was_moved_is_not_where_a_device_goes_back_to() {
    for known in [true, false] {
        for world in worlds(1, &lax()).await {
            let bare = "registry:5000/demo/app:v2";
            let device = world.device(0);
            world.forget_last_good(0).await;
            world.before(0, bare).await;
            if known {
                world.tag_versions("v2", &[4, 5, 2]).await;
            }
            world.scenario.fail(device).await;
            world.pass().await;
            let row = world.scenario.row(device).await;
            let (version, image) = world.scenario.target(device).await;
            if known {
                assert_eq!((version, image), (3, format!("{bare}@{}", digest(5))));
            } else {
                assert_eq!(row.reason.as_deref(), Some("no_good_image"));
                assert_eq!(row.status, "rollback_failed");
            }
        }
    }
}

#[tokio::test]
async fn a_device_goes_back_to_what_it_really_ran_last() {
    for world in worlds(2, &lax()).await {
        for at in 0..2 {
            let device = world.device(at);
            // Set by hand long after v1 was proved.
            world.before(at, &image(9)).await;
            let (before, now) = (image(9), image(2));
            world
                .scenario
                .report(device, &Said::running(1, &before, "c1"))
                .await;
            world
                .scenario
                .report(device, &Said::running(2, &now, "c2"))
                .await;
        }
        // The second had it from a rollout that was overtaken before it was judged.
        world.overtaken(1, 9).await;
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let target = async |at| world.scenario.target(world.device(at)).await;
        assert_eq!(target(0).await, (3, image(9)));
        assert_eq!(target(1).await, (3, image(1)));
    }
}

#[tokio::test]
async fn a_device_with_nothing_good_to_go_back_to_says_so_and_keeps_its_target() {
    for world in worlds(1, &lax()).await {
        world.quarantine(1).await;
        world.scenario.fail(world.device(0)).await;
        world.pass().await;
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("no_good_image"))
        );
        assert_eq!(world.scenario.target(world.device(0)).await.0, 2);
        assert_eq!(world.count(EventType::DeviceRollbackFailed).await, 1);
    }
}

#[tokio::test]
async fn a_target_that_a_person_set_is_left_alone() {
    for world in worlds(3, &lax()).await {
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        // Another image, the very same image, and another rollout's change of something else.
        let device = |at| world.device(at);
        world
            .scenario
            .set_target(device(0), &image(9), TargetSource::Operator)
            .await;
        world
            .scenario
            .set_target(device(1), &image(2), TargetSource::Operator)
            .await;
        world
            .scenario
            .set_target(device(2), &image(2), TargetSource::Rollout)
            .await;
        world.pass().await;
        for at in 0..2 {
            let row = world.scenario.row(device(at)).await;
            assert_eq!(
                (row.status.as_str(), row.reason.as_deref()),
                ("failed", Some("target_changed"))
            );
            assert_eq!(row.check_at, None, "it is not looked at again");
        }
        assert_eq!(world.scenario.target(device(0)).await, (3, image(9)));
        assert_eq!(world.scenario.target(device(1)).await, (3, image(2)));
        assert_eq!(world.scenario.target(device(2)).await, (4, image(1)));
    }
}

#[tokio::test]
async fn a_device_given_another_target_on_its_way_back_is_let_go() {
    for world in worlds(1, &lax()).await {
        world.scenario.fail(world.device(0)).await;
        world.pass().await;
        world
            .scenario
            .set_target(world.device(0), &image(9), TargetSource::Operator)
            .await;
        world.wait(3600);
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("skipped", Some("target_changed"))
        );
        assert_eq!(world.scenario.target(world.device(0)).await, (4, image(9)));
    }
}

#[tokio::test]
async fn a_rollback_times_out_only_while_the_device_is_there() {
    for world in worlds(2, &lax()).await {
        let (there, silent) = (world.device(0), world.device(1));
        let v2 = image(2);
        for device in [there, silent] {
            world
                .scenario
                .report(device, &Said::running(2, &v2, "c2"))
                .await;
            world.scenario.fail(device).await;
        }
        world.pass().await;
        // Ten minutes is the default; polls every minute.
        for _ in 0..11 {
            world.wait(60);
            world.scenario.poll(there).await;
            world.pass().await;
        }
        let row = world.scenario.row(there).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("rollback_timeout"))
        );
        let row = world.scenario.row(silent).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rolling_back", Some("unreachable"))
        );
        // Back after a day, it has its time again.
        world.wait(86_400);
        world.pass().await;
        world
            .scenario
            .report(silent, &Said::running(3, &v2, "c2"))
            .await;
        world.pass().await;
        assert_eq!(world.status(1).await, "rolling_back");
        world.wait(30);
        world
            .scenario
            .report(silent, &Said::running(3, &image(1), "c3"))
            .await;
        world.until(1, "rolled_back").await;
    }
}

#[tokio::test]
async fn one_device_is_put_back_on_an_order() {
    for world in worlds(3, &lax()).await {
        let device = |at| Some(world.device(at));
        world
            .scenario
            .set_target(world.device(1), &image(9), TargetSource::Operator)
            .await;
        let applied = world.order(CommandKind::RollbackDevice, device(0)).await;
        let changed = world.order(CommandKind::RollbackDevice, device(1)).await;
        let unknown = Some(DeviceId(Uuid::new_v4()));
        let unknown = world.order(CommandKind::RollbackDevice, unknown).await;
        world.pass().await;
        let twice = world.order(CommandKind::RollbackDevice, device(0)).await;
        world.pass().await;
        assert_eq!(world.outcome(applied).await, CommandOutcome::Applied);
        assert_eq!(world.outcome(changed).await, CommandOutcome::Refused);
        assert_eq!(world.outcome(unknown).await, CommandOutcome::Refused);
        assert_eq!(world.outcome(twice).await, CommandOutcome::NoChange);
        assert_eq!(world.scenario.target(world.device(0)).await, (3, image(1)));
        assert_eq!(world.scenario.target(world.device(2)).await, (2, image(2)));
    }
}

#[tokio::test]
async fn a_device_of_which_a_service_stays_on_the_bad_image_is_not_called_back() {
    for world in worlds(1, &lax()).await {
        let device = world.device(0);
        let (v1, v2, v9) = (image(1), image(2), image(9));
        // Its second service had an image that is in quarantine by now.
        let before = fleet::state(&[&v1, &v9]);
        let present = fleet::state(&[&v2, &v2]);
        let (old, new) = (state_id(&before), state_id(&present));
        let mut tx = world.store().begin().await.unwrap();
        targets::ensure_states(&mut tx, &[(old, before), (new, present)].into())
            .await
            .unwrap();
        for (sql, state) in [
            ("UPDATE device_targets SET state_id = $1", new),
            ("UPDATE device_rollout_status SET old_state_id = $1", old),
        ] {
            tx.sql(sql).bind(state.0).execute().await.unwrap();
        }
        tx.commit().await.unwrap();
        world.quarantine(9).await;
        world.scenario.fail(device).await;
        world.pass().await;
        assert_eq!(world.status(0).await, "rolling_back");
        world.wait(1);
        let said = Said::running(3, &v1, "c3");
        world.scenario.report(device, &said).await;
        world.until(0, "rollback_failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(row.reason.as_deref(), Some("no_good_image"));
        assert_eq!(world.count(EventType::DeviceRollbackFailed).await, 1);
        assert_eq!(world.count(EventType::DeviceRolledBack).await, 0);
    }
}
