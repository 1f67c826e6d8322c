//! How often registries may be asked: one row for each, shared by all replicas.

use crate::db::Session;
use crate::error::Result;
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::registry::RegistryBudget;

/// A request that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    /// Whether it can wait.
    pub background: bool,
    /// Whether it counts against the registry's own limit.
    pub counted: bool,
    /// Requests in a minute at most.
    pub most: i64,
}

/// Until when which requests are not made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Until {
    /// Any.
    pub all: Option<DateTime<Utc>>,
    /// Those that count against the registry's limit.
    pub counted: Option<DateTime<Utc>>,
    /// Those that can wait.
    pub background: Option<DateTime<Utc>>,
    /// Those that count and can wait.
    pub background_counted: Option<DateTime<Utc>>,
}

/// A limit as a registry told it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Requests in a window.
    pub limit: Option<i64>,
    /// Requests that are left.
    pub remaining: Option<i64>,
    /// Seconds of a window.
    pub window_seconds: Option<i64>,
}

/// Spends one request. Where it may not be made, until when.
///
/// # Errors
/// Whatever the database says.
pub async fn spend(
    session: &mut Session,
    registry: &str,
    spend: Spend,
) -> Result<std::result::Result<(), DateTime<Utc>>> {
    let now = session.now();
    let minute_ago = now - TimeDelta::minutes(1);
    let mut held = vec!["all_until"];
    if spend.counted {
        held.push("counted_until");
    }
    if spend.background {
        held.push("background_until");
    }
    if spend.background && spend.counted {
        held.push("background_counted_until");
    }
    let free: String = held
        .iter()
        .map(|column| format!(" AND ({column} IS NULL OR {column} <= $2)"))
        .collect();
    for _ in 0..2 {
        let sql = format!(
            "UPDATE registry_budgets SET requests = requests + 1, \
             spent = CASE WHEN minute_at <= $3 THEN 1 ELSE spent + 1 END, \
             minute_at = CASE WHEN minute_at <= $3 THEN $2 ELSE minute_at END \
             WHERE registry = $1 AND (minute_at <= $3 OR spent < $4){free}"
        );
        let changed = session
            .built(sql)
            .bind(registry.to_owned())
            .bind(now)
            .bind(minute_ago)
            .bind(spend.most)
            .execute()
            .await?;
        if changed == 1 {
            return Ok(Ok(()));
        }
        let sql = format!(
            "SELECT minute_at, spent, {}, {}, {}, {} FROM registry_budgets WHERE registry = $1",
            held.first().copied().unwrap_or("NULL"),
            held.get(1).copied().unwrap_or("all_until"),
            held.get(2).copied().unwrap_or("all_until"),
            held.get(3).copied().unwrap_or("all_until"),
        );
        type Row = (
            DateTime<Utc>,
            i64,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
        );
        let row: Option<Row> = session
            .built(sql)
            .bind(registry.to_owned())
            .optional()
            .await?;
        if let Some((minute_at, spent, a, b, c, d)) = row {
            let used_up = (spent >= spend.most).then(|| minute_at + TimeDelta::minutes(1));
            let until = a.max(b).max(c).max(d).max(used_up);
            // What changed meanwhile is free by now.
            return Ok(Err(until.unwrap_or(now)));
        }
        session
            .sql(
                "INSERT INTO registry_budgets (registry, minute_at, spent, requests) \
                 VALUES ($1, $2, 0, 0) ON CONFLICT (registry) DO NOTHING",
            )
            .bind(registry.to_owned())
            .bind(now)
            .execute()
            .await?;
    }
    Ok(Err(now))
}

/// Notes whether a registry answered, and returns how often in a row it did not. Nothing is noted of
/// one that was never asked.
///
/// # Errors
/// Whatever the database says.
pub async fn answered(session: &mut Session, registry: &str, failed: bool) -> Result<i64> {
    let text = if failed {
        "UPDATE registry_budgets SET failures = failures + 1 WHERE registry = $1 RETURNING failures"
    } else {
        // Its trouble is over.
        "UPDATE registry_budgets SET failures = 0, background_until = NULL WHERE registry = $1 \
         RETURNING failures"
    };
    let row: Option<(i64,)> = session
        .sql(text)
        .bind(registry.to_owned())
        .optional()
        .await?;
    Ok(row.map_or(0, |(failures,)| failures))
}

/// Notes what a registry told of its limit, and until when it is left alone; an earlier end is never
/// put in the place of a later one.
///
/// # Errors
/// Whatever the database says.
pub async fn told(session: &mut Session, registry: &str, limit: Limit, until: Until) -> Result<()> {
    let now = session.now();
    let later = |column: &str, parameter: usize| {
        format!(
            "{column} = CASE WHEN {column} IS NULL OR {column} < ${parameter} \
             THEN COALESCE(${parameter}, {column}) ELSE {column} END"
        )
    };
    let sql = format!(
        "UPDATE registry_budgets SET {}, {}, {}, {}, \
         rate_limit = COALESCE($6, rate_limit), rate_remaining = COALESCE($7, rate_remaining), \
         window_seconds = COALESCE($8, window_seconds), told_at = $9 WHERE registry = $1",
        later("all_until", 2),
        later("counted_until", 3),
        later("background_until", 4),
        later("background_counted_until", 5),
    );
    session
        .built(sql)
        .bind(registry.to_owned())
        .bind(until.all)
        .bind(until.counted)
        .bind(until.background)
        .bind(until.background_counted)
        .bind(limit.limit)
        .bind(limit.remaining)
        .bind(limit.window_seconds)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    registry: String,
    minute_at: DateTime<Utc>,
    spent: i64,
    requests: i64,
    rate_limit: Option<i64>,
    rate_remaining: Option<i64>,
    window_seconds: Option<i64>,
    told_at: Option<DateTime<Utc>>,
    failures: i64,
    all_until: Option<DateTime<Utc>>,
    counted_until: Option<DateTime<Utc>>,
    background_until: Option<DateTime<Utc>>,
    background_counted_until: Option<DateTime<Utc>>,
}

/// Every registry that was asked.
///
/// # Errors
/// Whatever the database says.
pub async fn list(session: &mut Session) -> Result<Vec<RegistryBudget>> {
    let now = session.now();
    let rows: Vec<Row> = session
        .sql(
            "SELECT registry, minute_at, spent, requests, rate_limit, rate_remaining, window_seconds, \
             told_at, failures, all_until, counted_until, background_until, background_counted_until \
             FROM registry_budgets ORDER BY registry",
        )
        .all()
        .await?;
    let still = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
    Ok(rows
        .into_iter()
        .map(|row| RegistryBudget {
            registry: row.registry,
            requests: row.requests,
            requests_this_minute: if row.minute_at <= now - TimeDelta::minutes(1) {
                0
            } else {
                row.spent
            },
            limit: row.rate_limit,
            remaining: row.rate_remaining,
            window_seconds: row.window_seconds,
            told_at: row.told_at,
            failures: row.failures,
            held_until: still(row.all_until).max(still(row.counted_until)),
            watch_held_until: still(row.background_until)
                .max(still(row.background_counted_until))
                .max(still(row.all_until))
                .max(still(row.counted_until)),
        })
        .collect())
}
