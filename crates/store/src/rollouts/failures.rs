//! What counts against failure budgets.

use super::facts::{count, shipped_digest};
use crate::db::Session;
use crate::error::Result;
use crate::quarantine::of_class;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use windlass_types::facts::{ClassCount, FailureCount};
use windlass_types::ids::RolloutId;
use windlass_types::image::Digest;
use windlass_types::rollout::{BatchProgress, Rollout};

/// A rollout's verdicts that count.
struct Counted {
    rollout: RolloutId,
    /// A person took those up to here upon themselves.
    from: DateTime<Utc>,
    /// The digest, where it is in quarantine for classes of devices: they are left out.
    without_classes_of: Option<Digest>,
    /// How many verdicts in a row matter.
    row: i64,
}

/// What counts against the failure budget of a rollout. Give this to `budget::exceeded`, not
/// [`super::progress`]: a person who resumed a rollout took the failures up to then upon themselves,
/// and a class that its digest is in quarantine for has been dealt with.
///
/// # Errors
/// Whatever the database says.
pub async fn failure_count(session: &mut Session, rollout: &Rollout) -> Result<FailureCount> {
    let from: Option<(Option<DateTime<Utc>>,)> = session
        .sql("SELECT failures_from FROM image_rollouts WHERE id = $1")
        .bind(rollout.id.0)
        .optional()
        .await?;
    let digest = shipped_digest(session, rollout.id).await?;
    let held = match &digest {
        Some(digest) => held_classes(session, digest).await?,
        None => Vec::new(),
    };
    let counted = Counted {
        rollout: rollout.id,
        from: from
            .and_then(|(from,)| from)
            .unwrap_or(DateTime::UNIX_EPOCH),
        without_classes_of: digest.filter(|_| !held.is_empty()),
        row: i64::from(rollout.rule.failure.max_consecutive_failures),
    };
    let batches = by_batch(session, &counted).await?;
    let others = batches
        .iter()
        .any(|batch| batch.environment_failed > 0 || batch.went_silent > 0);
    let classes = match &rollout.rule.failure.quarantine_by {
        Some(key) => by_class(session, &counted, key, &held).await?,
        None => Vec::new(),
    };
    Ok(FailureCount {
        latest_failed: latest(session, &counted).await?,
        admitted: if others {
            admitted(session, &counted).await?
        } else {
            0
        },
        batches,
        classes,
    })
}

/// The classes, as tag and value, for which a digest is in quarantine.
async fn held_classes(session: &mut Session, digest: &Digest) -> Result<Vec<(String, String)>> {
    session
        .sql(
            "SELECT tag_key, tag_value FROM quarantined_digests \
             WHERE digest = $1 AND tag_key <> ''",
        )
        .bind(digest.to_string())
        .all()
        .await
}

impl Counted {
    /// The condition on `d` that leaves out whoever does not count; its digest is `$3`.
    fn others(&self) -> String {
        match self.without_classes_of {
            Some(_) => format!(" AND NOT {}", of_class("d.device_uuid", "$3")),
            None => String::new(),
        }
    }

    fn digest(&self) -> Option<String> {
        self.without_classes_of.as_ref().map(Digest::to_string)
    }
}

async fn by_batch(session: &mut Session, counted: &Counted) -> Result<Vec<BatchProgress>> {
    let mut batches: BTreeMap<i64, BatchProgress> = BTreeMap::new();
    let sql = format!(
        "SELECT d.batch, d.verdict, COUNT(*) FROM device_rollout_status d \
         WHERE d.rollout_id = $1 AND d.verdict IS NOT NULL AND d.judged_at > $2{} \
         GROUP BY d.batch, d.verdict",
        counted.others()
    );
    let mut judged = session
        .built(sql)
        .bind(counted.rollout.0)
        .bind(counted.from);
    if let Some(digest) = counted.digest() {
        judged = judged.bind(digest);
    }
    let rows: Vec<(i64, String, i64)> = judged.all().await?;
    for (number, verdict, devices) in rows {
        count(of(&mut batches, number), Some(&verdict), devices);
    }
    let sql = format!(
        "SELECT d.batch, COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = $1 \
         AND d.status = 'unreachable' AND d.reason = 'silent_after_update' \
         AND d.updated_at > $2{} GROUP BY d.batch",
        counted.others()
    );
    let mut silent = session
        .built(sql)
        .bind(counted.rollout.0)
        .bind(counted.from);
    if let Some(digest) = counted.digest() {
        silent = silent.bind(digest);
    }
    let rows: Vec<(i64, i64)> = silent.all().await?;
    for (number, devices) in rows {
        of(&mut batches, number).went_silent += devices;
    }
    Ok(batches.into_values().collect())
}

fn of(batches: &mut BTreeMap<i64, BatchProgress>, number: i64) -> &mut BatchProgress {
    batches.entry(number).or_insert_with(|| BatchProgress {
        batch: number,
        ..BatchProgress::default()
    })
}

/// Whether the latest verdicts on the image are failures, newest first.
async fn latest(session: &mut Session, counted: &Counted) -> Result<Vec<bool>> {
    let with_digest = counted.without_classes_of.is_some();
    let sql = format!(
        "SELECT d.verdict FROM device_rollout_status d WHERE d.rollout_id = $1 \
         AND d.verdict IS NOT NULL AND d.verdict IN ('healthy', 'failed') \
         AND d.judged_at > $2{} ORDER BY d.judged_at DESC, d.device_uuid DESC LIMIT CAST(${} AS BIGINT)",
        counted.others(),
        if with_digest { 4 } else { 3 }
    );
    let mut statement = session
        .built(sql)
        .bind(counted.rollout.0)
        .bind(counted.from);
    if let Some(digest) = counted.digest() {
        statement = statement.bind(digest);
    }
    let rows: Vec<(String,)> = statement.bind(counted.row).all().await?;
    Ok(rows.iter().map(|(verdict,)| verdict == "failed").collect())
}

/// Devices that were admitted, without those whose end a person took upon themselves.
async fn admitted(session: &mut Session, counted: &Counted) -> Result<i64> {
    let sql = format!(
        "SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = $1 \
         AND d.admitted_at IS NOT NULL AND d.status <> 'skipped' \
         AND (d.judged_at IS NULL OR d.judged_at > $2) \
         AND (d.status <> 'unreachable' OR d.updated_at > $2){}",
        counted.others()
    );
    let mut statement = session
        .built(sql)
        .bind(counted.rollout.0)
        .bind(counted.from);
    if let Some(digest) = counted.digest() {
        statement = statement.bind(digest);
    }
    let (devices,): (i64,) = statement.one().await?;
    Ok(devices)
}

/// The verdicts of each value of a tag, and one more value of the rollout's devices, where those that
/// were judged all have the same: whether there are others.
async fn by_class(
    session: &mut Session,
    counted: &Counted,
    key: &str,
    held: &[(String, String)],
) -> Result<Vec<ClassCount>> {
    let mut classes: BTreeMap<String, ClassCount> = BTreeMap::new();
    let rows: Vec<(String, i64, i64)> = session
        .sql(
            "SELECT COALESCE(t.value, ''), COUNT(*), COUNT(CASE d.verdict WHEN 'failed' THEN 1 END) \
             FROM device_rollout_status d \
             LEFT JOIN device_tags t ON t.device_uuid = d.device_uuid AND t.key = $3 \
             WHERE d.rollout_id = $1 AND d.verdict IS NOT NULL \
             AND d.verdict IN ('healthy', 'failed') AND d.judged_at > $2 GROUP BY 1",
        )
        .bind(counted.rollout.0)
        .bind(counted.from)
        .bind(key.to_owned())
        .all()
        .await?;
    for (value, attempted, failed) in rows {
        let class = class(&mut classes, value);
        (class.attempted, class.failed) = (attempted, failed);
    }
    let rows: Vec<(String, String)> = session
        .sql(
            "SELECT class, verdict FROM (SELECT COALESCE(t.value, '') AS class, d.verdict, \
             ROW_NUMBER() OVER (PARTITION BY COALESCE(t.value, '') \
             ORDER BY d.judged_at DESC, d.device_uuid DESC) AS place \
             FROM device_rollout_status d \
             LEFT JOIN device_tags t ON t.device_uuid = d.device_uuid AND t.key = $3 \
             WHERE d.rollout_id = $1 AND d.verdict IS NOT NULL \
             AND d.verdict IN ('healthy', 'failed') AND d.judged_at > $2) ranked \
             WHERE place <= $4 ORDER BY class, place",
        )
        .bind(counted.rollout.0)
        .bind(counted.from)
        .bind(key.to_owned())
        .bind(counted.row)
        .all()
        .await?;
    for (value, verdict) in rows {
        let class = class(&mut classes, value);
        class.latest_failed.push(verdict == "failed");
    }
    for (_, value) in held.iter().filter(|(held, _)| held == key) {
        class(&mut classes, value.clone()).quarantined = true;
    }
    if let (Some(only), 1) = (classes.keys().next().cloned(), classes.len())
        && let Some(other) = another_class(session, counted.rollout, key, only).await?
    {
        class(&mut classes, other);
    }
    Ok(classes.into_values().collect())
}

fn class(classes: &mut BTreeMap<String, ClassCount>, value: String) -> &mut ClassCount {
    classes.entry(value.clone()).or_insert_with(|| ClassCount {
        value,
        ..ClassCount::default()
    })
}

async fn another_class(
    session: &mut Session,
    rollout: RolloutId,
    key: &str,
    than: String,
) -> Result<Option<String>> {
    let row: Option<(String,)> = session
        .sql(
            "SELECT COALESCE(t.value, '') FROM device_rollout_status d \
             LEFT JOIN device_tags t ON t.device_uuid = d.device_uuid AND t.key = $2 \
             WHERE d.rollout_id = $1 AND COALESCE(t.value, '') <> $3 LIMIT 1",
        )
        .bind(rollout.0)
        .bind(key.to_owned())
        .bind(than)
        .optional()
        .await?;
    Ok(row.map(|(value,)| value))
}
