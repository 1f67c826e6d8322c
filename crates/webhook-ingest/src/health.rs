//! How endpoints are doing: what was stored, and what the watch found that they were not told of, is counted
//! in the store; what was refused is noted here and written down now and then. A refusal is a stranger's doing, so it must cost less than it costs them.

use crate::state::State;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use windlass_service::Problem;
use windlass_store::{Store, inbox, registry_watch};
use windlass_types::delivery::{Decision, EndpointHealth, Refusal, Share};

/// The days that are counted where none are asked for.
const USUAL: i64 = 7;
/// And at most.
const MOST: i64 = 366;
/// Characters of what was said; a sender's own words are in some of it.
const MOST_DETAIL: usize = 300;

/// Refusals by endpoint and reason.
type Noted = BTreeMap<(String, &'static str), Refusal>;

/// What was refused and is not written down yet. Bounded by endpoints and reasons.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Noted>);

impl Refusals {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one.
    pub(crate) fn note(
        &self,
        endpoint: &str,
        reason: &'static str,
        detail: &str,
        at: DateTime<Utc>,
    ) {
        let one = Refusal {
            reason: reason.to_owned(),
            count: 1,
            last_at: at,
            detail: detail.chars().take(MOST_DETAIL).collect(),
        };
        self.add((endpoint.to_owned(), reason), one);
    }

    fn add(&self, key: (String, &'static str), more: Refusal) {
        self.noted()
            .entry(key)
            .and_modify(|noted| {
                noted.count += more.count;
                if more.last_at >= noted.last_at {
                    noted.last_at = more.last_at;
                    noted.detail.clone_from(&more.detail);
                }
            })
            .or_insert(more);
    }

    /// Writes them down; what cannot be written stays noted.
    pub(crate) async fn write(&self, store: &Store) -> windlass_store::Result<()> {
        let taken = std::mem::take(&mut *self.noted());
        if taken.is_empty() {
            return Ok(());
        }
        let written = async {
            let mut tx = store.begin().await?;
            for ((endpoint, _), refusal) in &taken {
                inbox::refuse(&mut tx, endpoint, refusal).await?;
            }
            tx.commit().await
        };
        match written.await {
            Ok(_) => Ok(()),
            Err(error) => {
                for (key, refusal) in taken {
                    self.add(key, refusal);
                }
                Err(error)
            }
        }
    }
}

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    days: Option<i64>,
}

/// `GET /webhooks/endpoints`: every endpoint that is configured or of which deliveries are kept.
pub(crate) async fn list(
    state: Data<State>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let days = wanted.days.unwrap_or(USUAL);
    if !(1..=MOST).contains(&days) {
        return Err(Problem::Malformed(format!(
            "days is {days}; it may be 1 to {MOST}"
        )));
    }
    // So that what this process refused a moment ago is there.
    state.refusals.write(&state.deps.store).await?;
    let mut session = state.deps.store.read().await?;
    let since = session.now() - TimeDelta::days(days);
    let became = inbox::became(&mut session, since).await?;
    let last = inbox::last_seen(&mut session).await?;
    let refusals = inbox::refusals(&mut session).await?;
    let missed = registry_watch::missed(&mut session, since).await?;
    let mut all: BTreeMap<String, EndpointHealth> = BTreeMap::new();
    let entry = |all: &mut BTreeMap<String, EndpointHealth>, name: &str| {
        let known = state.endpoints.get(name);
        all.entry(name.to_owned())
            .or_insert_with(|| EndpointHealth {
                endpoint: name.to_owned(),
                configured: known.is_some(),
                authenticated: known.is_some_and(crate::endpoints::Endpoint::is_authenticated),
                last_received_at: None,
                last_accepted_at: None,
                last_refusal: None,
                days,
                received: 0,
                accepted: 0,
                duplicate: 0,
                ignored: BTreeMap::new(),
                rejected: 0,
                missed: 0,
                last_missed_at: None,
                refusals: Vec::new(),
            });
    };
    let named = state.endpoints.keys().cloned();
    let others = became.iter().map(|row| row.endpoint.clone());
    let others = others.chain(last.iter().map(|row| row.0.clone()));
    for name in named
        .chain(others)
        .chain(refusals.iter().map(|row| row.0.clone()))
        .chain(missed.iter().map(|row| row.0.clone()))
    {
        entry(&mut all, &name);
    }
    for row in became {
        let Some(health) = all.get_mut(&row.endpoint) else {
            continue;
        };
        health.received += row.count;
        if row.unread {
            health.rejected += row.count;
        } else if row.decision == Decision::Accepted.as_str() {
            health.accepted += row.count;
        } else if row.decision == Decision::Duplicate.as_str() {
            health.duplicate += row.count;
        } else {
            let reason = row.reason_code.unwrap_or_default();
            let share = Share {
                count: row.count,
                share: 0.0,
            };
            health.ignored.insert(reason, share);
        }
    }
    for (name, received, accepted) in last {
        if let Some(health) = all.get_mut(&name) {
            health.last_received_at = Some(received);
            health.last_accepted_at = accepted;
        }
    }
    for (name, count, last) in missed {
        if let Some(health) = all.get_mut(&name) {
            health.missed = count;
            health.last_missed_at = Some(last);
        }
    }
    for (name, refusal) in refusals {
        if let Some(health) = all.get_mut(&name) {
            // The last one comes first.
            health.last_refusal.get_or_insert_with(|| refusal.clone());
            health.refusals.push(refusal);
        }
    }
    for health in all.values_mut() {
        let whole = as_number(health.received.max(1));
        for share in health.ignored.values_mut() {
            share.share = as_number(share.count) / whole;
        }
    }
    let all: Vec<EndpointHealth> = all.into_values().collect();
    Ok(HttpResponse::Ok().json(all))
}

/// A count as a number; counts are far below what a float holds exactly.
fn as_number(count: i64) -> f64 {
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_are_added_up_and_kept_while_the_store_is_away() {
        for test in windlass_testkit::stores().await {
            let refusals = Refusals::default();
            let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
            refusals.note("ci", "unauthorized", "first", at(0));
            refusals.note("ci", "unauthorized", &"long ".repeat(200), at(2));
            refusals.note("ci", "too_slow", "slow", at(1));
            refusals.write(&test.store).await.unwrap();
            refusals.note("ci", "unauthorized", "an older one", at(1));
            refusals.write(&test.store).await.unwrap();
            refusals.write(&test.store).await.unwrap();
            let mut session = test.store.read().await.unwrap();
            let got = inbox::refusals(&mut session).await.unwrap();
            let told: Vec<_> = got
                .iter()
                .map(|(_, refusal)| (refusal.reason.as_str(), refusal.count, refusal.last_at))
                .collect();
            assert_eq!(told, [("unauthorized", 3, at(2)), ("too_slow", 1, at(1))]);
            assert_eq!(got[0].1.detail.len(), 300);
            drop(session);
            refusals.note("ci", "too_many", "x", at(3));
            test.store.close().await;
            assert!(refusals.write(&test.store).await.is_err());
            assert_eq!(refusals.noted().len(), 1);
        }
    }
}
