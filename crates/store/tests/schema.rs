//! Migrations, and what the schema refuses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_store::{Error, Kind, Options, Store, settings};
use windlass_testkit::{TestStore, postgres, sqlite, stores};

/// Tables and views with their columns: name, kind of value, whether it must be there.
type Shape = BTreeMap<String, BTreeSet<(String, &'static str, bool)>>;

/// What both databases mean by a type.
fn value_kind(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "uuid" | "bytea" | "blob" => "bytes",
        "bigint" | "boolean" | "integer" => "number",
        "text" | "timestamp with time zone" | "json" | "jsonb" => "text",
        other => panic!("{other} is a type that no column should have"),
    }
}

async fn shape(test: &TestStore) -> Shape {
    let mut session = test.store.read().await.unwrap();
    let sql = match test.store.kind() {
        Kind::Postgres => {
            "SELECT c.table_name::text, c.column_name::text, c.data_type::text, \
             (c.is_nullable = 'NO' AND t.table_type = 'BASE TABLE') \
             FROM information_schema.columns c \
             JOIN information_schema.tables t USING (table_schema, table_name) \
             WHERE c.table_schema = 'public' AND c.table_name NOT LIKE '\\_sqlx%'"
        }
        Kind::Sqlite => {
            "SELECT m.name, c.name, c.type, \
             ((c.\"notnull\" <> 0 OR c.pk > 0) AND m.type = 'table') \
             FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite%' \
             AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\'"
        }
    };
    let rows: Vec<(String, String, String, bool)> = session.sql(sql).all().await.unwrap();
    let views = ["active_rollouts", "settled_events"];
    let mut shape = Shape::new();
    for (table, column, kind, required) in rows {
        // SQLite does not know the types of computed columns of a view.
        let kind = if views.contains(&table.as_str()) {
            "any"
        } else {
            value_kind(&kind)
        };
        shape
            .entry(table)
            .or_default()
            .insert((column, kind, required));
    }
    shape
}

async fn indices(test: &TestStore) -> BTreeSet<(String, bool)> {
    let sql = match test.store.kind() {
        Kind::Postgres => {
            "SELECT c.relname::text, i.indisunique FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND NOT EXISTS \
             (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)"
        }
        Kind::Sqlite => {
            "SELECT m.name, (m.sql LIKE 'CREATE UNIQUE%') FROM sqlite_master m \
             WHERE m.type = 'index' AND m.sql IS NOT NULL"
        }
    };
    let mut session = test.store.read().await.unwrap();
    let rows: Vec<(String, bool)> = session.sql(sql).all().await.unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_indices() {
    let (sqlite, postgres) = (sqlite().await, postgres().await);
    let (mut a, mut b) = (shape(&sqlite).await, shape(&postgres).await);
    assert!(a.len() > 20, "tables were found");
    // The log's own key is made differently: on SQLite the transaction's place is always 0.
    for shape in [&mut a, &mut b] {
        for columns in shape.values_mut() {
            let plain: BTreeSet<_> = columns
                .iter()
                .map(|(name, kind, required)| {
                    let own = matches!(name.as_str(), "tx" | "seq");
                    (name.clone(), *kind, *required || own)
                })
                .collect();
            *columns = plain;
        }
    }
    assert_eq!(a, b);
    let mut of_sqlite = indices(&sqlite).await;
    // On PostgreSQL this one is the log's primary key.
    assert!(of_sqlite.remove(&("events_place".to_owned(), true)));
    assert_eq!(of_sqlite, indices(&postgres).await);
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        tx.sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9999, 'from the future', success, checksum, execution_time \
             FROM _sqlx_migrations WHERE version = 1",
        )
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let refused = Store::open(&Options::new(&test.url)).await.unwrap_err();
        assert!(
            matches!(refused, Error::Newer { found: 9999, known } if known < 9999),
            "{refused}"
        );
        assert!(refused.to_string().contains("newer program"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_at_once_on_an_empty_database_all_get_it_migrated() {
    let fresh = postgres().await;
    let mut session = fresh.store.read().await.unwrap();
    for sql in ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"] {
        session.sql(sql).execute().await.unwrap();
    }
    drop(session);
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("new.db").display());
    for url in [fresh.url.clone(), file] {
        let mut programs = JoinSet::new();
        for _ in 0..4 {
            let options = Options {
                max_connections: 2,
                ..Options::new(&url)
            };
            programs.spawn(async move { Store::open(&options).await });
        }
        for store in programs.join_all().await {
            let store = store.unwrap_or_else(|error| panic!("{url}: {error:?}"));
            let mut session = store.read().await.unwrap();
            let found: Vec<(String,)> =
                session.sql("SELECT key FROM settings").all().await.unwrap();
            assert_eq!(found, []);
        }
    }
}

#[tokio::test]
async fn opening_once_more_changes_nothing() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        settings::get_or_set(&mut tx, "a", "kept").await.unwrap();
        tx.commit().await.unwrap();
        let before = shape(&test).await;
        let again = test.open_again().await;
        let mut tx = again.begin().await.unwrap();
        assert_eq!(
            settings::get_or_set(&mut tx, "a", "other").await.unwrap(),
            "kept"
        );
        assert_eq!(shape(&test).await, before);
    }
}

#[tokio::test]
async fn of_two_programs_that_make_a_setting_one_decides_for_both() {
    for test in stores().await {
        let mut programs = JoinSet::new();
        for number in 0..4 {
            let store = test.store.clone();
            programs.spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let value = settings::get_or_set(&mut tx, "pepper", &number.to_string())
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                value
            });
        }
        let values: BTreeSet<String> = programs.join_all().await.into_iter().collect();
        assert_eq!(values.len(), 1, "{values:?}");
    }
}

/// States that must not be, each as a statement that would make it; `$1` is an id, `$2` a time.
const WRONG: &[(&str, &str)] = &[
    (
        "a rollout in a status that does not exist",
        "INSERT INTO image_rollouts (id, created_at, repository, tag, strategy, rule, filters, tag_rule, \
         seed, status, batch_count, total_devices, correlation_id, created_by) \
         VALUES ($1, $2, 'r', 't', 'auto', '{}', '{}', '{}', 1, 'nonsense', 1, 1, $1, 'x')",
    ),
    (
        "a finished rollout without the time at which it finished",
        "INSERT INTO image_rollouts (id, created_at, repository, tag, strategy, rule, filters, tag_rule, \
         seed, status, batch_count, total_devices, correlation_id, created_by) \
         VALUES ($1, $2, 'r', 't', 'auto', '{}', '{}', '{}', 1, 'completed', 1, 1, $1, 'x')",
    ),
    (
        "a rollout past its last batch",
        "INSERT INTO image_rollouts (id, created_at, repository, tag, strategy, rule, filters, tag_rule, \
         seed, status, batch_count, current_batch, total_devices, correlation_id, created_by) \
         VALUES ($1, $2, 'r', 't', 'auto', '{}', '{}', '{}', 1, 'in_progress', 1, 2, 1, $1, 'x')",
    ),
    (
        "a rollout of nothing",
        "INSERT INTO image_rollouts (id, created_at, repository, strategy, rule, filters, tag_rule, \
         seed, status, batch_count, total_devices, correlation_id, created_by) \
         VALUES ($1, $2, 'r', 'auto', '{}', '{}', '{}', 1, 'pending', 1, 1, $1, 'x')",
    ),
    (
        "a device on its way without a time at which it is looked at",
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, target_version, updated_at) \
         VALUES ($1, $1, 1, 'updating', 2, $2)",
    ),
    (
        "a device that was admitted to no version",
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, check_at, updated_at) \
         VALUES ($1, $1, 1, 'updating', $2, $2)",
    ),
    (
        "a completed device without a verdict",
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, target_version, updated_at) \
         VALUES ($1, $1, 1, 'completed', 2, $2)",
    ),
    (
        "a failed device that was judged healthy",
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, target_version, verdict, updated_at) \
         VALUES ($1, $1, 1, 'failed', 2, 'healthy', $2)",
    ),
    (
        "a device in no batch",
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, updated_at) \
         VALUES ($1, $1, 0, 'pending', $2)",
    ),
    (
        "an ignored delivery without a reason",
        "INSERT INTO webhook_deliveries (id, endpoint, sender, dedupe_key, headers, body, decision, images, \
         correlation_id, received_at) VALUES ($1, 'e', 's', 'k', '{}', $3, 'ignored', '[]', $1, $2)",
    ),
    (
        "an image version that is known and still to be resolved",
        "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, correlation_id, next_resolve_at) \
         VALUES ($1, 'r', 't', 'sha256:0', 'new', $2, $1, $2)",
    ),
    (
        "more devices on a provisioning key than it allows",
        "INSERT INTO provisioning_keys (id, fleet_id, key_hash, description, max_devices, devices, expires_at, created_at) \
         VALUES ($1, 'f', $3, '', 1, 2, $2, $2)",
    ),
];

#[tokio::test]
async fn states_that_must_not_be_are_refused() {
    for test in stores().await {
        let kind = test.store.kind();
        for (what, sql) in WRONG {
            let mut tx = test.store.begin().await.unwrap();
            let now = tx.now();
            tx.sql("INSERT INTO fleets (id, created_at) VALUES ('f', $1)")
                .bind(now)
                .execute()
                .await
                .unwrap();
            let mut statement = tx.sql(*sql).bind(Uuid::now_v7()).bind(now);
            if sql.contains("$3") {
                statement = statement.bind(b"bytes".to_vec());
            }
            let error = statement.execute().await.expect_err(what);
            let check = matches!(
                error,
                Error::Constraint(windlass_store::ConstraintKind::Check, _)
            );
            assert!(check, "{kind:?}, {what}: {error:?}");
        }
    }
}
