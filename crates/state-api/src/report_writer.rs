//! Reports are written in groups: many devices' in one transaction, and each is answered when that is
//! durable. See docs/adr/0009-device-cache-and-report-groups.md.

use crate::device::held;
use crate::metrics::Metrics;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use windlass_core::observe::{Kind, fold};
use windlass_service::problem::chain;
use windlass_service::{Deps, Problem};
use windlass_store::reports::{self, Taken, Versions};
use windlass_store::{Error, Kind as Database, events};
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
    pub body: Value,
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
    pub(crate) async fn take(
        &self,
        device: DeviceId,
        body: Value,
        report: Report,
        room: OwnedSemaphorePermit,
    ) -> Result<(), Problem> {
        let (done, outcome) = oneshot::channel();
        let incoming = Incoming {
            said: Said {
                device,
                body,
                report,
            },
            room,
            done,
        };
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
            Ok(Err(Refused::Unavailable)) | Err(_) => Err(Problem::Unavailable(None)),
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
async fn take_in(deps: &Deps, metrics: &Metrics, group: Vec<Incoming>) {
    match attempt(deps, metrics, &group).await {
        Err(error) if !error.is_transient() && group.len() > 1 => {
            tracing::warn!(error = %chain(&error), reports = group.len(),
                "a group of reports could not be stored; each is tried alone");
            for one in group {
                let one = vec![one];
                let outcomes = attempt(deps, metrics, &one).await;
                answer(metrics, one, outcomes);
            }
        }
        outcomes => answer(metrics, group, outcomes),
    }
}

async fn attempt(
    deps: &Deps,
    metrics: &Metrics,
    group: &[Incoming],
) -> Result<Vec<Outcome>, Error> {
    let mut tries = 1;
    loop {
        let said: Vec<&Said> = group.iter().map(|incoming| &incoming.said).collect();
        match write(deps, &said).await {
            Err(Error::Conflict(_)) if tries < ATTEMPTS => tries += 1,
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
            Err(_) => "failed",
        };
        metrics.reports.with_label_values(&[label]).inc();
        // The device may have hung up; what is stored is stored.
        incoming.done.send(outcome).ok();
    }
}

/// What a device's reports of one group come to.
struct Progress {
    observation: Observation,
    agent: Option<String>,
    os: Option<String>,
    zone: Option<String>,
    /// The time zone said last.
    said_zone: Option<String>,
    platform: Option<String>,
    /// The last report that counts, by its place in the group.
    last: Option<usize>,
}

/// Folds the reports one after the other and stores what they come to, in one transaction.
///
/// # Errors
/// Whatever the store says; then none of them is stored.
pub async fn write(deps: &Deps, group: &[&Said]) -> Result<Vec<Outcome>, Error> {
    let mut session = deps.store.begin().await?;
    let now = session.now();
    let devices: Vec<DeviceId> = group.iter().map(|incoming| incoming.device).collect();
    let before = reports::lock(&mut session, &devices).await?;
    let mut progress: BTreeMap<DeviceId, Progress> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(group.len());
    let mut news = Vec::new();
    for (place, incoming) in group.iter().enumerate() {
        let Some(known) = before.get(&incoming.device) else {
            outcomes.push(Outcome::Unknown);
            continue;
        };
        let device = progress.entry(incoming.device).or_insert_with(|| Progress {
            observation: known.observation.clone(),
            agent: known.agent_version.clone(),
            os: known.os_version.clone(),
            zone: known.time_zone.clone(),
            said_zone: known.said_time_zone.clone(),
            platform: known.platform.clone(),
            last: None,
        });
        let folded = fold(&device.observation, &incoming.report, now);
        outcomes.push(Outcome::Done(folded.kind));
        if folded.kind != Kind::Current {
            continue;
        }
        device.observation = folded.observation;
        device.last = Some(place);
        for (said, kept) in [
            (&incoming.report.agent_version, &mut device.agent),
            (&incoming.report.os_version, &mut device.os),
            (&incoming.report.platform, &mut device.platform),
        ] {
            if said.is_some() {
                kept.clone_from(said);
            }
        }
        // What the device says anew: an operator's word holds until it says another.
        if incoming.report.time_zone != device.said_zone {
            if incoming.report.time_zone.is_some() {
                device.zone.clone_from(&incoming.report.time_zone);
            }
            device.said_zone.clone_from(&incoming.report.time_zone);
        }
        if folded.changed {
            news.push(
                NewEvent::new(EventType::StateChanged, "device")
                    .device(incoming.device)
                    .data(summary(&device.observation)),
            );
        }
    }
    let mut taken = Vec::new();
    let mut versions = Vec::new();
    for (device, after) in progress {
        let Some(last) = after.last.and_then(|place| group.get(place)) else {
            continue;
        };
        let same = before.get(&device).is_some_and(|known| {
            known.agent_version == after.agent
                && known.os_version == after.os
                && known.time_zone == after.zone
                && known.platform == after.platform
        });
        if !same {
            versions.push(Versions {
                device,
                agent: after.agent,
                os: after.os,
                time_zone: after.zone,
                platform: after.platform,
            });
        }
        taken.push(Taken {
            device,
            report: last.body.clone(),
            report_id: last.report.report_id,
            observation: after.observation,
        });
    }
    reports::store(&mut session, &taken).await?;
    reports::set_versions(&mut session, &versions).await?;
    events::append_all(&mut session, news).await?;
    deps.commit(session).await?;
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
