//! Where a failed device goes back to, and whether it got there.
//!
//! Each device goes back to its own last good image (docs/adr/0008-rollback-and-quarantine.md), never
//! to a digest that failed on it or that is in quarantine.

#[cfg(test)]
mod tests;

use crate::image_match::{Match, compare};
use crate::target::set_image;
use crate::verdict::{Wanted, seconds};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::observation::Observation;
use windlass_types::policy::RolloutRule;
use windlass_types::target::TargetState;

/// A service that is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The app.
    pub app_id: i64,
    /// The service.
    pub service_id: i64,
    /// The image it leaves.
    pub from: String,
    /// The image it goes back to.
    pub to: String,
}

/// How a device goes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its target afterwards.
    pub next: TargetState,
    /// The services that go back; empty where there is nothing to go back to.
    pub moves: Vec<Move>,
    /// How many services stay, for want of an image that is good for them.
    pub stuck: usize,
}

/// What is known of where a device's services were before.
#[derive(Debug, Clone, Default)]
pub struct Past<'a> {
    /// What each service proved healthy on, the latest first.
    pub last_good: BTreeMap<(i64, i64), Vec<String>>,
    /// The target before the rollout.
    pub before: Option<&'a TargetState>,
    /// The services that really ran their image of that target, where no rollout had left it there
    /// unproved: somebody chose it, and later than the last good one was proved.
    pub chosen: BTreeSet<(i64, i64)>,
    /// The digest that a service's image has by its reports.
    pub running: BTreeMap<(i64, i64), (String, Digest)>,
    /// What the rollout's tag named before the rollout's version of it.
    pub tag_was: Option<Digest>,
}

impl Past<'_> {
    /// Notes what a device's reports say of the services that are to go back. `unproved` are images
    /// that rollouts gave this device and that never proved healthy on it.
    pub fn observe(
        &mut self,
        leaving: &[Wanted],
        observation: &Observation,
        unproved: &BTreeSet<String>,
    ) {
        for service in leaving {
            let id = (service.app_id, service.service_id);
            let Some(seen) = observation
                .services
                .iter()
                .find(|s| (s.app_id, s.service_id) == id)
            else {
                continue;
            };
            let digest = seen.digest.as_deref().and_then(|text| text.parse().ok());
            if let (Some(image), Some(digest)) = (seen.image.clone(), digest) {
                self.running.insert(id, (image, digest));
            }
            let is = |wanted: &str, image: &str| compare(wanted, image, None) == Match::Wanted;
            if let Some(had) = self.had(id)
                && [&seen.image, &seen.previous_image]
                    .into_iter()
                    .flatten()
                    .any(|image| is(&had, image))
                && !unproved.iter().any(|image| is(image, &had))
            {
                self.chosen.insert(id);
            }
        }
    }

    /// The service's image before the rollout.
    fn had(&self, id: (i64, i64)) -> Option<String> {
        self.before?
            .services()
            .find(|(app, s)| (*app, s.service_id) == id)
            .map(|(_, s)| s.image_name.clone())
    }

    /// Where a service may go back to, the best first.
    fn candidates(&self, leaving: &Wanted) -> Vec<String> {
        let id = (leaving.app_id, leaving.service_id);
        let repository = repository_of(&leaving.image);
        // What was proved of another repository says nothing about this one's service.
        let good = self.last_good.get(&id).into_iter().flatten();
        let mut order: Vec<String> = good
            .filter(|image| repository_of(image) == repository)
            .cloned()
            .collect();
        let at = if self.chosen.contains(&id) {
            0
        } else {
            order.len()
        };
        if let Some(had) = self.had(id) {
            order.insert(at, had);
        }
        order
            .into_iter()
            .map(|image| self.pinned(image, leaving))
            .collect()
    }

    /// The tag that the rollout moved names the bad image by now, so an image that was named by it
    /// alone is named by the digest it had, where that is known.
    fn pinned(&self, image: String, leaving: &Wanted) -> String {
        if !is_moved_tag(&image, &leaving.image) {
            return image;
        }
        let Ok(parsed) = image.parse::<ImageReference>() else {
            return image;
        };
        let running = self
            .running
            .get(&(leaving.app_id, leaving.service_id))
            .filter(|(runs, _)| compare(&image, runs, None) == Match::Wanted)
            .map(|(_, digest)| digest);
        match running.or(self.tag_was.as_ref()) {
            Some(digest) => parsed.with_version(parsed.tag(), Some(digest)).to_string(),
            None => image,
        }
    }
}

/// Where the services that run a rollout's image go back to: each to the image it proved healthy
/// on, else to the one it had before the rollout, or the other way round where that one was chosen
/// later; and never to a banned digest. Everything else in the target stays as it is.
#[must_use]
pub fn plan(
    present: &TargetState,
    leaving: &[Wanted],
    past: &Past<'_>,
    banned: &BTreeSet<Digest>,
) -> Plan {
    let mut next = present.clone();
    let mut moves = Vec::new();
    let mut stuck = 0;
    for service in leaving {
        let id = (service.app_id, service.service_id);
        let to = past
            .candidates(service)
            .into_iter()
            .find(|image| is_good(image, &service.image, banned));
        match to {
            Some(to) if set_image(&mut next, id.0, id.1, &to) => moves.push(Move {
                app_id: id.0,
                service_id: id.1,
                from: service.image.clone(),
                to,
            }),
            Some(_) | None => stuck += 1,
        }
    }
    Plan { next, moves, stuck }
}

fn repository_of(image: &str) -> Option<Repository> {
    let image: ImageReference = image.parse().ok()?;
    Some(image.repository().clone())
}

/// Whether an image is named by the tag alone that the image that is left has too.
fn is_moved_tag(image: &str, leaving: &str) -> bool {
    let (Ok(image), Ok(leaving)) = (
        image.parse::<ImageReference>(),
        leaving.parse::<ImageReference>(),
    ) else {
        return false;
    };
    image.digest().is_none()
        && image.repository() == leaving.repository()
        && image.tag().unwrap_or("latest") == leaving.tag().unwrap_or("latest")
}

fn is_good(image: &str, leaving: &str, banned: &BTreeSet<Digest>) -> bool {
    let digest_of = |text: &str| {
        text.parse::<ImageReference>()
            .ok()
            .and_then(|image| image.digest().cloned())
    };
    let digest = digest_of(image);
    compare(leaving, image, None) != Match::Wanted
        && !is_moved_tag(image, leaving)
        && digest.as_ref().is_none_or(|digest| {
            !banned.contains(digest) && digest_of(leaving).as_ref() != Some(digest)
        })
}

/// All that is known of a device on its way back.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Since when it is on its way.
    pub since: DateTime<Utc>,
    /// Until when it must be back.
    pub deadline_at: DateTime<Utc>,
    /// The target version that puts it back.
    pub version: i64,
    /// The services that go back, with the images they go back to.
    pub wanted: &'a [Wanted],
    /// What its reports said.
    pub observation: Option<&'a Observation>,
    /// When it polled or reported last.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// What is made of a device on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It runs the image it was put back on.
    RolledBack,
    /// It was there all the time and did not get back.
    TimedOut,
    /// Not yet.
    Wait {
        /// When to look again; after now.
        check_at: DateTime<Utc>,
        /// The deadline from now on.
        deadline_at: DateTime<Utc>,
        /// Whether the device is silent; its time begins when it is back.
        silent: bool,
    },
}

/// How soon to ask again whether a device past its deadline was seen after it.
const RECHECK: TimeDelta = TimeDelta::seconds(5);

/// Judges a device on its way back. It is back when it has received that target and reports its
/// images running; a report of before cannot say that. Silence costs it no time.
#[must_use]
pub fn judge(facts: &Facts<'_>, rule: &RolloutRule, now: DateTime<Utc>) -> Outcome {
    if is_back(facts) {
        return Outcome::RolledBack;
    }
    let seen = facts
        .last_seen_at
        .max(facts.observation.and_then(|o| o.last_report_at));
    let silence = seconds(rule.health.unreachable_after_seconds);
    let silent_at = seen.map_or(facts.since, |at| at.max(facts.since)) + silence;
    if now >= silent_at {
        return Outcome::Wait {
            check_at: now + silence,
            // Looked at again only then; back before, it still has all of its time.
            deadline_at: now + silence + seconds(rule.failure.rollback_timeout_seconds),
            silent: true,
        };
    }
    if now < facts.deadline_at {
        return Outcome::Wait {
            check_at: facts.deadline_at.min(silent_at),
            deadline_at: facts.deadline_at,
            silent: false,
        };
    }
    if seen.is_some_and(|at| at >= facts.deadline_at) {
        return Outcome::TimedOut;
    }
    Outcome::Wait {
        check_at: silent_at.min(now + RECHECK),
        deadline_at: facts.deadline_at,
        silent: false,
    }
}

fn is_back(facts: &Facts<'_>) -> bool {
    let Some(observation) = facts.observation else {
        return false;
    };
    observation.version_received >= Some(facts.version)
        && facts.wanted.iter().filter(|w| w.runs).all(|wanted| {
            observation.services.iter().any(|service| {
                (service.app_id, service.service_id) == (wanted.app_id, wanted.service_id)
                    && service.status == "running"
                    && service.image.as_deref().is_some_and(|image| {
                        compare(&wanted.image, image, service.digest.as_deref()) == Match::Wanted
                    })
            })
        })
}
