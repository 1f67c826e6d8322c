//! What a rollout waits for, in a sentence.

use chrono::{DateTime, Utc};
use windlass_types::rollout::{RolloutStatus, RolloutView, StatusReason};

/// The rollout with `waiting_for` filled in.
pub(super) fn fill(mut view: RolloutView, now: DateTime<Utc>) -> RolloutView {
    view.waiting_for = sentence(&view, now);
    view
}

/// None for a rollout that has ended.
fn sentence(view: &RolloutView, now: DateTime<Utc>) -> Option<String> {
    let rollout = &view.rollout;
    match rollout.status {
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Cancelled
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => None,
        RolloutStatus::Pending => Some("the planner, to admit the first batch".to_owned()),
        RolloutStatus::AwaitingApproval => Some("a person's approval".to_owned()),
        RolloutStatus::Scheduled => Some("its start time".to_owned()),
        RolloutStatus::Paused => Some(paused(view)),
        RolloutStatus::RollingBack => {
            let back: i64 = view.batches.iter().map(|batch| batch.rolling_back).sum();
            Some(format!("{} on the way back", devices(back)))
        }
        RolloutStatus::InProgress => Some(in_progress(view, now)),
    }
}

fn paused(view: &RolloutView) -> String {
    let why = match view.rollout.status_reason {
        Some(StatusReason::FailureRate) => "too large a share of its devices failed",
        Some(StatusReason::ConsecutiveFailures) => "too many devices failed in a row",
        Some(StatusReason::NoEvidence) => "no device answered, so nothing is known about the image",
        Some(StatusReason::Quarantined) => "its digest is in quarantine",
        Some(StatusReason::Operator) => "a person paused it",
        Some(StatusReason::NewerVersion) | None => "it is paused",
    };
    let detail = match &view.rollout.status_detail {
        Some(detail) if !detail.is_empty() => format!(" ({detail})"),
        _ => String::new(),
    };
    format!("a person to resume or cancel it: {why}{detail}")
}

fn in_progress(view: &RolloutView, now: DateTime<Utc>) -> String {
    let rollout = &view.rollout;
    let on_the_way: i64 = view
        .batches
        .iter()
        .filter(|batch| batch.batch <= rollout.current_batch)
        .map(|batch| batch.in_flight() + batch.pending)
        .sum();
    if on_the_way > 0 {
        return format!(
            "{} of batch {} to be healthy or judged",
            devices(on_the_way),
            rollout.current_batch
        );
    }
    match rollout.next_batch_at {
        Some(at) if at > now => format!(
            "the delay between batches: batch {} of {} starts at {}",
            rollout.current_batch + 1,
            rollout.batch_count,
            at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
        _ => "the planner, to take the next step".to_owned(),
    }
}

/// `1 device`, `2 devices`.
pub(super) fn devices(count: i64) -> String {
    if count == 1 {
        "1 device".to_owned()
    } else {
        format!("{count} devices")
    }
}
