//! Answering with the rollouts a delivery led to, for those who wait for them (RFC 7240, `wait`).

use actix_web::http::header::HeaderMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use windlass_bus::Doorbell;
use windlass_service::Deps;
use windlass_store::deliveries::{self, Stored};
use windlass_store::images;
use windlass_types::event::EventType;

/// The planner's decisions.
const DECIDED: &[EventType] = &[EventType::RolloutCreated, EventType::UpdateIgnored];
/// How often is looked without being woken.
const LOOK: Duration = Duration::from_millis(500);

/// The seconds that a client is ready to wait, up to `most`.
pub(crate) fn wait_of(headers: &HeaderMap, most: u64) -> Option<u64> {
    headers
        .get_all("prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let preference = preference.split(';').next()?;
            let (name, value) = preference.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse::<u64>().ok()?;
            name.trim()
                .eq_ignore_ascii_case("wait")
                .then_some(seconds.min(most))
        })
}

/// Waits until the planner has decided about every version that a delivery is about, or time is up,
/// and reads the delivery again. The delivery is durable already, so a store that fails now only makes
/// the answer shorter.
pub(crate) async fn with_rollouts(
    deps: &Deps,
    mut bell: Doorbell,
    mut stored: Stored,
    wait: Duration,
) -> Stored {
    let until = Instant::now() + wait;
    loop {
        match read(deps, &stored).await {
            Ok((now, undecided)) => {
                stored = now;
                if undecided == 0 {
                    return stored;
                }
            }
            Err(error) => tracing::debug!(%error, "the rollouts of a delivery cannot be read"),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return stored;
        }
        tokio::select! {
            // Woken or not, what counts is read.
            _ = timeout(left.min(LOOK), bell.next_of(DECIDED)) => {}
            () = deps.shutdown.cancelled() => return stored,
        }
    }
}

async fn read(deps: &Deps, stored: &Stored) -> windlass_store::Result<(Stored, i64)> {
    let mut session = deps.store.read().await?;
    // Counted first: what is decided between the two readings is seen by the second.
    let undecided = images::undecided(&mut session, &stored.versions).await?;
    let id = stored.detail.delivery.outcome.delivery_id;
    let now = deliveries::get(&mut session, id).await?;
    Ok((now.unwrap_or_else(|| stored.clone()), undecided))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    #[test]
    fn the_wait_is_read_among_other_preferences() {
        let cases = [
            (vec!["wait=5"], Some(5)),
            (vec!["Wait = 5"], Some(5)),
            (vec!["wait=\"7\""], Some(7)),
            (vec!["respond-async, wait=10; x=1"], Some(10)),
            (vec!["return=minimal", "wait=3"], Some(3)),
            (vec!["wait=600"], Some(30)),
            (vec!["wait=0"], Some(0)),
            (vec!["wait"], None),
            (vec!["wait=soon"], None),
            (vec!["wait=-1"], None),
            (vec!["await=5"], None),
            (vec![], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in &values {
                let value = HeaderValue::from_str(value).unwrap();
                headers.append(HeaderName::from_static("prefer"), value);
            }
            assert_eq!(wait_of(&headers, 30), expected, "{values:?}");
        }
    }
}
