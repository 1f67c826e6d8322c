//! Whether a device that failed for a reason that is not the image's is tried again.

use super::{Presence, Steps};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use windlass_types::policy::RetryRule;

/// The longest wait before a retry.
const LONGEST: i64 = 3600;

/// When a device that was tried again so often already may be admitted again; none once its retries are
/// used up. The wait doubles with each of them.
#[must_use]
pub fn again(rule: &RetryRule, retries: i64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if retries >= i64::from(rule.budget) {
        return None;
    }
    let doubled = u32::try_from(retries.max(0))
        .ok()
        .and_then(|times| 1_i64.checked_shl(times))
        .and_then(|factor| factor.checked_mul(i64::from(rule.backoff_seconds.max(1))))
        .filter(|wait| *wait > 0)
        .unwrap_or(LONGEST);
    Some(now + TimeDelta::seconds(doubled.min(LONGEST)))
}

/// The evidence of a try that is over, for a device that is tried again: its steps are told anew and
/// its time begins anew.
#[must_use]
pub fn put_off(mut evidence: Value, retries: i64, at: DateTime<Utc>) -> Value {
    if let Some(fields) = evidence.as_object_mut() {
        fields.insert("steps".to_owned(), json!(Steps::default().names()));
        fields.insert("presence".to_owned(), Presence::default().write());
        fields.insert("retries".to_owned(), json!(retries));
        fields.insert("retry_at".to_owned(), json!(at));
    }
    evidence
}
