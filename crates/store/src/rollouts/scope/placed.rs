//! Where a layout puts the devices of a scope, in one statement.

use super::Scope;
use crate::build::Build;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use serde_json::json;
use windlass_core::batches::Layout;

/// A query of (uuid, reason, batch, version) over a scope that has images to move. Skipped devices are in the
/// last batch, so that they do not fill up the first.
pub(crate) fn place(
    sql: &mut Build,
    kind: Kind,
    scope: &Scope,
    layout: &Layout,
    now: DateTime<Utc>,
) {
    sql.text("SELECT y.uuid, y.reason, COALESCE(v.batch, ")
        .value(layout.batches())
        .text(") AS batch, y.version FROM (");
    scope.query(sql, now, None);
    sql.text(") y LEFT JOIN (");
    ranges(sql, kind, layout);
    // A text that is never null, so that both databases join by looking it up.
    sql.text(
        ") v ON v.name = COALESCE('=' || y.value, '') AND y.reason IS NULL \
         AND y.place > v.low AND y.place <= v.high",
    );
}

/// A table (name, batch, low, high) of the ranges of places, however many values there are.
fn ranges(sql: &mut Build, kind: Kind, layout: &Layout) {
    let rows: Vec<_> = layout
        .ranges()
        .into_iter()
        .map(|range| {
            let name = range.value.map_or_else(String::new, |v| format!("={v}"));
            json!([name, range.batch, range.after, range.upto])
        })
        .collect();
    // Reading JSON as rows is where the dialects part.
    match kind {
        Kind::Postgres => sql
            .text(
                "SELECT e ->> 0 AS name, CAST(e ->> 1 AS BIGINT) AS batch, \
                 CAST(e ->> 2 AS BIGINT) AS low, CAST(e ->> 3 AS BIGINT) AS high \
                 FROM jsonb_array_elements(",
            )
            .value(json!(rows))
            .text(") AS e"),
        Kind::Sqlite => sql
            .text(
                "SELECT e.value ->> 0 AS name, e.value ->> 1 AS batch, e.value ->> 2 AS low, \
                 e.value ->> 3 AS high FROM json_each(",
            )
            .value(json!(rows))
            .text(") AS e"),
    };
}
