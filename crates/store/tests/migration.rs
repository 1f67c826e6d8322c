//! A database of the first schema, with rows of every kind that later ones make anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::borrow::Cow;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_store::{
    Json, Kind, Options, Store, commands, plans, quarantine, reports, rollouts, triggers,
};
use windlass_testkit::{TestStore, postgres, sqlite};
use windlass_types::ids::{CommandId, DeviceId, RolloutId, TriggerId};
use windlass_types::policy::{FailureRule, Strategy};
use windlass_types::rollout::{CommandKind, RolloutStatus};

const POSTGRES: &str = include_str!("../../../migrations/postgres/0001_init.sql");
const SQLITE: &str = include_str!("../../../migrations/sqlite/0001_init.sql");

const ROLLOUT: u128 = 0x10;
const TRIGGERED: u128 = 0x11;
const VERSION: u128 = 0x20;
const TRIGGER: u128 = 0x30;
const COMMAND: u128 = 0x40;
const DEVICES: std::ops::Range<u128> = 0x50..0x54;
const STATE: u128 = 0x60;
const POLICY: u128 = 0x70;
const DELIVERY: u128 = 0x80;

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// The first migration alone, as a program of that time ran it.
fn first(sql: &'static str) -> Migrator {
    let name = Cow::Borrowed("0001_init");
    let kind = MigrationType::Simple;
    Migrator::with_migrations(vec![Migration::new(
        1,
        name,
        kind,
        sql.into_sql_str(),
        false,
    )])
}

/// Empty databases of the first schema, both kinds, not yet opened by a program of today.
async fn old() -> Vec<(TestStore, Store)> {
    let database = postgres().await;
    let mut session = database.store.read().await.unwrap();
    for sql in ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"] {
        session.sql(sql).execute().await.unwrap();
    }
    drop(session);
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    first(POSTGRES).run(&pool).await.unwrap();
    pool.close().await;
    let mut file = sqlite().await;
    file.url = file.url.replace("windlass.db", "old.db");
    let pool = sqlx::SqlitePool::connect(&format!("{}?mode=rwc", file.url))
        .await
        .unwrap();
    first(SQLITE).run(&pool).await.unwrap();
    pool.close().await;
    let mut both = Vec::new();
    for test in [database, file] {
        let store = Store::connect(&Options::new(&test.url)).await.unwrap();
        both.push((test, store));
    }
    both
}

/// What a rule said before there were limits, canaries and the rest.
fn old_rule() -> Value {
    json!({"strategy": "staged", "batches": [{"percent": 10}, {"percent": 100}], "batch_delay_seconds": 60,
           "health": {"stable_window_seconds": 30, "deadline_seconds": 300,
                      "unreachable_after_seconds": 180, "crash_loop_restarts": 3, "checks": []},
           "failure": {"max_failure_rate": 0.1, "min_sample": 5, "max_consecutive_failures": 3,
                       "auto_rollback": true, "rollback_timeout_seconds": 600}})
}

/// Rows in every table, most of all in those that are made anew.
async fn fill(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let id = |number: u128| Uuid::from_u128(number);
    let now: DateTime<Utc> = tx.now();
    macro_rules! insert {
        ($table:literal ($($column:literal: $value:expr),+ $(,)?)) => {{
            let columns = [$($column),+];
            let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
            let sql = format!(
                "INSERT INTO {} ({}) VALUES ({})", $table, columns.join(", "), places.join(", ")
            );
            tx.built(sql)$(.bind($value))+.execute().await.unwrap();
        }};
    }
    insert!("fleets" ("id": "f".to_owned(), "created_at": now));
    insert!("target_states" ("id": id(STATE), "body": Json(json!({"apps": {}, "config": {}})), "created_at": now));
    for (number, device) in (0_i64..).zip(DEVICES) {
        insert!("devices" ("uuid": id(device), "name": format!("d{number}"), "device_type": "standalone".to_owned(),
            "fleet_id": "f".to_owned(), "key_hash": vec![u8::try_from(number).unwrap()], "enabled": true,
            "shuffle": number, "created_at": now));
        insert!("device_tags" ("device_uuid": id(device), "key": "site".to_owned(), "value": "s".to_owned()));
        insert!("device_targets" ("device_uuid": id(device), "state_id": id(STATE), "version": 2_i64,
            "source": "operator".to_owned(), "updated_at": now));
    }
    insert!("device_current_state" ("device_uuid": id(DEVICES.start), "received_at": now,
        "report": Json(json!({"version": 2, "time_zone": "Europe/Berlin"})),
        "observation": Json(json!({"services": [], "version_received": 2}))));
    insert!("image_update_policies" ("id": id(POLICY), "name": "p".to_owned(), "enabled": true, "priority": 3_i64,
        "spec": Json(json!({"name": "p", "image": "r.io/a", "tag": {"type": "glob", "pattern": "*"},
            "strategy": "staged", "filters": {}, "priority": 3, "enabled": true, "on_unresolved": "wait"})),
        "version": 1_i64, "created_at": now, "updated_at": now));
    insert!("image_versions" ("id": id(VERSION), "repository": "r.io/a".to_owned(), "tag": "v2".to_owned(),
        "digest": digest(), "kind": "new".to_owned(), "seen_at": now, "correlation_id": id(1), "planned_at": now));
    insert!("webhook_deliveries" ("id": id(DELIVERY), "endpoint": "ci".to_owned(), "sender": "ghcr".to_owned(),
        "dedupe_key": "k".to_owned(), "headers": Json(json!({})), "body": b"{}".to_vec(), "body_bytes": 2_i64,
        "decision": "accepted".to_owned(), "images": Json(json!([
            {"registry": "r.io", "repository": "a", "tag": "v1", "kind": "new"},
            {"registry": "r.io", "repository": "a", "tag": "v2", "kind": "new"},
            {"registry": "ghcr.io", "repository": "acme/b", "tag": "v2", "kind": "new"}])),
        "correlation_id": id(1), "received_at": now));
    insert!("webhook_deliveries" ("id": id(DELIVERY + 1), "endpoint": "ci".to_owned(), "sender": "ghcr".to_owned(),
        "dedupe_key": "l".to_owned(), "headers": Json(json!({})), "body_bytes": 2_i64,
        "decision": "ignored".to_owned(), "reason_code": "ping".to_owned(), "images": Json(json!([])),
        "correlation_id": id(1), "received_at": now));
    insert!("image_triggers" ("id": id(TRIGGER), "repository": "r.io/a".to_owned(), "tag": "v2".to_owned(),
        "rule": Json(old_rule()), "filters": Json(json!({})), "on_unresolved": "wait".to_owned(),
        "actor": "operator:ann".to_owned(), "reason": "why not".to_owned(), "correlation_id": id(2),
        "created_at": now, "next_resolve_at": now));
    insert!("image_rollouts" ("id": id(ROLLOUT), "policy_id": id(POLICY), "image_version_id": id(VERSION),
        "repository": "r.io/a".to_owned(), "tag": "v2".to_owned(), "digest": digest(),
        "strategy": "staged".to_owned(), "rule": Json(old_rule()), "filters": Json(json!({"fleets": ["f"]})),
        "tag_rule": Json(json!({"type": "glob", "pattern": "*"})), "seed": 7_i64, "status": "in_progress".to_owned(),
        "current_batch": 1_i64, "batch_count": 2_i64, "total_devices": 4_i64, "version": 5_i64,
        "correlation_id": id(1), "created_by": "policy".to_owned(), "created_at": now, "started_at": now));
    insert!("image_rollouts" ("id": id(TRIGGERED), "trigger_id": id(TRIGGER),
        "repository": "r.io/a".to_owned(), "tag": "v1".to_owned(), "known_digest": digest(),
        "strategy": "auto".to_owned(), "rule": Json(old_rule()), "filters": Json(json!({})),
        "tag_rule": Json(json!({"type": "glob", "pattern": "*"})), "seed": 8_i64, "status": "completed".to_owned(),
        "batch_count": 1_i64, "total_devices": 0_i64, "correlation_id": id(2),
        "created_by": "operator:ann".to_owned(), "created_at": now, "finished_at": now));
    insert!("image_plans" ("image_version_id": id(VERSION), "decision": "rollout".to_owned(),
        "policy_id": id(POLICY), "rollout_id": id(ROLLOUT), "decided_at": now));
    insert!("rollout_commands" ("id": id(COMMAND), "rollout_id": id(ROLLOUT), "kind": "pause".to_owned(),
        "actor": "operator:ann".to_owned(), "reason": "a look".to_owned(), "created_at": now));
    insert!("rollout_commands" ("id": id(COMMAND + 1), "rollout_id": id(ROLLOUT), "device_uuid": id(DEVICES.start),
        "kind": "rollback_device".to_owned(), "actor": "operator:ann".to_owned(), "reason": "one".to_owned(),
        "outcome": "applied".to_owned(), "created_at": now, "settled_at": now));
    let rows = [
        ("completed", Some("healthy")),
        ("failed", Some("failed")),
        ("verifying", None),
        ("pending", None),
    ];
    for (device, (status, verdict)) in DEVICES.zip(rows) {
        let moved = status != "pending";
        insert!("device_rollout_status" ("rollout_id": id(ROLLOUT), "device_uuid": id(device), "batch": 1_i64,
            "status": status.to_owned(), "old_state_id": moved.then(|| id(STATE)),
            "target_version": moved.then_some(3_i64), "verdict": verdict.map(str::to_owned),
            "evidence": Json(json!({"summary": status})), "admitted_at": moved.then_some(now),
            "check_at": (status == "verifying").then_some(now), "deadline_at": moved.then_some(now),
            "judged_at": verdict.map(|_| now), "updated_at": now));
    }
    insert!("quarantined_digests" ("digest": digest(), "repository": "r.io/a".to_owned(), "rollout_id": id(ROLLOUT),
        "reason": "too many failed".to_owned(), "evidence": Json(json!({"failed": 3})), "created_at": now));
    insert!("events" ("type": "image.rollout_created".to_owned(), "rollout_id": id(ROLLOUT),
        "data": Json(json!({"devices": 4})), "actor": "rollout-planner".to_owned(), "occurred_at": now));
    tx.commit().await.unwrap();
}

/// Tables and their columns.
type Columns = BTreeMap<String, Vec<String>>;

async fn columns(store: &Store) -> Columns {
    let sql = match store.kind() {
        Kind::Postgres => {
            "SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c \
             JOIN information_schema.tables t USING (table_schema, table_name) \
             WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' \
             AND c.table_name NOT LIKE '\\_sqlx%' ORDER BY 1, 2"
        }
        Kind::Sqlite => {
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' \
             AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY 1, 2"
        }
    };
    let mut session = store.read().await.unwrap();
    let rows: Vec<(String, String)> = session.sql(sql).all().await.unwrap();
    let mut columns = Columns::new();
    for (table, column) in rows {
        columns.entry(table).or_default().push(column);
    }
    columns
}

/// Every row of these tables with these columns, as text.
async fn rows(store: &Store, columns: &Columns) -> BTreeMap<String, Vec<String>> {
    let quoted = |column: &String| match store.kind() {
        Kind::Postgres => format!("quote_nullable({column}::text)"),
        Kind::Sqlite => format!("quote({column})"),
    };
    let mut session = store.read().await.unwrap();
    let mut found = BTreeMap::new();
    for (table, columns) in columns {
        let list: Vec<String> = columns.iter().map(quoted).collect();
        let sql = format!(
            "SELECT {} FROM {table} ORDER BY 1",
            list.join(" || ', ' || ")
        );
        let rows: Vec<(String,)> = session.built(sql).all().await.unwrap();
        found.insert(table.clone(), rows.into_iter().map(|(row,)| row).collect());
    }
    found
}

#[tokio::test]
async fn every_row_of_an_old_database_is_there_after_the_migration() {
    for (test, store) in old().await {
        fill(&store).await;
        let columns = columns(&store).await;
        let before = rows(&store, &columns).await;
        store.close().await;
        let store = Store::open(&Options::new(&test.url)).await.unwrap();
        let after = rows(&store, &columns).await;
        for (table, before) in &before {
            assert_eq!(&after[table], before, "{:?}: {table}", store.kind());
        }
        assert!(
            before.values().filter(|rows| !rows.is_empty()).count() >= 13,
            "the tables that matter have rows: {before:#?}"
        );
        store.close().await;
    }
}

#[tokio::test]
async fn what_an_old_database_holds_goes_on_where_it_stood() {
    for (test, store) in old().await {
        fill(&store).await;
        store.close().await;
        let store = Store::open(&Options::new(&test.url)).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let id = RolloutId(Uuid::from_u128(ROLLOUT));
        let facts = rollouts::facts(&mut tx, id).await.unwrap().unwrap();
        assert_eq!(facts.rollout.status, RolloutStatus::InProgress);
        assert_eq!(facts.rollout.rule.strategy, Strategy::Staged);
        // What was given stays, what is new has its default.
        let failure = FailureRule {
            max_failure_rate: 0.1,
            ..FailureRule::default()
        };
        assert_eq!(facts.rollout.rule.failure, failure);
        assert_eq!(
            (facts.rollout.priority, facts.rollout.freeze_override),
            (0, None)
        );
        let [batch] = facts.batches.as_slice() else {
            panic!("{:?}", facts.batches)
        };
        let places = (
            batch.completed,
            batch.failed,
            batch.verifying,
            batch.pending,
        );
        assert_eq!((places, batch.attempted), ((1, 1, 1, 1), 2));
        assert_eq!(facts.commands.len(), 1);
        assert!(facts.quarantined);
        assert!(facts.approvals.is_empty() && facts.freezes.is_empty());
        let command = CommandId(Uuid::from_u128(COMMAND + 1));
        let command = commands::get(&mut tx, command).await.unwrap().unwrap();
        assert_eq!(command.kind, CommandKind::RollbackDevice);
        assert_eq!(
            command.device_uuid,
            Some(DeviceId(Uuid::from_u128(DEVICES.start)))
        );
        let digest = digest().parse().unwrap();
        let held = quarantine::get(&mut tx, &digest).await.unwrap().unwrap();
        assert_eq!((held.tag_key, held.tag_value), (None, None));
        let trigger = TriggerId(Uuid::from_u128(TRIGGER));
        assert!(triggers::get(&mut tx, trigger).await.unwrap().is_some());
        assert!(
            plans::take_trigger(&mut tx, trigger)
                .await
                .unwrap()
                .is_some()
        );
        // Old deliveries are found by what they told of.
        let named: Vec<(String,)> = tx
            .sql("SELECT repository FROM webhook_delivery_repositories ORDER BY repository")
            .all()
            .await
            .unwrap();
        let named: Vec<_> = named.iter().map(|(name,)| name.as_str()).collect();
        assert_eq!(named, ["ghcr.io/acme/b", "r.io/a"]);
        // A device's next report follows on its last one.
        let device = DeviceId(Uuid::from_u128(DEVICES.start));
        let before = reports::before(&mut tx, &[device]).await.unwrap();
        let before = &before[&device];
        assert_eq!(before.revision, Some(1));
        assert_eq!(before.observation.version_received, Some(2));
        assert_eq!(before.said_time_zone.as_deref(), Some("Europe/Berlin"));
        // What the first schema refused is taken.
        for sql in [
            "UPDATE device_rollout_status SET status = 'inconclusive' WHERE status = 'verifying'",
            "UPDATE image_rollouts SET strategy = 'ab' WHERE status = 'completed'",
            "UPDATE rollout_commands SET kind = 'next_batch' WHERE kind = 'pause'",
        ] {
            assert_eq!(tx.sql(sql).execute().await.unwrap(), 1, "{sql}");
        }
        tx.commit().await.unwrap();
        store.close().await;
    }
}
