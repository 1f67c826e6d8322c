//! Why a device stands where it stands in one rollout.

use super::text::{name, words};
use super::{DeviceReason, Since, rollout};
use crate::checks::name_of;
use crate::image_match::{Match, compare};
use crate::windows;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use windlass_types::observation::ServiceObservation;
use windlass_types::rollout::{CheckStatus, DeviceStatus, RolloutDevice, SkipReason};
use windlass_types::why::facts::{DeviceStory, Place};

type Found = Since<DeviceReason>;

/// The reasons of one place, in the order in which they decide.
pub(super) fn reasons(story: &DeviceStory, place: &Place, now: DateTime<Utc>) -> Vec<Found> {
    let mut found = of_status(story, place, now);
    found.extend(rollback_waits(place));
    found
}

fn of_status(story: &DeviceStory, place: &Place, now: DateTime<Utc>) -> Vec<Found> {
    let (row, view) = (&place.row, &place.rollout.view);
    let image = name(&view.image);
    let until = row.deadline_at;
    let moved = Some(row.updated_at);
    let one = |reason| vec![Since::new(reason, moved)];
    match row.status {
        DeviceStatus::Pending => pending(story, place, image, now),
        DeviceStatus::Scheduled => vec![Since::new(
            DeviceReason::NotPolled { image, until },
            row.admitted_at.or(moved),
        )],
        DeviceStatus::Updating => updating(story, image, until, row),
        DeviceStatus::Verifying => verifying(story, place, image),
        DeviceStatus::Completed => vec![Since::new(
            DeviceReason::Completed { image },
            row.judged_at.or(moved),
        )],
        DeviceStatus::Failed => failed(place, image),
        DeviceStatus::Unreachable if silent_after_update(row) => {
            one(DeviceReason::SilentAfterUpdate { image })
        }
        DeviceStatus::Unreachable => one(DeviceReason::Unreachable { image }),
        DeviceStatus::Inconclusive => one(DeviceReason::Inconclusive {
            image,
            what: summary(row),
        }),
        DeviceStatus::Skipped => {
            let reason: Option<SkipReason> =
                row.reason.as_deref().and_then(|text| text.parse().ok());
            one(DeviceReason::Skipped {
                image,
                reason,
                other: place.other.as_deref().map(name),
                detail: row.reason.as_deref().map(spoken),
            })
        }
        DeviceStatus::RollingBack => one(DeviceReason::RollingBack {
            from: image,
            to: row.rollback_image.as_deref().map(name),
            until,
        }),
        DeviceStatus::RolledBack => one(DeviceReason::RolledBack {
            from: image,
            to: row.rollback_image.as_deref().map(name),
            what: row.reason.as_deref().map(spoken),
        }),
        DeviceStatus::RollbackFailed => one(DeviceReason::RollbackFailed {
            from: image,
            to: row.rollback_image.as_deref().map(name),
            what: row.reason.as_deref().map(spoken),
        }),
    }
}

/// What it waits for itself, then what its rollout waits for.
fn pending(story: &DeviceStory, place: &Place, image: String, now: DateTime<Utc>) -> Vec<Found> {
    let (row, rollout_row) = (&place.row, &place.rollout.view.rollout);
    let mut found = vec![Since::new(
        DeviceReason::Turn {
            image: image.clone(),
            batch: row.batch,
            batches: rollout_row.batch_count,
        },
        Some(rollout_row.created_at),
    )];
    found.extend(
        rollout(&place.rollout, now)
            .into_iter()
            .map(|held| Since::new(DeviceReason::Held(held.reason), held.since)),
    );
    if let Some(at) = row.retry_at.filter(|at| *at > now) {
        let reason = DeviceReason::RetryHere {
            image,
            tried: row.retries,
            of: i64::from(rollout_row.rule.failure.retry.budget),
            what: summary(row),
            at,
        };
        found.insert(1, Since::new(reason, Some(row.updated_at)));
    }
    let windows = &rollout_row.rule.maintenance_windows;
    let zone = story.device.time_zone.as_deref();
    // Where the rollout waits for windows, the device's own may open later than the first.
    if windows.iter().any(|window| window.time_zone.is_none())
        && !windows::is_open(windows, zone, now)
    {
        let reason = DeviceReason::WindowClosedHere {
            zone: zone.unwrap_or("UTC").to_owned(),
            opens_at: windows::opens_at(windows, zone, now),
        };
        found.push(Since::new(reason, None));
    }
    let full = place
        .labels
        .iter()
        .filter(|used| used.unavailable >= used.limit);
    found.extend(full.map(|used| {
        let reason = DeviceReason::LabelLimitHere {
            key: used.key.clone(),
            value: used.value.clone(),
            limit: used.limit,
            unavailable: used.unavailable,
            stuck: used.stuck,
            holders: used.holders.clone(),
        };
        Since::new(reason, None)
    }));
    found
}

fn updating(
    story: &DeviceStory,
    image: String,
    until: Option<DateTime<Utc>>,
    row: &RolloutDevice,
) -> Vec<Found> {
    let step = story
        .observation
        .services
        .iter()
        .filter(|service| service.phase_since >= row.admitted_at)
        .find_map(|service| Some((service.phase.as_deref()?, service.phase_since)));
    let (reason, since) = match step {
        Some(("pulling", since)) => (DeviceReason::Pulling { image, until }, since),
        Some(("pulled" | "starting", since)) => (DeviceReason::Pulled { image, until }, since),
        _ => (
            DeviceReason::Updating { image, until },
            Some(row.updated_at),
        ),
    };
    vec![Since::new(reason, since)]
}

fn verifying(story: &DeviceStory, place: &Place, image: String) -> Vec<Found> {
    let row = &place.row;
    let health = place.rollout.view.rollout.rule.health_of(row.batch);
    let admitted = row.admitted_at.unwrap_or(row.updated_at);
    let moved: Vec<&ServiceObservation> = story
        .observation
        .services
        .iter()
        .filter(|service| runs(service, &place.rollout.view.image))
        .collect();
    let since = moved
        .iter()
        .filter_map(|service| service.running_since)
        .max()
        .map(|at| at.max(admitted));
    let window = TimeDelta::seconds(i64::from(health.stable_window_seconds));
    let stable_until = since.map(|at| at + window);
    let restarts = moved
        .iter()
        .filter(|service| service.image_since >= Some(admitted))
        .map(|service| service.restarts)
        .max()
        .unwrap_or(0);
    let reason = if restarts > 0 {
        DeviceReason::Restarting {
            image,
            restarts,
            stable_until,
        }
    } else {
        DeviceReason::Verifying {
            image,
            stable_until,
        }
    };
    let mut found = vec![Since::new(reason, since.or(Some(row.updated_at)))];
    for check in &place.checks {
        if check.status == CheckStatus::Passed {
            continue;
        }
        let position = usize::try_from(check.position).unwrap_or(usize::MAX);
        let rule = health.checks.get(position);
        let reason = DeviceReason::CheckPending {
            name: rule.map_or_else(|| "check".to_owned(), |rule| name_of(rule, position)),
            tries: check.tries,
            said: Some(check.output.clone()).filter(|said| !said.is_empty()),
            until: check.deadline_at,
        };
        found.push(Since::new(reason, check.checked_at));
    }
    found
}

fn runs(service: &ServiceObservation, wanted: &str) -> bool {
    service
        .image
        .as_deref()
        .is_some_and(|image| compare(wanted, image, service.digest.as_deref()) == Match::Wanted)
}

fn failed(place: &Place, image: String) -> Vec<Found> {
    let row = &place.row;
    let what = summary(row);
    let reason = if place.environment {
        DeviceReason::FailedEnvironment {
            image,
            tries: row.retries,
            what,
        }
    } else {
        DeviceReason::Failed { image, what }
    };
    vec![Since::new(reason, row.judged_at.or(Some(row.updated_at)))]
}

/// That it waits for its turn to go back.
fn rollback_waits(place: &Place) -> Option<Found> {
    let (row, rollout) = (&place.row, &place.rollout);
    let limit = i64::from(rollout.view.rollout.rule.failure.rollback_max_in_flight);
    let on_their_way = rollout.back.on_their_way;
    let before = place.back_before.filter(|_| on_their_way >= limit)?;
    let reason = DeviceReason::RollbackWaits {
        limit,
        on_their_way,
        before,
    };
    let since = match row.status {
        DeviceStatus::Failed => row.judged_at,
        _ => rollout.turn.as_ref().map(|turn| turn.at),
    };
    Some(Since::new(reason, since))
}

fn silent_after_update(row: &RolloutDevice) -> bool {
    row.reason.as_deref() == Some("silent_after_update")
}

/// What the verdict rests on, in a few words.
fn summary(row: &RolloutDevice) -> Option<String> {
    let told = row
        .evidence
        .as_ref()
        .and_then(|evidence| evidence.get("summary"))
        .and_then(Value::as_str);
    told.map(words)
        .or_else(|| row.reason.as_deref().map(spoken))
}

/// A stored word as people say it.
fn spoken(reason: &str) -> String {
    words(&reason.replace('_', " "))
}
