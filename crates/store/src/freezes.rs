//! Times in which nothing is admitted.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::freeze::Freeze;
use windlass_types::ids::FreezeId;

const COLUMNS: &str = "id, kind, reason, starts_at, ends_at, created_by, created_at, lifted_at, \
     lifted_by, lift_reason";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    reason: String,
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    lifted_at: Option<DateTime<Utc>>,
    lifted_by: Option<String>,
    lift_reason: Option<String>,
}

impl TryFrom<Row> for Freeze {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: FreezeId(row.id),
            kind: parse("freezes.kind", &row.kind)?,
            reason: row.reason,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            created_by: row.created_by,
            created_at: row.created_at,
            lifted_at: row.lifted_at,
            lifted_by: row.lifted_by,
            lift_reason: row.lift_reason,
        })
    }
}

/// Freezes that were not lifted and have not ended, in force or to come, the earliest first.
///
/// # Errors
/// Whatever the database says.
pub async fn open(session: &mut Session) -> Result<Vec<Freeze>> {
    let now = session.now();
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM freezes \
             WHERE lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $1) ORDER BY starts_at, id"
        ))
        .bind(now)
        .all()
        .await?;
    rows.into_iter().map(Freeze::try_from).collect()
}
