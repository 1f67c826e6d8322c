//! PostgreSQL's plans.

use crate::{Finding, GROWS};
use serde_json::Value;
use std::collections::BTreeSet;
use windlass_store::Store;

/// Has PostgreSQL tell the plan of everything that it is asked from the next connection on.
///
/// # Panics
/// Where the test's role may not.
pub(crate) async fn explain(store: &Store) {
    let mut session = store.read().await.unwrap();
    let (name,): (String,) = session
        .sql("SELECT current_database()::text")
        .one()
        .await
        .unwrap();
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_format = 'json'",
        "auto_explain.log_level = 'notice'",
        "client_min_messages = 'notice'",
        // A whole table is then read only where there is no other way.
        "enable_seqscan = off",
        // Of two tiny tables each is as well read whole; of two large ones one is looked up for the other.
        "enable_hashjoin = off",
        "enable_mergejoin = off",
    ] {
        session
            .built(format!("ALTER DATABASE {name} SET {setting}"))
            .execute()
            .await
            .unwrap_or_else(|error| panic!("a superuser's role is needed: {error}"));
    }
}

/// Indices that hold only some of the rows: one read from end to end is what it is there for.
pub(crate) async fn partial_indices(store: &Store) -> BTreeSet<String> {
    let mut session = store.read().await.unwrap();
    let names: Vec<(String,)> = session
        .sql(
            "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indpred IS NOT NULL",
        )
        .all()
        .await
        .unwrap();
    names.into_iter().map(|(name,)| name).collect()
}

/// Which statements read which table, or a whole index of it, from end to end.
pub(crate) fn whole_tables(
    plans: &BTreeSet<String>,
    partial: &BTreeSet<String>,
) -> BTreeSet<Finding> {
    let mut found = BTreeSet::new();
    for said in plans {
        let Some((_, plan)) = said.split_once("plan:\n") else {
            continue;
        };
        let plan: Value = serde_json::from_str(plan).unwrap();
        let sql = plan["Query Text"].as_str().unwrap_or_default();
        let mut tables = BTreeSet::new();
        walk(&plan["Plan"], partial, false, &mut tables);
        found.extend(tables.into_iter().map(|table| (sql.to_owned(), table)));
    }
    found
}

/// `limited`: only the first rows of this one are taken.
fn walk(node: &Value, partial: &BTreeSet<String>, limited: bool, tables: &mut BTreeSet<String>) {
    let of = |field: &str| node[field].as_str().unwrap_or_default();
    let whole = match of("Node Type") {
        "Seq Scan" => true,
        "Index Scan" | "Index Only Scan" => {
            node["Index Cond"].is_null()
                && !partial.contains(of("Index Name"))
                && !(limited && node["Filter"].is_null())
        }
        _ => false,
    };
    let table = of("Relation Name");
    if whole && GROWS.contains(&table) {
        tables.insert(table.to_owned());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, partial, of("Node Type") == "Limit", tables);
    }
}
