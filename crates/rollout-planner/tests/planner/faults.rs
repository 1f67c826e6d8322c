//! Transactions that fail half-way, and commands that come in between.

use crate::site::{Site, sites};
use serde_json::json;
use std::time::Duration;
use windlass_store::Kind;
use windlass_store::commands::{self, NewCommand};
use windlass_testkit::fleet::{self, digest};
use windlass_testkit::{TestStore, eventually};
use windlass_types::event::EventType;
use windlass_types::ids::CommandId;
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
