//! The laws about who may be admitted, held against each transaction that admits somebody.

use super::look::{Change, repository};
use super::{Before, Ledger, Service, digest_of};
use crate::broken::{Broken, Held, Law};
use crate::open::is_open;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use windlass_store::{Session, commands, freezes};
use windlass_types::event::{Event, EventType};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::{ApprovalBefore, Limits, Ramp};
use windlass_types::rollout::{CommandKind, DeviceStatus, Rollout, RolloutStatus};

impl Ledger {
    /// Those whose targets this transaction gave a rollout's image.
    pub(super) async fn admissions(
        &mut self,
        read: &mut Session,
        told: &[Event],
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Held {
        let mut admitted: BTreeMap<RolloutId, Vec<DeviceId>> = BTreeMap::new();
        for event in told
            .iter()
            .filter(|e| e.kind == EventType::ImageUpdateScheduled)
        {
            if let (Some(rollout), Some(device)) = (event.rollout_id, event.device_uuid) {
                admitted.entry(rollout).or_default().push(device);
            }
        }
        for (id, devices) in admitted {
            let Some(rollout) = self.rollouts.get(&id).cloned() else {
                continue;
            };
            halted(read, &rollout).await?;
            frozen(read, &rollout, now).await?;
            let batches = self.batches_of(id, &devices);
            self.approved(read, &rollout, &batches).await?;
            self.opened.extend(batches.iter().map(|batch| (id, *batch)));
            self.in_time(&rollout, &devices, now)?;
            self.within_limits(&rollout, &devices, now)?;
            for device in devices {
                self.takes(&rollout, device, changes)?;
            }
        }
        Ok(())
    }

    /// Since when a device is in a rollout: what a person set on a new device before it joined is where it
    /// began, and does not keep it out.
    fn in_since(&self, rollout: &Rollout, device: DeviceId) -> DateTime<Utc> {
        let is_newer = self
            .devices
            .get(&device)
            .is_some_and(|traits| traits.created_at > rollout.created_at);
        self.joined
            .get(&(rollout.id, device))
            .filter(|_| is_newer)
            .map_or(rollout.created_at, |at| *at)
    }

    /// How many people a batch needs is asked when it is opened: whoever joins it later does so without an
    /// approval of its own.
    async fn approved(
        &self,
        read: &mut Session,
        rollout: &Rollout,
        batches: &BTreeSet<i64>,
    ) -> Held {
        let Some(before) = rollout.rule.approval_before() else {
            return Ok(());
        };
        let of_all = before == ApprovalBefore::Rollout;
        let wanted = if of_all {
            BTreeSet::from([1])
        } else {
            batches.clone()
        };
        for batch in wanted {
            let concerned = self
                .rows
                .iter()
                .filter(|((id, _), row)| *id == rollout.id && (of_all || row.batch == batch))
                .count();
            let above = rollout.rule.approval.two_people_above;
            let many = above.is_some_and(|above| concerned > usize::try_from(above).unwrap_or(0));
            let people: i64 = if many && !self.opened.contains(&(rollout.id, batch)) {
                2
            } else {
                1
            };
            let (given,): (i64,) = read
                .sql(
                    "SELECT COUNT(DISTINCT actor) FROM rollout_approvals \
                     WHERE rollout_id = $1 AND batch = $2",
                )
                .bind(rollout.id.0)
                .bind(batch)
                .one()
                .await?;
            if given < people {
                return Err(Broken::law(
                    Law::NoAdmissionWithoutApproval,
                    format!(
                        "{given} of {people} people approved batch {batch} of {}",
                        rollout.id
                    ),
                ));
            }
        }
        Ok(())
    }

    fn batches_of(&self, rollout: RolloutId, devices: &[DeviceId]) -> BTreeSet<i64> {
        devices
            .iter()
            .filter_map(|d| self.rows.get(&(rollout, *d)))
            .map(|row| row.batch)
            .collect()
    }

    fn in_time(&self, rollout: &Rollout, devices: &[DeviceId], now: DateTime<Utc>) -> Held {
        if let Some(at) = rollout.rule.starts_at.filter(|at| now < *at) {
            return Err(Broken::law(
                Law::NoAdmissionOutsideWindow,
                format!("{} starts at {at}", rollout.id),
            ));
        }
        for device in devices {
            let zone = self
                .devices
                .get(device)
                .and_then(|traits| traits.time_zone.as_deref());
            if !is_open(&rollout.rule.maintenance_windows, zone, now) {
                return Err(Broken::law(
                    Law::NoAdmissionOutsideWindow,
                    format!(
                        "{device} ({zone:?}) at {now} by {}, windows {:?}",
                        rollout.id, rollout.rule.maintenance_windows
                    ),
                ));
            }
        }
        Ok(())
    }

    fn within_limits(
        &mut self,
        rollout: &Rollout,
        devices: &[DeviceId],
        now: DateTime<Utc>,
    ) -> Held {
        let limits: &Limits = &rollout.rule.limits;
        let mine = self.rows.iter().filter(|((id, _), _)| *id == rollout.id);
        let (mut flying, mut healthy) = (0_i64, 0_i64);
        for (_, row) in mine {
            flying += i64::from(row.status.is_in_flight());
            healthy += i64::from(row.verdict.as_deref() == Some("healthy"));
        }
        let share = limits
            .max_in_flight_percent
            .map(|p| (rollout.total_devices * i64::from(p) / 100).max(1));
        let most = limits
            .max_in_flight
            .map(i64::from)
            .into_iter()
            .chain(share)
            .min();
        if most.is_some_and(|most| flying > most) {
            return Err(Broken::law(
                Law::WithinLimits,
                format!("{flying} in flight in {}, at most {most:?}", rollout.id),
            ));
        }
        let slices = self.admitted.entry(rollout.id).or_default();
        slices.push_back((now, i64::try_from(devices.len()).unwrap_or(i64::MAX)));
        while slices
            .front()
            .is_some_and(|(at, _)| *at <= now - TimeDelta::minutes(1))
        {
            slices.pop_front();
        }
        let lately: i64 = slices.iter().map(|(_, count)| count).sum();
        if let Some(ramp) = &limits.per_minute
            && lately > rate(ramp, healthy)
        {
            return Err(Broken::law(
                Law::WithinLimits,
                format!(
                    "{lately} admitted in a minute in {}, {healthy} healthy, ramp {ramp:?}",
                    rollout.id
                ),
            ));
        }
        for (key, most) in &limits.max_unavailable {
            let values: BTreeSet<&String> = devices
                .iter()
                .filter_map(|d| self.devices.get(d)?.tags.get(key))
                .collect();
            for value in values {
                let away: BTreeSet<DeviceId> = self
                    .rows
                    .iter()
                    .filter(|((_, d), row)| {
                        (row.status.is_in_flight() || row.status == DeviceStatus::RollingBack)
                            && self
                                .devices
                                .get(d)
                                .is_some_and(|t| t.tags.get(key) == Some(value))
                    })
                    .map(|((_, d), _)| *d)
                    .collect();
                if away.len() > usize::try_from(*most).unwrap_or(usize::MAX) {
                    return Err(Broken::law(
                        Law::WithinLimits,
                        format!(
                            "{} of {key}={value} are away, at most {most} in {}",
                            away.len(),
                            rollout.id
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What one device was given.
    fn takes(&mut self, rollout: &Rollout, device: DeviceId, changes: &[Change]) -> Held {
        let Some(change) = changes.iter().find(|c| c.device == device) else {
            return Ok(());
        };
        let digest = rollout.digest.as_ref().map(ToString::to_string);
        if let Some(digest) = &digest {
            let failed = self
                .failed
                .get(&device)
                .is_some_and(|failed| failed.contains(digest));
            if failed || self.quarantined(digest, device) {
                let why = if failed {
                    "it failed there"
                } else {
                    "it is in quarantine"
                };
                return Err(Broken::law(
                    Law::NothingBadShips,
                    format!("{digest} shipped to {device}: {why}"),
                ));
            }
        }
        let mine = rollout.repository.to_string();
        for (app, service) in change.state.services() {
            let was = change
                .state_was
                .services()
                .find(|(a, s)| (*a, s.service_id) == (app, service.service_id))
                .map(|(_, s)| s);
            if repository(&service.image_name).as_deref() != Some(mine.as_str()) {
                if was != Some(service) {
                    return Err(Broken::law(
                        Law::OthersUntouched,
                        format!("{} of {device}", service.service_name),
                    ));
                }
                continue;
            }
            let key: Service = (device, app, service.service_id);
            if let Some(was) = was.filter(|was| was.image_name != service.image_name) {
                if let Some(hand) = self.by_hand.get(&key)
                    && hand.at > self.in_since(rollout, device)
                {
                    return Err(Broken::law(
                        Law::PersonsTargetStays,
                        format!(
                            "{device} was moved to {} by {}, made before a person set {} in version {}",
                            service.image_name, rollout.id, hand.image, hand.version
                        ),
                    ));
                }
                let by_rollout = self.put_by.get(&key).is_some_and(|by| by.by_rollout);
                self.before.insert(
                    (rollout.id, key),
                    Before {
                        image: was.image_name.clone(),
                        by_rollout,
                    },
                );
            }
            if digest.is_some() && digest_of(&service.image_name) != digest.as_deref() {
                return Err(Broken::law(
                    Law::OthersUntouched,
                    format!("{device} got {} from {}", service.image_name, rollout.id),
                ));
            }
        }
        Ok(())
    }
}

async fn halted(read: &mut Session, rollout: &Rollout) -> Held {
    if rollout.status != RolloutStatus::InProgress {
        return Err(Broken::law(
            Law::NoAdmissionWhileHalted,
            format!("{} is {}", rollout.id, rollout.status),
        ));
    }
    let pending = commands::pending(read, rollout.id).await?;
    let stops = pending.iter().find(|command| {
        matches!(
            command.kind,
            CommandKind::Pause | CommandKind::Cancel | CommandKind::RollbackAll
        )
    });
    match stops {
        Some(command) => Err(Broken::law(
            Law::NoAdmissionWhileHalted,
            format!("{} was ordered of {} before", command.kind, rollout.id),
        )),
        None => Ok(()),
    }
}

async fn frozen(read: &mut Session, rollout: &Rollout, now: DateTime<Utc>) -> Held {
    // Whoever overrides a freeze knows of those that there are, not of later ones.
    let overridden = rollout.freeze_override_at;
    match freezes::open(read).await?.into_iter().find(|freeze| {
        freeze.is_in_force(now) && overridden.is_none_or(|at| freeze.created_at > at)
    }) {
        Some(freeze) => Err(Broken::law(
            Law::NoAdmissionInFreeze,
            format!("{} admitted in {} {}", rollout.id, freeze.kind, freeze.id),
        )),
        None => Ok(()),
    }
}

fn rate(ramp: &Ramp, healthy: i64) -> i64 {
    let steps = i32::try_from(healthy / i64::from(ramp.after_successes.max(1))).unwrap_or(i32::MAX);
    let rate = f64::from(ramp.base) * ramp.factor.powi(steps);
    let rate = ramp.max.map_or(rate, |max| rate.min(f64::from(max)));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is cut to what a fleet can have"
    )]
    let rate = rate.min(1e9).floor() as i64;
    rate.max(1)
}
