//! Bringing a database's schema up to date.

use crate::error::{Error, Result};
use crate::store::Store;
use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use std::borrow::Cow;

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal),+ $(,)?) => {
        vec![$(Migration::new(
            $version,
            Cow::Borrowed($name),
            MigrationType::Simple,
            include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")).into_sql_str(),
            false,
        )),+]
    };
}

/// Runs what is missing, under a lock: sqlx's advisory one on PostgreSQL, a transaction around all of
/// it on SQLite, for which sqlx has none. A second program waits and then finds nothing to do.
pub(crate) async fn run(store: &Store) -> Result<()> {
    let (migrator, done) = if let Some(pool) = store.postgres() {
        let migrator = Migrator::with_migrations(migrations!("postgres":
            1 "0001_init", 2 "0002_rollout_rules", 3 "0003_webhook_inbox", 4 "0004_registry_watch",
            5 "0005_image_facts", 6 "0006_good_images",
            7 "0007_counted_budgets", 8 "0008_rollout_indices", 9 "0009_signed_by_hand",
            10 "0010_report_revisions",
            11 "0011_passed_over_and_forgotten"));
        let done = migrator.run(pool).await;
        (migrator, done)
    } else if let Some(pool) = store.sqlite_writer() {
        let migrator = Migrator::with_migrations(migrations!("sqlite":
            1 "0001_init", 2 "0002_rollout_rules", 3 "0003_webhook_inbox", 4 "0004_registry_watch",
            5 "0005_image_facts", 6 "0006_good_images",
            7 "0007_counted_budgets", 8 "0008_rollout_indices", 9 "0009_signed_by_hand",
            10 "0010_report_revisions",
            11 "0011_passed_over_and_forgotten"));
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        // What `run` calls; its own signature does not take a transaction in a future that is Send.
        let done = migrator.run_direct(None, &mut *tx, false).await;
        if done.is_ok() {
            tx.commit().await?;
        }
        (migrator, done)
    } else {
        return Ok(());
    };
    let known = migrator.iter().map(|m| m.version).max().unwrap_or(0);
    done.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > known => Error::Newer { found, known },
        other => Error::Migrate(other),
    })
}
