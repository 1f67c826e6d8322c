//! Keeping the cache of devices true: filled once, then the event log is followed.

use crate::cache::Cache;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use windlass_service::Deps;
use windlass_service::work::{Loop, Next};
use windlass_store::devices::{self, Change};
use windlass_store::{Error, Session, events};
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::DeviceId;

/// Events that change what the cache holds.
const WAKES: &[EventType] = &[
    EventType::DeviceRegistered,
    EventType::DeviceChanged,
    EventType::DeviceDeleted,
    EventType::TargetSet,
    EventType::ImageUpdateScheduled,
    EventType::RollbackScheduled,
];
/// The log is read at least this often, so that the cache is never older than a second, without the
/// bus as well.
const INTERVAL: Duration = Duration::from_millis(500);
/// What is committed but not settled, because an older transaction is still open, is looked for again after this.
const UNSETTLED: Duration = Duration::from_millis(20);
/// Rows read at once.
const PAGE: i64 = 10_000;

/// The loop that does it.
pub(crate) fn follower(deps: &Deps, cache: Arc<Cache>) -> Loop {
    let deps = deps.clone();
    let place: Arc<Mutex<Option<Cursor>>> = Arc::default();
    Loop::new("device-cache", INTERVAL, WAKES, move || {
        let (deps, cache, place) = (deps.clone(), Arc::clone(&cache), Arc::clone(&place));
        async move {
            let mut place = place.lock().await;
            match *place {
                None => {
                    *place = Some(fill(&deps, &cache).await?);
                    Ok::<_, Error>(Next::Again)
                }
                Some(from) => {
                    let (to, next) = follow(&deps, &cache, from).await?;
                    *place = Some(to);
                    Ok(next)
                }
            }
        }
    })
}

/// Reads every device, and returns the place in the log from which to go on: one before the reading
/// began, so that no change falls between.
async fn fill(deps: &Deps, cache: &Cache) -> Result<Cursor, Error> {
    let mut session = deps.store.read().await?;
    let place = events::head(&mut session).await?;
    let mut after = None;
    loop {
        let page = devices::credentials_page(&mut session, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.device);
        page.iter().for_each(|known| cache.put(known));
    }
    tracing::info!(devices = cache.len(), "the cache of devices is filled");
    Ok(place)
}

/// Takes in what the log says after this place; returns the new place and when to look again.
async fn follow(deps: &Deps, cache: &Cache, from: Cursor) -> Result<(Cursor, Next), Error> {
    let mut session = deps.store.read().await?;
    let changes = devices::changes_after(&mut session, from, PAGE).await?;
    let to = changes.last().map_or(from, |last| last.id);
    take_in(&mut session, cache, &changes).await?;
    if i64::try_from(changes.len()).is_ok_and(|read| read == PAGE) {
        return Ok((to, Next::Again));
    }
    Ok((
        to,
        match events::any_after(&mut session, to).await? {
            true => Next::After(UNSETTLED),
            false => Next::Idle,
        },
    ))
}

/// Takes these changes over.
async fn take_in(session: &mut Session, cache: &Cache, changes: &[Change]) -> Result<(), Error> {
    let reread: Vec<DeviceId> = changes
        .iter()
        .filter(|change| !raised(cache, change))
        .filter_map(|change| change.device)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let found = devices::credentials(session, &reread).await?;
    let mut missing: BTreeSet<DeviceId> = reread.into_iter().collect();
    for known in &found {
        missing.remove(&known.device);
        cache.put(known);
    }
    // Deleted, whatever else was said of them before.
    missing.into_iter().for_each(|device| cache.remove(device));
    Ok(())
}

/// Whether nothing needs to be read for this change: it names the version, or is not about devices.
fn raised(cache: &Cache, change: &Change) -> bool {
    let (Some(kind), Some(device)) = (change.kind, change.device) else {
        return true;
    };
    match (kind, change.version) {
        (EventType::DeviceRegistered | EventType::DeviceChanged, _) => false,
        (kind, Some(version)) if WAKES.contains(&kind) => cache.raise(device, version),
        (kind, _) => !WAKES.contains(&kind),
    }
}
