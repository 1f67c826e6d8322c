//! Transactions that fail half-way, and commands that come in between.

use crate::site::{Site, sites};
use serde_json::json;
use std::time::Duration;
use windlass_store::Kind;
use windlass_store::commands::{self, NewCommand};
use windlass_store::freezes::{self, NewFreeze};
use windlass_store::{admissions, quarantine, rollouts};
use windlass_testkit::fleet::{self, digest};
use windlass_testkit::{TestStore, eventually};
use windlass_types::event::EventType;
use windlass_types::freeze::FreezeKind;
use windlass_types::ids::{CommandId, FreezeId};
use windlass_types::rollout::{CommandKind, DeviceStatus, RolloutStatus};

/// Makes the database refuse every event of a kind, which is the last thing a step writes.
async fn refuse(site: &Site, kind: EventType) {
    match site.test.store.kind() {
        Kind::Postgres => {
            site.sql(&format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ BEGIN \
                 IF NEW.type = '{kind}' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$ \
                 LANGUAGE plpgsql"
            ))
            .await;
            site.sql("CREATE TRIGGER refused BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()").await;
        }
        Kind::Sqlite => {
            site.sql(&format!(
                "CREATE TRIGGER refused BEFORE INSERT ON events WHEN NEW.type = '{kind}' \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ))
            .await;
        }
    }
}

async fn allow(site: &Site) {
    site.sql(match site.test.store.kind() {
        Kind::Postgres => "DROP TRIGGER refused ON events",
        Kind::Sqlite => "DROP TRIGGER refused",
    })
    .await;
}

async fn rows(test: &TestStore, table: &str) -> i64 {
    let mut read = test.store.read().await.unwrap();
    let (n,): (i64,) = read
        .built(format!("SELECT COUNT(*) FROM {table}"))
        .one()
        .await
        .unwrap();
    n
}

#[tokio::test]
async fn a_step_that_fails_half_way_leaves_nothing_behind_and_is_done_again() {
    for mut site in sites().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        fleet::add(&site.test.store, "north", 20..21, &["r.io/demo/web:v1"]).await;
        site.policy("apps", json!({"image": "r.io/demo/app"})).await;
        refuse(&site, EventType::RolloutCreated).await;
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let version = site.push(&image).await;
        // A second version that is ignored shows that the first one was tried and did not hold it up.
        let ignored = site
            .push(&format!("r.io/demo/web:v2@{}", digest('c')))
            .await;
        site.start().await;
        assert_eq!(site.decision(ignored).await.0, "no_policy");
        assert_eq!(rows(&site.test, "image_rollouts").await, 0);
        assert_eq!(rows(&site.test, "device_rollout_status").await, 0);
        allow(&site).await;
        refuse(&site, EventType::ImageUpdateScheduled).await;
        let id = site.decision(version).await.2.unwrap();
        eventually("admission was tried", Duration::from_secs(20), async || {
            site.failed_runs("planner-rollouts") > 0.0
        })
        .await;
        assert_eq!(site.read(id).await.status, RolloutStatus::Pending);
        assert!(site.targets(&image).await.is_empty());
        allow(&site).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.targets(&image).await, [(2, 1)]);
        assert_eq!(site.told(EventType::RolloutCreated).await, 1);
        assert_eq!(site.told(EventType::RolloutBatchStarted).await, 1);
    }
}

#[tokio::test]
async fn a_pause_that_commits_while_a_batch_is_due_holds() {
    for mut site in sites().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        site.start().await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.judge(id, DeviceStatus::Completed, 1).await;
        eventually("the delay runs", Duration::from_secs(20), async || {
            site.read(id).await.next_batch_at.is_some()
        })
        .await;
        // The command is written, but not yet committed, when the next batch becomes due.
        let mut tx = site.test.store.begin().await.unwrap();
        let command = NewCommand {
            id: CommandId(uuid::Uuid::now_v7()),
            rollout: id,
            device: None,
            batch: None,
            kind: CommandKind::Pause,
            actor: "operator:ann".to_owned(),
            reason: "stop".to_owned(),
        };
        commands::insert(&mut tx, &command).await.unwrap().unwrap();
        site.advance(600);
        if site.test.store.kind() == Kind::Postgres {
            eventually(
                "the planner waits for the rollout's row",
                Duration::from_secs(20),
                async || {
                    let mut read = site.test.store.read().await.unwrap();
                    let (n,): (i64,) = read
                    .sql(
                        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND wait_event_type = 'Lock'",
                    )
                    .one()
                    .await
                    .unwrap();
                    n > 0
                },
            )
            .await;
        }
        site.deps.commit(tx).await.unwrap();
        let paused = site.reaches(id, RolloutStatus::Paused, 1).await;
        assert_eq!(paused.status_detail.as_deref(), Some("stop"));
        assert_eq!(site.told(EventType::RolloutBatchStarted).await, 1);
    }
}

/// Somebody waits for a lock.
async fn waits(site: &Site, what: &str) {
    eventually(what, Duration::from_secs(20), async || {
        let mut read = site.test.store.read().await.unwrap();
        let (n,): (i64,) = read
            .sql(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock'",
            )
            .one()
            .await
            .unwrap();
        n > 0
    })
    .await;
}

#[tokio::test]
async fn a_freeze_that_began_while_the_planner_waited_for_the_rollout_holds_it() {
    for mut site in sites().await {
        // On SQLite nobody looks before it is their turn.
        if site.test.store.kind() == Kind::Sqlite {
            continue;
        }
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        site.start().await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.judge(id, DeviceStatus::Completed, 1).await;
        eventually("the delay runs", Duration::from_secs(20), async || {
            site.read(id).await.next_batch_at.is_some()
        })
        .await;
        let mut tx = site.test.store.begin().await.unwrap();
        let freeze = NewFreeze {
            id: FreezeId(uuid::Uuid::now_v7()),
            kind: FreezeKind::Freeze,
            reason: "year's end".to_owned(),
            starts_at: tx.now() + chrono::TimeDelta::seconds(605),
            ends_at: None,
            actor: "operator:ann".to_owned(),
        };
        freezes::create(&mut tx, &freeze).await.unwrap().unwrap();
        site.deps.commit(tx).await.unwrap();
        let mut tx = site.test.store.begin().await.unwrap();
        rollouts::lock(&mut tx, id).await.unwrap().unwrap();
        site.advance(600);
        waits(&site, "the planner waits for the rollout's row").await;
        site.advance(10);
        tx.rollback().await.unwrap();
        // Once that is carried out, what the planner was about is over.
        site.ordered(id, CommandKind::Pause).await;
        assert_eq!(site.told(EventType::RolloutBatchStarted).await, 1);
    }
}

#[tokio::test]
async fn a_stop_holds_rollouts_that_are_made_before_it_commits() {
    for mut site in sites().await {
        // On SQLite nothing is made meanwhile.
        if site.test.store.kind() == Kind::Sqlite {
            continue;
        }
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({})).await;
        site.start().await;
        let mut tx = site.test.store.begin().await.unwrap();
        let stop = FreezeId(uuid::Uuid::now_v7());
        freezes::stop(&mut tx, stop, "operator:ann", "smoke")
            .await
            .unwrap()
            .unwrap();
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        waits(&site, "the planner waits for the stop").await;
        site.deps.commit(tx).await.unwrap();
        site.ordered(id, CommandKind::Pause).await;
        assert!(site.targets(&image).await.is_empty());
        assert_eq!(site.told(EventType::RolloutBatchStarted).await, 0);
    }
}

#[tokio::test]
async fn a_digest_is_quarantined_before_or_after_an_admission_never_under_it() {
    for mut site in sites().await {
        if site.test.store.kind() == Kind::Sqlite {
            continue;
        }
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({})).await;
        site.start().await;
        let mut tx = site.test.store.begin().await.unwrap();
        let repository = "r.io/demo/app".parse().unwrap();
        let bad = digest('b').parse().unwrap();
        quarantine::add(&mut tx, &bad, &repository, None, "bad", json!({}))
            .await
            .unwrap();
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        waits(&site, "the planner waits for the quarantine").await;
        site.deps.commit(tx).await.unwrap();
        site.reaches(id, RolloutStatus::Paused, 0).await;
        assert!(site.targets(&image).await.is_empty());
    }
}

#[tokio::test]
async fn the_stop_button_waits_for_admissions_alone() {
    for mut site in sites().await {
        if site.test.store.kind() == Kind::Sqlite {
            continue;
        }
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({})).await;
        site.start().await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let press = async |what: &str| {
            let mut tx = site.test.store.begin().await.unwrap();
            let id = FreezeId(uuid::Uuid::now_v7());
            let made = freezes::stop(&mut tx, id, "operator:ann", what).await;
            assert!(made.unwrap().is_some(), "{what}");
            site.deps.commit(tx).await.unwrap();
        };
        // Who locks rollouts in whatever order is no part of a circle with it.
        let mut tx = site.test.store.begin().await.unwrap();
        rollouts::lock(&mut tx, id).await.unwrap().unwrap();
        tokio::time::timeout(Duration::from_secs(10), press("smoke"))
            .await
            .expect("the stop needs no rollout");
        tx.rollback().await.unwrap();
        let mut tx = site.test.store.begin().await.unwrap();
        admissions::join(&mut tx).await.unwrap();
        let admitting = async {
            waits(&site, "the stop waits for the admission").await;
            tx.commit().await.unwrap();
        };
        tokio::join!(press("again"), admitting);
    }
}
