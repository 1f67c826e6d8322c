//! Reports are written in groups: many devices' in one transaction, and each is answered when that is
//! durable. See docs/adr/0009-device-cache-and-report-groups.md.

use crate::device::held;
use crate::metrics::Metrics;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use windlass_core::observe::{Kind, fold};
use windlass_service::problem::chain;
use windlass_service::{Deps, Problem};
use windlass_store::reports::{self, Before, Taken, Versions};
use windlass_store::{ConstraintKind, Error, JsonText, Kind as Database, events};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::observation::Observation;
use windlass_types::report::Report;

/// How often a group is tried again that another transaction got in the way of.
const ATTEMPTS: usize = 3;

/// Bytes of the reports of one group, about: a transaction is not to hold hundreds of megabytes.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// What a device says.
#[derive(Debug)]
pub struct Said {
    /// The device.
    pub device: DeviceId,
    /// As it came: what stands under the device's uuid.
    pub body: JsonText,
    /// The part of it that is judged.
    pub report: Report,
}

/// A report on its way.
#[derive(Debug)]
struct Incoming {
    said: Said,
    /// Given back when the report is written: so the queue is bounded in bytes, too.
    room: OwnedSemaphorePermit,
    done: oneshot::Sender<Result<Outcome, Refused>>,
}

/// What became of a report that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It counts, or is history; either way it need not come again.
    Done(Kind),
    /// The device is not known any more.
    Unknown,
    /// Another replica took in a report of the device at the same time, each time it was tried.
    Overtaken,
}

/// Why a report could not be taken in now; it is in the log already.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Unavailable,
    Failed,
}

/// Where reports are handed in.
#[derive(Debug, Clone)]
pub(crate) struct ReportWriter {
    queues: Vec<mpsc::Sender<Incoming>>,
}

impl ReportWriter {
    /// Starts the tasks that write. They end when the last handle is dropped and what was handed in
    /// is written.
    pub(crate) fn start(deps: &Deps, metrics: &Metrics, group: usize, queue: usize) -> Self {
        // On PostgreSQL the next group is put together while one waits for its commit; SQLite has
        // one writer anyway. A device's reports always go to the same task, so they stay in order.
        let writers = match deps.store.kind() {
            Database::Postgres => 2,
            Database::Sqlite => 1,
        };
        let queues = (0..writers)
            .map(|_| {
                let (sender, receiver) = mpsc::channel((queue / writers).max(1));
                tokio::spawn(run(deps.clone(), metrics.clone(), group, receiver));
                sender
            })
            .collect();
        Self { queues }
    }

    /// Takes in a report; returns when that is durable.
    ///
    /// # Errors
    /// 503 where too many wait or the store does not answer, 404 for a device that is not known.
    pub(crate) async fn take(&self, said: Said, room: OwnedSemaphorePermit) -> Result<(), Problem> {
        let (done, outcome) = oneshot::channel();
        let device = said.device;
        let incoming = Incoming { said, room, done };
        let place = usize::from(device.0.as_bytes()[15]) % self.queues.len();
        let handed_in = match self.queues.get(place) {
            Some(queue) => queue.try_send(incoming).is_ok(),
            None => false,
        };
        if !handed_in {
            return Err(Problem::Unavailable(None));
        }
        match outcome.await {
            Ok(Ok(Outcome::Done(_))) => Ok(()),
            Ok(Ok(Outcome::Unknown)) => Err(crate::device::unknown(device)),
            Ok(Ok(Outcome::Overtaken) | Err(Refused::Unavailable)) | Err(_) => {
                Err(Problem::Unavailable(None))
            }
            Ok(Err(Refused::Failed)) => Err(Problem::internal(std::io::Error::other(
                "the report could not be stored",
            ))),
        }
    }
}

async fn run(deps: Deps, metrics: Metrics, most: usize, mut queue: mpsc::Receiver<Incoming>) {
    let mut group = Vec::with_capacity(most);
    // What has gathered while the last group was written makes the next one.
    while queue.recv_many(&mut group, most).await > 0 {
        let sizes = group.iter().map(|incoming| held(&incoming.room)).collect();
        let mut rest = std::mem::take(&mut group).into_iter();
        for count in portions(sizes) {
            take_in(&deps, &metrics, rest.by_ref().take(count).collect()).await;
        }
    }
}

/// How many of each run of these sizes fit together; what is larger than a portion makes its own.
fn portions(sizes: Vec<usize>) -> Vec<usize> {
    let mut portions = Vec::new();
    let (mut count, mut bytes) = (0, 0_usize);
    for size in sizes {
        if count > 0 && bytes.saturating_add(size) > GROUP_BYTES {
            portions.push(std::mem::take(&mut count));
            bytes = 0;
        }
        count += 1;
        bytes = bytes.saturating_add(size);
    }
    portions.push(count);
    portions
}

/// Writes a group; where that fails for another reason than the store's absence, each report alone,
/// so that one that cannot be stored does not cost the others.
async fn take_in(deps: &Deps, metrics: &Metrics, mut group: Vec<Incoming>) {
    for tries in 1..=ATTEMPTS {
        match attempt(deps, metrics, &group).await {
            Ok(outcomes) if tries < ATTEMPTS && outcomes.contains(&Outcome::Overtaken) => {
                // All of one device's, in their order; the others are stored.
                let (again, done): (Vec<_>, Vec<_>) = group
                    .into_iter()
                    .zip(outcomes)
                    .partition(|(_, outcome)| *outcome == Outcome::Overtaken);
                let (done, outcomes) = done.into_iter().unzip();
                answer(metrics, done, Ok(outcomes));
                group = again.into_iter().map(|(incoming, _)| incoming).collect();
            }
            Err(error) if !error.is_transient() && group.len() > 1 => {
                tracing::warn!(error = %chain(&error), reports = group.len(),
                    "a group of reports could not be stored; each is tried alone");
                for one in group {
                    Box::pin(take_in(deps, metrics, vec![one])).await;
                }
                return;
            }
            outcomes => return answer(metrics, group, outcomes),
        }
    }
}

async fn attempt(
    deps: &Deps,
    metrics: &Metrics,
    group: &[Incoming],
) -> Result<Vec<Outcome>, Error> {
    let said: Vec<&Said> = group.iter().map(|incoming| &incoming.said).collect();
    let mut tries = 1;
    loop {
        match write(deps, &said).await {
            // A reference: a device that was deleted while its first report was on its way.
            Err(Error::Conflict(_) | Error::Constraint(ConstraintKind::Reference, _))
                if tries < ATTEMPTS =>
            {
                tries += 1;
            }
            outcome => {
                #[expect(clippy::cast_precision_loss, reason = "groups are small")]
                metrics.group.observe(group.len() as f64);
                return outcome;
            }
        }
    }
}

fn answer(metrics: &Metrics, group: Vec<Incoming>, outcomes: Result<Vec<Outcome>, Error>) {
    let outcomes: Vec<Result<Outcome, Refused>> = match outcomes {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) => {
            tracing::warn!(error = %chain(&error), reports = group.len(), "reports were not stored");
            let refused = if error.is_transient() {
                Refused::Unavailable
            } else {
                Refused::Failed
            };
            group.iter().map(|_| Err(refused)).collect()
        }
    };
    for (incoming, outcome) in group.into_iter().zip(outcomes) {
        let label = match &outcome {
            Ok(Outcome::Done(Kind::Current)) => "current",
            Ok(Outcome::Done(Kind::History)) => "history",
            Ok(Outcome::Done(Kind::Duplicate)) => "duplicate",
            Ok(Outcome::Done(Kind::Older)) => "older",
            Ok(Outcome::Unknown) => "unknown_device",
            Ok(Outcome::Overtaken) => "overtaken",
            Err(_) => "failed",
        };
        metrics.reports.with_label_values(&[label]).inc();
        // The device may have hung up; what is stored is stored.
        incoming.done.send(outcome).ok();
    }
}

/// What a device's reports of one group come to.
struct Progress<'a> {
    before: &'a Before,
    observation: Observation,
    /// The last report that counts, by its place in the group.
    last: Option<usize>,
    said_zone: Option<&'a String>,
    versions: Versions,
    news: Vec<NewEvent>,
}

impl<'a> Progress<'a> {
    fn new(device: DeviceId, before: &'a Before) -> Self {
        Self {
            before,
            observation: before.observation.clone(),
            last: None,
            said_zone: before.said_time_zone.as_ref(),
            versions: Versions::same(device),
            news: Vec::new(),
        }
    }

    /// Folds the next report, which stands at this place of the group.
    fn fold(&mut self, place: usize, said: &'a Said, now: DateTime<Utc>) -> Kind {
        let report = &said.report;
        let folded = fold(&self.observation, report, now);
        if folded.kind != Kind::Current {
            return folded.kind;
        }
        self.observation = folded.observation;
        self.last = Some(place);
        let (before, versions) = (self.before, &mut self.versions);
        for (said, known, kept) in [
            (
                &report.agent_version,
                &before.agent_version,
                &mut versions.agent,
            ),
            (&report.os_version, &before.os_version, &mut versions.os),
            (&report.platform, &before.platform, &mut versions.platform),
        ] {
            // What a report of this group said before counts as well: back again is a change, too.
            if said.is_some() && (kept.is_some() || said != known) {
                kept.clone_from(said);
            }
        }
        // What the device says anew: an operator's word holds until it says another.
        if report.time_zone.as_ref() != self.said_zone {
            if report.time_zone.is_some() {
                versions.time_zone.clone_from(&report.time_zone);
            }
            self.said_zone = report.time_zone.as_ref();
        }
        if folded.changed {
            self.news.push(
                NewEvent::new(EventType::StateChanged, "device")
                    .device(said.device)
                    .data(summary(&self.observation)),
            );
        }
        folded.kind
    }
}

/// Folds the reports one after the other and stores what they come to, in one transaction. What another
/// replica has overtaken is left out of it.
///
/// # Errors
/// Whatever the store says; then none of them is stored.
pub async fn write(deps: &Deps, group: &[&Said]) -> Result<Vec<Outcome>, Error> {
    let mut session = deps.store.begin().await?;
    let now = session.now();
    let devices: Vec<DeviceId> = group.iter().map(|said| said.device).collect();
    let before = reports::before(&mut session, &devices).await?;
    let mut progress: BTreeMap<DeviceId, Progress<'_>> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(group.len());
    for (place, said) in group.iter().enumerate() {
        outcomes.push(match before.get(&said.device) {
            None => Outcome::Unknown,
            Some(known) => Outcome::Done(
                progress
                    .entry(said.device)
                    .or_insert_with(|| Progress::new(said.device, known))
                    .fold(place, said, now),
            ),
        });
    }
    let (mut taken, mut rest) = (Vec::with_capacity(progress.len()), Vec::new());
    for (device, after) in progress {
        let Some(last) = after.last.and_then(|place| group.get(place)) else {
            continue;
        };
        taken.push(Taken {
            device,
            revision: after.before.revision,
            report: last.body.clone(),
            report_id: last.report.report_id,
            said_time_zone: after.said_zone.cloned(),
            observation: after.observation,
        });
        rest.push((after.versions, after.news));
    }
    let overtaken = reports::store(&mut session, taken).await?;
    rest.retain(|(versions, _)| !overtaken.contains(&versions.device));
    let (mut versions, news): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
    versions.retain(Versions::any);
    reports::set_versions(&mut session, &versions).await?;
    events::append_all(&mut session, news.into_iter().flatten().collect()).await?;
    deps.commit(session).await?;
    if !overtaken.is_empty() {
        for (said, outcome) in group.iter().zip(&mut outcomes) {
            if overtaken.contains(&said.device) {
                *outcome = Outcome::Overtaken;
            }
        }
    }
    Ok(outcomes)
}

/// What changed, for those who read the log.
fn summary(observation: &Observation) -> Value {
    let services: Vec<Value> = observation
        .services
        .iter()
        .map(|service| {
            json!({
                "app_id": service.app_id,
                "service_id": service.service_id,
                "image": service.image,
                "status": service.status,
                "phase": service.phase,
                "error": service.error.as_ref().map(|error| &error.kind),
            })
        })
        .collect();
    json!({"version_received": observation.version_received, "services": services})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_so_many_bytes_and_no_report_is_left_out() {
        let most = GROUP_BYTES;
        for (sizes, expected) in [
            (vec![1, 2, 3], vec![3]),
            (vec![most, 1], vec![1, 1]),
            (vec![most / 2, most / 2, 1, most * 2, 1], vec![2, 1, 1, 1]),
            (vec![most], vec![1]),
        ] {
            assert_eq!(portions(sizes.clone()), expected, "{sizes:?}");
        }
    }
}
