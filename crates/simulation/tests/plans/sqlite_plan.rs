//! SQLite's plans.

use crate::{Finding, GROWS};
use std::collections::{BTreeMap, BTreeSet};
use windlass_store::Store;

/// Which statements read which table, or a whole index of it, from end to end.
pub(crate) async fn whole_tables(
    store: &Store,
    statements: &BTreeSet<String>,
) -> BTreeSet<Finding> {
    let mut session = store.begin().await.unwrap();
    let partial: Vec<(String,)> = session
        .sql("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
        .all()
        .await
        .unwrap();
    let partial: BTreeSet<String> = partial.into_iter().map(|(name,)| name).collect();
    let mut found = BTreeSet::new();
    for sql in statements {
        let sql = sql.trim();
        let first = sql.split_whitespace().next().unwrap_or_default();
        // Several at once are only the simulation's, which empties the database.
        let several = sql.contains(';');
        if several || !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&first) {
            continue;
        }
        let rows: Vec<(i64, i64, i64, String)> = session
            .built(format!("EXPLAIN QUERY PLAN {sql}"))
            .all()
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        // The first row of an index is not the whole of it.
        let sorted = rows.iter().any(|row| row.3.contains("TEMP B-TREE"));
        if sql.ends_with("LIMIT 1") && !sql.contains("WHERE") && !sorted {
            continue;
        }
        let tables = names(sql);
        for (_, _, _, step) in rows {
            let mut words = step.split_whitespace();
            let (Some("SCAN"), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            let index = step.split("INDEX ").nth(1);
            let index = index.and_then(|rest| rest.split_whitespace().next());
            if index.is_some_and(|index| partial.contains(index)) {
                continue;
            }
            if let Some(table) = tables.get(name) {
                found.insert((sql.to_owned(), (*table).to_owned()));
            }
        }
    }
    session.rollback().await.unwrap();
    found
}

/// What a statement calls the tables that grow.
fn names(sql: &str) -> BTreeMap<&str, &'static str> {
    let words: Vec<&str> = sql
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let mut names = BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        let Some(table) = GROWS.iter().find(|table| *table == word) else {
            continue;
        };
        names.insert(*table, *table);
        let next = words.get(at + 1..).unwrap_or_default();
        let next = next.iter().find(|word| !word.eq_ignore_ascii_case("AS"));
        if let Some(alias) = next {
            names.insert(*alias, *table);
        }
    }
    names
}
