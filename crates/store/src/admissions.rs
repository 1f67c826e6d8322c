//! Admissions against what forbids them: whoever admits joins the others who do, and whoever forbids waits
//! until none of them is under way. So what was answered as forbidden holds from then on, for rollouts
//! made meanwhile, too.
//!
//! Taken after a rollout's row and the lock of the limits, and before devices' targets. On SQLite a
//! transaction that writes is the only one.

use crate::db::Session;
use crate::error::Result;
use crate::store::Kind;

/// "admittal", as eight letters.
const KEY: i64 = 0x6164_6d69_7474_616c;

/// Before the facts are read on which admissions rest: until the transaction ends nobody forbids any.
///
/// # Errors
/// Whatever the database says.
pub async fn join(session: &mut Session) -> Result<()> {
    if session.kind() == Kind::Postgres {
        session
            .sql("SELECT pg_advisory_xact_lock_shared($1)")
            .bind(KEY)
            .execute()
            .await?;
    }
    Ok(())
}

/// Before something is written that forbids admissions: those under way are over then, and those to
/// come see it.
///
/// # Errors
/// Whatever the database says.
pub(crate) async fn shut(session: &mut Session) -> Result<()> {
    if session.kind() == Kind::Postgres {
        session
            .sql("SELECT pg_advisory_xact_lock($1)")
            .bind(KEY)
            .execute()
            .await?;
    }
    Ok(())
}
