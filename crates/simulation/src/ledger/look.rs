//! Reading what a transaction left behind, and the laws about single events.

use super::{Before, ByHand, Ledger, Service, Stored, Target, Traits, digest_of};
use crate::broken::{Broken, Held, Law};
use crate::fleet::Device;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use uuid::Uuid;
use windlass_store::{Session, events, rollouts, targets};
use windlass_types::event::{Event, EventType};
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::DeviceStatus;
use windlass_types::target::{TargetSource, TargetState};

/// Rollout, device, batch, status, verdict; when it was admitted, is looked at and must be done.
type Row = (
    Uuid,
    Uuid,
    i64,
    String,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
);

/// In real time, which is not the world's: how long another's transaction may hold an event back.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

type TargetRow = (Uuid, i64, Uuid, String, DateTime<Utc>);

/// A target that was changed.
pub(super) struct Change {
    pub(super) device: DeviceId,
    pub(super) was: Option<Target>,
    pub(super) state_was: TargetState,
    pub(super) state: TargetState,
}

impl Ledger {
    /// Reads what has happened since the last look, and holds it against the laws.
    ///
    /// # Errors
    /// The law that was broken.
    pub(crate) async fn look(
        &mut self,
        read: &mut Session,
        fleet: &BTreeMap<DeviceId, Device>,
    ) -> Held {
        read.refresh().await?;
        let now = read.now();
        let told = self.read_events(read).await?;
        let changes = self.read_targets(read).await?;
        self.read_rows(read).await?;
        self.read_rollouts(read, &told).await?;
        self.looked_at = now;
        if told.iter().any(|e| {
            matches!(
                e.kind,
                EventType::DeviceRegistered | EventType::DeviceChanged
            )
        }) {
            self.read_devices(read).await?;
        }
        self.events += told.len() as u64;
        for event in &told {
            self.model.apply(event);
            if self.last.len() >= 60 {
                self.last.pop_front();
            }
            self.last.push_back(line(event));
        }
        one_version_one_event(&told, &changes, &self.targets)?;
        for event in &told {
            self.note(event, &changes, fleet)?;
        }
        self.admissions(read, &told, &changes, now).await?;
        self.provenance(&told, &changes);
        Ok(())
    }

    /// The events since the last look. PostgreSQL shows one only when everybody's older transactions have
    /// ended, those of other databases as well.
    async fn read_events(&mut self, read: &mut Session) -> Held<Vec<Event>> {
        let newest = events::newest(read).await?;
        let mut told: Vec<Event> = Vec::new();
        let began = Instant::now();
        loop {
            let page = events::after(read, self.cursor, 1_000).await?;
            if let Some(last) = page.last() {
                self.cursor = last.id;
            }
            let more = !page.is_empty();
            told.extend(page);
            if self.cursor >= newest {
                return Ok(told);
            }
            if !more {
                if began.elapsed() > SETTLES_WITHIN {
                    return Err(Broken::law(
                        Law::LogTellsAll,
                        format!("event {newest:?} is not shown to readers"),
                    ));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn read_targets(&mut self, read: &mut Session) -> Held<Vec<Change>> {
        let rows: Vec<TargetRow> = read
            .sql(
                "SELECT device_uuid, version, state_id, source, updated_at FROM device_targets \
                 WHERE updated_at >= $1",
            )
            .bind(self.looked_at)
            .all()
            .await?;
        let unknown: BTreeSet<StateId> = rows
            .iter()
            .map(|(_, _, state, _, _)| StateId(*state))
            .filter(|state| !self.states.contains_key(state))
            .collect();
        if !unknown.is_empty() {
            let unknown: Vec<StateId> = unknown.into_iter().collect();
            self.states.extend(targets::states(read, &unknown).await?);
        }
        let mut changes = Vec::new();
        for (device, version, state, source, updated_at) in rows {
            let device = DeviceId(device);
            let target = Target {
                version,
                state: StateId(state),
                source: source.parse()?,
                updated_at,
            };
            let body = |id: &StateId| self.states.get(id).cloned().unwrap_or_default();
            let was = self.targets.get(&device).cloned();
            if was
                .as_ref()
                .is_some_and(|was| was.version == version && was.state == target.state)
            {
                continue;
            }
            changes.push(Change {
                device,
                state_was: was.as_ref().map(|was| body(&was.state)).unwrap_or_default(),
                state: body(&target.state),
                was,
            });
            self.targets.insert(device, target);
        }
        Ok(changes)
    }

    async fn read_rows(&mut self, read: &mut Session) -> Held {
        // What is decided about a device without moving it leaves the time of its last move as it is.
        let rows: Vec<Row> = read
            .sql(
                "SELECT rollout_id, device_uuid, batch, status, verdict, \
                 admitted_at, check_at, deadline_at FROM device_rollout_status \
                 WHERE updated_at >= $1 OR status IN ('scheduled', 'updating', 'verifying', \
                 'rolling_back', 'unreachable')",
            )
            .bind(self.looked_at)
            .all()
            .await?;
        for (rollout, device, batch, status, verdict, admitted_at, check_at, deadline_at) in rows {
            let key = (RolloutId(rollout), DeviceId(device));
            let stored = Stored {
                status: status.parse()?,
                batch,
                verdict,
                admitted_at,
                check_at,
                deadline_at,
            };
            let waited_for =
                stored.status.is_in_flight() || stored.status == DeviceStatus::RollingBack;
            if waited_for && (stored.check_at.is_none() || stored.deadline_at.is_none()) {
                return Err(Broken::law(
                    Law::NobodyAbandoned,
                    format!("{} of {} is {} without a time", key.1, key.0, stored.status),
                ));
            }
            self.rows.insert(key, stored);
        }
        Ok(())
    }

    async fn read_rollouts(&mut self, read: &mut Session, told: &[Event]) -> Held {
        let about: BTreeSet<RolloutId> = told
            .iter()
            .filter(|event| {
                event.device_uuid.is_none()
                    // It counts its devices.
                    || event.kind == EventType::DeviceJoined
                    || !self
                        .rollouts
                        .contains_key(&event.rollout_id.unwrap_or(RolloutId(Uuid::nil())))
            })
            .filter_map(|event| event.rollout_id)
            .collect();
        for id in about {
            if let Some(rollout) = rollouts::get(read, id).await? {
                self.rollouts.insert(id, rollout);
            }
        }
        Ok(())
    }

    async fn read_devices(&mut self, read: &mut Session) -> Held {
        let zones: Vec<(Uuid, Option<String>, DateTime<Utc>)> = read
            .sql("SELECT uuid, time_zone, created_at FROM devices")
            .all()
            .await?;
        let tags: Vec<(Uuid, String, String)> = read
            .sql("SELECT device_uuid, key, value FROM device_tags")
            .all()
            .await?;
        self.devices = zones
            .into_iter()
            .map(|(id, time_zone, created_at)| {
                (
                    DeviceId(id),
                    Traits {
                        time_zone,
                        created_at,
                        tags: BTreeMap::new(),
                    },
                )
            })
            .collect();
        for (id, key, value) in tags {
            if let Some(traits) = self.devices.get_mut(&DeviceId(id)) {
                traits.tags.insert(key, value);
            }
        }
        Ok(())
    }

    /// What an event adds to what is known, and whether it may be.
    fn note(
        &mut self,
        event: &Event,
        changes: &[Change],
        fleet: &BTreeMap<DeviceId, Device>,
    ) -> Held {
        let change = event
            .device_uuid
            .and_then(|id| changes.iter().find(|c| c.device == id));
        match (event.kind, event.rollout_id, event.device_uuid) {
            (EventType::ImageUpdateScheduled, Some(rollout), Some(device)) => {
                self.under_way.insert((rollout, device));
            }
            (EventType::DeviceUnreachable, Some(rollout), Some(device)) => {
                self.under_way.remove(&(rollout, device));
            }
            (
                EventType::RolloutBatchCompleted
                | EventType::RolloutCompleted
                | EventType::RolloutFailed,
                Some(rollout),
                _,
            ) => {
                self.all_arrived(rollout)?;
            }
            (EventType::UpdateCompleted, Some(rollout), Some(device)) => {
                self.proved(rollout, device, fleet, event.occurred_at)?;
            }
            (EventType::UpdateFailed, Some(rollout), Some(device)) => {
                let bad = self
                    .rows
                    .get(&(rollout, device))
                    .is_some_and(|row| row.verdict.as_deref() == Some("failed"));
                let digest = self.digest_of_rollout(rollout);
                if let (true, Some(digest)) = (bad, digest) {
                    for images in self
                        .proved
                        .iter_mut()
                        .filter(|((one, _, _), _)| *one == device)
                        .map(|(_, i)| i)
                    {
                        images.retain(|image| digest_of(image) != Some(&digest));
                    }
                    self.failed.entry(device).or_default().insert(digest);
                }
            }
            (EventType::QuarantineLifted, _, _) => {
                let digest = event
                    .data
                    .get("digest")
                    .and_then(|d| d.as_str())
                    .unwrap_or_default();
                for failed in self.failed.values_mut() {
                    failed.remove(digest);
                }
            }
            (EventType::CommandSettled, Some(rollout), device)
                if event.data.get("command").and_then(|c| c.as_str()) == Some("retry")
                    && event.data.get("outcome").and_then(|o| o.as_str()) == Some("applied") =>
            {
                let digest = self.digest_of_rollout(rollout).unwrap_or_default();
                for (_, failed) in self
                    .failed
                    .iter_mut()
                    .filter(|(one, _)| device.is_none_or(|d| d == **one))
                {
                    failed.remove(&digest);
                }
            }
            (EventType::DeviceJoined, Some(rollout), Some(device)) => {
                self.joined.insert((rollout, device), event.occurred_at);
            }
            (EventType::RollbackScheduled, Some(rollout), Some(device)) => {
                self.rolled_back(event, rollout, device, change)?;
            }
            (EventType::DeviceRolledBack, _, Some(device)) => self.no_longer_good(event, device),
            _ => {}
        }
        Ok(())
    }

    /// A batch has ended: of those admitted so far nobody may be on the way, but for whoever was silent
    /// since and is back.
    fn all_arrived(&self, rollout: RolloutId) -> Held {
        let left = self.under_way.iter().find(|key| {
            key.0 == rollout
                && self
                    .rows
                    .get(key)
                    .is_some_and(|row| row.status.is_in_flight())
        });
        match left {
            Some((_, device)) => Err(Broken::law(
                Law::NobodyLeftBehind,
                format!("a batch of {rollout} has ended while {device} was on its way"),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn digest_of_rollout(&self, rollout: RolloutId) -> Option<String> {
        self.rollouts
            .get(&rollout)?
            .digest
            .as_ref()
            .map(ToString::to_string)
    }

    /// A device is called healthy: it must have run the image, and that is what it proved.
    fn proved(
        &mut self,
        rollout: RolloutId,
        device: DeviceId,
        fleet: &BTreeMap<DeviceId, Device>,
        now: DateTime<Utc>,
    ) -> Held {
        let (Some(shipped), Some(target)) =
            (self.rollouts.get(&rollout), self.targets.get(&device))
        else {
            return Ok(());
        };
        let digest = shipped.digest.as_ref().map(ToString::to_string);
        let since = self
            .rows
            .get(&(rollout, device))
            .and_then(|row| row.admitted_at);
        let Some(state) = self.states.get(&target.state) else {
            return Ok(());
        };
        for (app, service) in state.services() {
            if digest.is_none() || digest_of(&service.image_name) != digest.as_deref() {
                continue;
            }
            let window = shipped.rule.health.stable_window_seconds;
            let longest = fleet
                .get(&device)
                .and_then(|d| d.ran(&service.image_name, since?, now));
            if longest.is_none_or(|longest| longest < TimeDelta::seconds(i64::from(window))) {
                return Err(Broken::law(
                    Law::HealthyByEvidence,
                    format!(
                        "{device} is healthy on {} since {since:?}, but ran it for {longest:?} \
                         without a break, not for {window} s",
                        service.image_name
                    ),
                ));
            }
            let proved = self
                .proved
                .entry((device, app, service.service_id))
                .or_default();
            proved.retain(|image| *image != service.image_name);
            proved.push(service.image_name.clone());
        }
        Ok(())
    }

    /// Who put each service's image there.
    fn provenance(&mut self, told: &[Event], changes: &[Change]) {
        for change in changes {
            let shipped_by = told
                .iter()
                .rev()
                .find(|e| e.device_uuid == Some(change.device) && e.version.is_some())
                .filter(|e| e.kind == EventType::ImageUpdateScheduled)
                .and_then(|e| e.rollout_id);
            let by_rollout = shipped_by.is_some();
            let set = self.targets.get(&change.device);
            let by_person = set.filter(|set| set.source == TargetSource::Operator);
            for (app, service) in change.state.services() {
                let key: Service = (change.device, app, service.service_id);
                let old = self.put_by.get(&key);
                if old.is_none_or(|old| old.image != service.image_name) {
                    self.put_by.insert(
                        key,
                        Before {
                            image: service.image_name.clone(),
                            by_rollout,
                        },
                    );
                    match shipped_by {
                        Some(rollout) => self.shipped_by.insert(key, rollout),
                        None => self.shipped_by.remove(&key),
                    };
                    let chosen = by_person.map(|set| ByHand {
                        image: service.image_name.clone(),
                        version: set.version,
                        at: set.updated_at,
                    });
                    match chosen {
                        Some(chosen) => self.by_hand.insert(key, chosen),
                        None => self.by_hand.remove(&key),
                    };
                }
            }
        }
    }
}

/// Each change of a target raises its version, once for each event that says so.
fn one_version_one_event(
    told: &[Event],
    changes: &[Change],
    targets: &BTreeMap<DeviceId, Target>,
) -> Held {
    let mut made: BTreeMap<DeviceId, Vec<i64>> = BTreeMap::new();
    for event in told {
        if let (Some(device), Some(version)) = (event.device_uuid, event.version) {
            made.entry(device).or_default().push(version);
        }
    }
    for change in changes {
        let from = change.was.as_ref().map_or(0, |was| was.version);
        let to = targets
            .get(&change.device)
            .map_or(0, |target| target.version);
        let versions = made.remove(&change.device).unwrap_or_default();
        if to <= from || versions != (from + 1..=to).collect::<Vec<_>>() {
            return Err(Broken::law(
                Law::OneVersionOneEvent,
                format!(
                    "{} went from {from} to {to}, told as {versions:?}",
                    change.device
                ),
            ));
        }
    }
    match made.into_iter().next() {
        None => Ok(()),
        Some((device, versions)) => Err(Broken::law(
            Law::OneVersionOneEvent,
            format!("{versions:?} of {device} were told, but nothing changed"),
        )),
    }
}

/// The repository of an image as written.
pub(super) fn repository(image: &str) -> Option<String> {
    image
        .parse::<ImageReference>()
        .ok()
        .map(|image| image.repository().to_string())
}

fn line(event: &Event) -> String {
    let id = |id: Uuid| id.simple().to_string().split_off(24);
    format!(
        "{} {} {} rollout={} device={} v={} by {} {}",
        event.occurred_at.format("%d %H:%M:%S%.3f"),
        event.id,
        event.kind,
        event.rollout_id.map_or_else(|| "-".to_owned(), |r| id(r.0)),
        event
            .device_uuid
            .map_or_else(|| "-".to_owned(), |d| id(d.0)),
        event
            .version
            .map_or_else(|| "-".to_owned(), |v| v.to_string()),
        event.actor,
        event.data,
    )
}
