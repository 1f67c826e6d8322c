//! `windlass registries`.

use crate::cli::Registries;
use crate::exit::Failure;
use crate::output::{Out, Table};
use crate::times::relative;
use chrono::Utc;
use windlass_client::{Client, PageQuery};
use windlass_types::registry::{RegistryWatch, WatchedRepository};

pub(crate) async fn run(
    client: &Client,
    command: Option<Registries>,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut page = PageQuery::default();
    let mut watch = client.registry_watch(&page).await?;
    while let Some(next) = watch.next.take() {
        page.after = Some(next);
        let more = client.registry_watch(&page).await?;
        watch.repositories.extend(more.repositories);
        watch.next = more.next;
    }
    if out.is_json() {
        return out.json(&watch);
    }
    match command.unwrap_or(Registries::List) {
        Registries::List => {
            let nothing = if watch.enabled {
                "no repository is looked at: no enabled policy is about one that devices run"
            } else {
                "nothing is looked at: watch.enabled is false"
            };
            out.table(&repositories(&watch), nothing)
        }
        Registries::Limits => out.table(&limits(&watch), "no registry was asked yet"),
    }
}

fn repositories(watch: &RegistryWatch) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&[
        "repository",
        "looked at",
        "next",
        "webhook",
        "found",
        "missed",
        "note",
    ]);
    for row in &watch.repositories {
        let when = |at: Option<_>| at.map_or_else(|| "never".to_owned(), |at| relative(at, now));
        table.row([
            row.repository.to_string(),
            when(row.looked_at),
            relative(row.next_look_at, now),
            when(row.webhook_at),
            row.found.to_string(),
            row.missed.to_string(),
            note(row),
        ]);
    }
    table
}

fn note(row: &WatchedRepository) -> String {
    let missed = || {
        let endpoint = row.missed_by.as_ref()?;
        Some(format!("webhooks of {endpoint} do not all come"))
    };
    row.error.clone().or_else(missed).unwrap_or_default()
}

fn limits(watch: &RegistryWatch) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&[
        "registry",
        "requests",
        "this minute",
        "left",
        "left alone until",
    ]);
    for row in &watch.registries {
        let left = match (row.remaining, row.limit) {
            (Some(remaining), Some(limit)) => format!("{remaining} of {limit}"),
            (Some(remaining), None) => remaining.to_string(),
            (None, _) => "not told".to_owned(),
        };
        let held = match (row.held_until, row.watch_held_until) {
            (Some(at), _) => relative(at, now),
            (None, Some(at)) => format!("{} (by the watch)", relative(at, now)),
            (None, None) => String::new(),
        };
        table.row([
            row.registry.clone(),
            row.requests.to_string(),
            row.requests_this_minute.to_string(),
            left,
            held,
        ]);
    }
    table
}
