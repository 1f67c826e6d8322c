//! When devices were seen: noted in memory by every poll and report, written in groups.

use crate::cache::Cache;
use chrono::TimeDelta;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use windlass_service::Deps;
use windlass_service::work::{Loop, Next};
use windlass_store::{Error, presence};

/// Devices of one transaction at most: their rows are locked until it ends.
const GROUP: usize = 5000;
/// Looked back beyond the last writing, so that rounding loses nobody.
const MARGIN: Duration = Duration::from_millis(200);

/// The loop that writes it, every so often.
pub(crate) fn writer(deps: &Deps, cache: Arc<Cache>, every: Duration) -> Loop {
    let deps = deps.clone();
    let written: Arc<Mutex<Option<Instant>>> = Arc::default();
    Loop::new("device-presence", every, &[], move || {
        let (deps, cache, written) = (deps.clone(), Arc::clone(&cache), Arc::clone(&written));
        async move {
            let began = Instant::now();
            let before = *written.lock().unwrap_or_else(PoisonError::into_inner);
            let back = before.map_or(Duration::MAX, |at| began - at + MARGIN);
            write(&deps, &cache, back).await?;
            *written.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
            Ok::<_, Error>(Next::Idle)
        }
    })
}

async fn write(deps: &Deps, cache: &Cache, back: Duration) -> Result<(), Error> {
    for group in cache.seen_within(back).chunks(GROUP) {
        let mut session = deps.store.begin().await?;
        // The time of the store, which all deadlines are by, less how long ago it was.
        let now = session.now();
        let times: Vec<_> = group
            .iter()
            .filter_map(|(device, ago)| Some((*device, now - TimeDelta::from_std(*ago).ok()?)))
            .collect();
        presence::seen(&mut session, &times).await?;
        deps.commit(session).await?;
    }
    Ok(())
}
