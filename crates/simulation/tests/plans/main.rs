//! No statement of the services reads a table that grows from end to end: each has an index to go by.
//!
//! Worlds are simulated, so that every pass is run with work to do, and what webhook-ingest asks of its own now and then
//! is asked beside that; every statement that was sent is looked at as the database plans it: by `EXPLAIN QUERY PLAN` on SQLite, by `auto_explain` on PostgreSQL,
//! which is told to read a whole table only where nothing else is possible. Tables of a test are small, so
//! this says what the planner can do with a large one, not what it will do.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests are to fail loudly"
)]

mod heard;
mod postgres_plan;
mod sqlite_plan;

use std::collections::{BTreeMap, BTreeSet};
use windlass_simulation::{Settings, Simulation};
use windlass_store::{Store, deliveries, image_facts, inbox, registry_watch};

/// Tables that have a row for each device, image, rollout, event, delivery or check.
const GROWS: [&str; 31] = [
    "counted_budgets",
    "device_checks",
    "device_current_state",
    "device_failed_images",
    "device_last_good",
    "device_logs",
    "device_penalties",
    "device_presence",
    "device_rollout_status",
    "device_tags",
    "device_targets",
    "devices",
    "events",
    "image_facts",
    "image_plans",
    "image_rollouts",
    "image_triggers",
    "image_versions",
    "image_waits",
    "rollout_admissions",
    "rollout_approvals",
    "rollout_checks",
    "rollout_commands",
    "rollout_plan_devices",
    "rollout_plans",
    "target_services",
    "target_states",
    "watch_finds",
    "watched_tags",
    "webhook_deliveries",
    "webhook_delivery_repositories",
];

/// How the statements begin with which the simulation itself looks at everything there is.
const ITS_OWN: [&str; 9] = [
    "SELECT d.rollout_id, d.device_uuid, d.status, d.reason FROM device_rollout_status d",
    "SELECT d.rollout_id, d.device_uuid, d.status, d.rollback_why FROM device_rollout_status d",
    "SELECT device_uuid, key, value FROM device_tags",
    "SELECT device_uuid, version FROM device_targets",
    "SELECT device_uuid, version, state_id, source, updated_at FROM device_targets",
    "SELECT id, status, status_reason, current_batch FROM image_rollouts",
    "SELECT rollout_id, batch, actor FROM rollout_approvals",
    "SELECT rollout_id, device_uuid, batch, status, ",
    "SELECT uuid, time_zone, created_at FROM devices",
];

/// A statement and the table that it reads from end to end.
type Finding = (String, String);

/// Runs worlds with every rule there is.
async fn live(store: &Store, seeds: u64) {
    let simulation = Simulation::on(store.clone()).await.unwrap();
    let settings = Settings {
        most_devices: Some(12),
        ..Settings::default()
    };
    for seed in 1..=seeds {
        let outcome = simulation.run(seed, &settings).await.unwrap();
        assert!(outcome.broken.is_none(), "seed {seed}: {outcome:?}");
    }
}

/// Asks what webhook-ingest asks without being sent anything: how endpoints are doing, what is due, and what can be let
/// go. Its loops do not run in the worlds.
async fn beside(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let since = tx.now();
    inbox::became(&mut tx, since).await.unwrap();
    inbox::last_seen(&mut tx).await.unwrap();
    registry_watch::missed(&mut tx, since).await.unwrap();
    registry_watch::next_settling(&mut tx).await.unwrap();
    registry_watch::settle(&mut tx).await.unwrap();
    image_facts::next_ask(&mut tx).await.unwrap();
    image_facts::take(&mut tx, 10, since).await.unwrap();
    deliveries::expire(&mut tx, since, 10).await.unwrap();
    image_facts::unused(&mut tx, since, None, 10).await.unwrap();
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let digests = BTreeMap::from([("r.io/demo/app".parse().unwrap(), vec![digest])]);
    image_facts::forget(&mut tx, since, &digests).await.unwrap();
    tx.rollback().await.unwrap();
}

fn check(found: &BTreeSet<Finding>, statements: usize) {
    assert!(statements > 80, "only {statements} statements were sent");
    let wrong: Vec<String> = found
        .iter()
        .filter(|(sql, _)| !ITS_OWN.iter().any(|own| sql.starts_with(own)))
        .map(|(sql, table)| format!("{table} is read from end to end by\n    {sql}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {statements} statements:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn sqlite_has_an_index_for_every_statement() {
    let database = windlass_testkit::sqlite().await;
    let heard = heard::statements().await;
    live(&database.store, 10).await;
    beside(&database.store).await;
    let statements = heard.end();
    let found = sqlite_plan::whole_tables(&database.store, &statements).await;
    check(&found, statements.len());
}

#[tokio::test]
async fn postgresql_has_an_index_for_every_statement() {
    let database = windlass_testkit::postgres().await;
    postgres_plan::explain(&database.store).await;
    // Settings of a database are for who connects after them.
    let store = database.open_again().await;
    let partial = postgres_plan::partial_indices(&store).await;
    let heard = heard::notices().await;
    live(&store, 3).await;
    beside(&store).await;
    let plans = heard.end();
    let found = postgres_plan::whole_tables(&plans, &partial);
    check(&found, plans.len());
}
