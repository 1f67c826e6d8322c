//! The sentences about rollouts.

use super::RolloutReason as R;
use crate::why::text::{
    because, list, many, many_are, named, on_the_way, time, times, when, words,
};
use windlass_types::rollout::StatusReason;

pub(super) fn of(reason: &R) -> String {
    match reason {
        R::NextStep => {
            "Nothing holds the rollout: the planner takes its next step in a moment.".to_owned()
        }
        R::PausedByPerson { by, why } => match by {
            Some(by) => format!("{by} paused the rollout{}.", because(why.as_deref())),
            None => format!("The rollout was paused by hand{}.", because(why.as_deref())),
        },
        R::Paused { cause, detail } => format!(
            "The rollout is paused because {}{}.",
            paused(*cause),
            because(detail.as_deref())
        ),
        R::RollbackOrdered { by, why } => format!(
            "{by} ordered that every device goes back, which begins in a moment: {}.",
            words(why)
        ),
        R::Stopped { by, why } => format!(
            "{by} pressed the stop button, so that no device is admitted anywhere: {}.",
            words(why)
        ),
        R::Frozen { by, why, until } => {
            let until = until.map_or_else(
                || "until a person lifts it".to_owned(),
                |at| format!("until {}", time(at)),
            );
            format!(
                "A freeze set by {by} holds every rollout {until}: {}.",
                words(why)
            )
        }
        R::Approval {
            batch,
            devices,
            needed,
            given,
        } => approval(*batch, *devices, *needed, given),
        R::StartTime { at: Some(at) } => format!("The rollout starts at {}.", time(*at)),
        R::StartTime { at: None } => {
            "The rollout starts when its next maintenance window opens.".to_owned()
        }
        R::Delay { batch, until } => format!(
            "Batch {batch} starts at {}, when the delay after the batch before it is over.",
            time(*until)
        ),
        R::Soak { open, total, until } => format!(
            "The image is watched on the canary devices{}; {open} of {} {} not done.",
            when(" until ", *until),
            many(*total, "device"),
            if *open == 1 { "is" } else { "are" }
        ),
        R::Hold { until } => format!(
            "The old and the new version run beside each other until {}; then they are compared.",
            time(*until)
        ),
        R::GateCheck {
            batch,
            name,
            tries,
            said,
            until,
        } => {
            let tried = match tries {
                None => String::new(),
                Some(0) => "; it was not tried yet".to_owned(),
                Some(tries) => format!("; it was tried {}", times(*tries)),
            };
            let said = said
                .as_deref()
                .map(|said| format!(" and said last: {}", words(said)))
                .unwrap_or_default();
            format!(
                "Batch {batch} is done, and its check {name:?} must pass{} before the rollout goes on{tried}{said}.",
                when(" by ", *until)
            )
        }
        R::WindowClosed {
            batch,
            devices,
            zones,
            opens_at,
        } => {
            let devices = many(*devices, "device");
            let zones = if zones.is_empty() {
                String::new()
            } else {
                format!(" in the time zone {}", list(zones))
            };
            let opens = opens_at.map_or_else(
                || "does not open again".to_owned(),
                |at| format!("opens at {}", time(at)),
            );
            format!(
                "The maintenance window{zones} is closed and {opens}; {devices} of batch {batch} wait for it."
            )
        }
        R::InFlightLimit {
            limit,
            in_flight,
            waiting,
            ..
        } => format!(
            "{}, and the policy allows {limit} at once; {waiting} more wait.",
            on_the_way(*in_flight)
        ),
        R::RateLimit {
            per_minute,
            waiting,
            at,
        } => format!(
            "The policy admits {} a minute at this point, and as many were admitted; {waiting} more wait{}.",
            many(*per_minute, "device"),
            when("; the next may go at ", *at)
        ),
        R::LabelLimit {
            tags,
            waiting,
            full,
            ..
        } => {
            let full: Vec<String> = full
                .iter()
                .map(|used| {
                    format!(
                        "where {} is {}, {} of {}{}",
                        used.key,
                        used.value,
                        used.unavailable,
                        used.limit,
                        named(used.unavailable, &used.holders)
                    )
                })
                .collect();
            let full = if full.is_empty() {
                String::new()
            } else {
                format!("; {}", full.join("; "))
            };
            format!(
                "{} wait because as many of those that share their {} as the policy allows are unavailable{full}.",
                many(*waiting, "device"),
                list(tags),
            )
        }
        R::RetryWait { devices, at } => format!(
            "{} failed for reasons that are not the image's and wait for another try{}.",
            many(*devices, "device"),
            when(", the first at ", *at)
        ),
        R::DevicesOnTheirWay {
            batch,
            batches,
            open,
            total,
            until,
        } => format!(
            "{open} of {} of batch {batch} of {batches} {} not done{}.",
            many(*total, "device"),
            if *open == 1 { "is" } else { "are" },
            when("; the last is judged by ", *until)
        ),
        R::BudgetSpent { detail } => format!(
            "The failure budget is spent, so that the rollout is paused in a moment: {}.",
            words(detail)
        ),
        R::RollingBackAll {
            left,
            back,
            failed,
            why,
            until,
        } => format!(
            "The rollout is being taken back{}: {} back{}, {back} went back, {failed} did not get back.",
            why.as_deref()
                .map(|why| format!(" ({})", words(why)))
                .unwrap_or_default(),
            on_the_way(*left),
            when(" until ", *until),
        ),
        R::RollbacksWait {
            waiting,
            limit,
            on_their_way,
        } => format!(
            "{} to go back and {} for {} turn: {} back, and the policy allows {limit} at once.",
            many_are(*waiting, "device"),
            if *waiting == 1 { "waits" } else { "wait" },
            if *waiting == 1 { "its" } else { "their" },
            on_the_way(*on_their_way)
        ),
        R::FreezeOverridden { said } => {
            format!("The rollout goes on in spite of freezes: {}.", words(said))
        }
        R::Completed {
            healthy,
            total,
            skipped,
        } => {
            let skipped = match skipped {
                0 => String::new(),
                1 => "; 1 was left out".to_owned(),
                skipped => format!("; {skipped} were left out"),
            };
            format!(
                "The rollout is complete: {healthy} of {} are healthy on the image{skipped}.",
                many(*total, "device")
            )
        }
        R::Failed { detail } => format!(
            "The rollout ended without success{}.",
            because(detail.as_deref())
        ),
        R::Cancelled { by, why } => match by {
            Some(by) => format!("{by} ended the rollout{}.", because(why.as_deref())),
            None => format!("The rollout was ended by hand{}.", because(why.as_deref())),
        },
        R::Superseded { by: Some(by), .. } => {
            format!("A newer version took the rollout's place: {by}.")
        }
        R::Superseded { by: None, detail } => format!(
            "A newer version took the rollout's place{}.",
            because(detail.as_deref())
        ),
        R::RolledBack { back, failed, why } => format!(
            "The rollout was taken back{}: {back} went back, {failed} did not get back.",
            why.as_deref()
                .map(|why| format!(" ({})", words(why)))
                .unwrap_or_default()
        ),
    }
}

const fn paused(cause: Option<StatusReason>) -> &'static str {
    match cause {
        Some(StatusReason::FailureRate) => "more devices failed than the policy allows",
        Some(StatusReason::ConsecutiveFailures) => "too many devices failed in a row",
        Some(StatusReason::EnvironmentFailures) => {
            "too many devices failed for reasons that are not the image's"
        }
        Some(StatusReason::WentSilent) => {
            "too many devices went silent after they took up the image"
        }
        Some(StatusReason::CheckFailed) => "a check of a batch failed",
        Some(StatusReason::Inconclusive) => "it could not be judged, and that is no pass",
        Some(StatusReason::NoEvidence) => "nothing is known of the image yet",
        Some(StatusReason::Quarantined) => "its image went into quarantine",
        Some(StatusReason::Unsigned) => {
            "its image lacks the signature that its policy wants by now"
        }
        Some(StatusReason::Operator) => "a person asked for it",
        Some(StatusReason::NewerVersion) => "a newer version came",
        None => "it was told to",
    }
}

fn approval(batch: Option<i64>, devices: i64, needed: i64, given: &[String]) -> String {
    let what = batch.map_or_else(
        || format!("The rollout ({})", many(devices, "device")),
        |batch| format!("Batch {batch} ({})", many(devices, "device")),
    );
    match (needed, given) {
        (..=1, _) => format!("{what} waits for a person's approval."),
        (needed, []) => {
            format!("{what} waits for the approval of {needed} people; nobody has approved yet.")
        }
        (needed, given) => format!(
            "{what} waits for the approval of {needed} people; {} approved, and somebody else must too.",
            list(given)
        ),
    }
}
