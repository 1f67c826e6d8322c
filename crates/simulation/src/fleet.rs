//! Devices: each a machine on virtual time, and what becomes of its reports on their way.

use crate::dice::{Dice, child, one_of, percent};
use crate::images;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;
use windlass_simulator::{Behaviour, Machine, Pace, Style};
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) machine: Machine,
    /// When the machine takes its next step.
    pub(crate) step_at: Option<DateTime<Utc>>,
    /// Until when it neither polls nor reports.
    pub(crate) away_until: Option<DateTime<Utc>>,
    /// How often in a hundred its reports are bent on their way.
    pub(crate) lies: u32,
    last_report: Option<Value>,
    news: bool,
    /// The times for which it ran each image well, as it was whenever it spoke.
    runs: BTreeMap<String, Run>,
}

/// A report that does not arrive, among the ways in which one is bent.
const LOST: u32 = 5;

/// The times for which an image ran.
#[derive(Debug, Default)]
struct Run {
    /// Since when it runs without a break, where it does.
    since: Option<DateTime<Utc>>,
    /// From and to, those that are over.
    over: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// The uuid of a device by its number.
pub(crate) fn device_id(number: u64) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x1000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number),
    ))
}

/// The target of a new device: a service of the first repository, often one of the second, and
/// sometimes a second one of the first.
pub(crate) fn first_state(dice: &mut fastrand::Rng) -> TargetState {
    let mut wanted = vec![(1, images::image(0, 1))];
    if percent(dice, 60) {
        wanted.push((2, images::image(1, 1)));
    }
    if percent(dice, 10) {
        wanted.push((3, images::image(0, 1)));
    }
    let services: Vec<Value> = wanted
        .iter()
        .map(|(id, image)| {
            json!({"serviceId": id, "serviceName": format!("s{id}"), "imageName": image,
                   "state": "running", "config": {"image": image}})
        })
        .collect();
    serde_json::from_value(json!({
        "apps": {"1": {"appId": 1, "appName": "demo", "services": services}}, "config": {},
    }))
    .unwrap_or_default()
}

impl Device {
    pub(crate) fn new(seed: u64, number: u64, dice: &mut Dice) -> Self {
        let dice = &mut dice.fleet;
        let style = if percent(dice, 50) {
            Style::Ours
        } else {
            Style::Existing
        };
        let slow = if percent(dice, 10) {
            dice.u64(2..20)
        } else {
            1
        };
        let mut behaviour = Behaviour::healthy(style).paced(Pace {
            poll: Duration::from_secs(60),
            report: None,
            wait: Duration::from_secs(60),
            pull: Duration::from_secs(dice.u64(2..60) * slow),
            start: Duration::from_secs(dice.u64(1..10) * slow),
            crash: Duration::from_secs(dice.u64(2..30)),
        });
        behaviour.bad = images::bad_on(seed, number);
        Self {
            id: device_id(number),
            machine: Machine::new(
                device_id(number),
                behaviour,
                child(seed, &format!("device {number}")),
            ),
            step_at: None,
            away_until: None,
            lies: if percent(dice, 25) {
                dice.u32(5..50)
            } else {
                0
            },
            last_report: None,
            news: true,
            runs: BTreeMap::new(),
        }
    }

    pub(crate) fn is_there(&self, now: DateTime<Utc>) -> bool {
        self.away_until.is_none_or(|until| until <= now)
    }

    /// Takes a target where it is a newer one.
    pub(crate) fn poll(&mut self, version: i64, state: &TargetState, now: DateTime<Utc>) {
        if version <= self.machine.version() {
            return;
        }
        self.machine.take(version, state);
        self.schedule(now);
        self.run_until(now);
    }

    /// Notes what it ran when it last spoke, and what no more. Breaks between two words of it are known
    /// to nobody: agents do not tell how often a container was restarted.
    fn watch(&mut self, at: DateTime<Utc>) {
        let running: BTreeSet<String> = self
            .machine
            .running()
            .into_values()
            .filter(|running| running.status == "running")
            .map(|running| running.image)
            .collect();
        for (image, run) in &mut self.runs {
            if !running.contains(image)
                && let Some(since) = run.since.take()
            {
                run.over.push((since, at));
            }
        }
        for image in running {
            self.runs.entry(image).or_default().since.get_or_insert(at);
        }
    }

    /// The longest time for which it ran an image without a break, of those that were not over before;
    /// none where it did not run it.
    pub(crate) fn ran(
        &self,
        image: &str,
        after: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<TimeDelta> {
        let run = self.runs.get(image)?;
        let last = run.since.map(|since| (since, now));
        let lately = run.over.iter().copied().chain(last);
        lately
            .filter(|(_, to)| *to >= after)
            .map(|(from, to)| to - from)
            .max()
    }

    fn schedule(&mut self, from: DateTime<Utc>) {
        let wait = self
            .machine
            .next_in()
            .and_then(|wait| TimeDelta::from_std(wait).ok());
        self.step_at = wait.map(|wait| from + wait);
    }

    /// Takes the machine's steps up to now. A crash loop takes a few in each call at most: more of
    /// the same tells nothing new.
    pub(crate) fn run_until(&mut self, now: DateTime<Utc>) {
        for _ in 0..12 {
            let Some(at) = self.step_at.filter(|at| *at <= now) else {
                break;
            };
            self.news |= self.machine.step();
            self.schedule(at);
        }
        if self.step_at.is_some_and(|at| at <= now) {
            self.schedule(now);
        }
    }

    /// What arrives of what it says now: nothing, one report, or several.
    pub(crate) fn reports(
        &mut self,
        now: DateTime<Utc>,
        dice: &mut fastrand::Rng,
        honest: bool,
    ) -> Vec<Value> {
        if !self.news && !percent(dice, 40) {
            return Vec::new();
        }
        self.news = false;
        let fresh = self.machine.report(now);
        let before = self.last_report.replace(fresh.clone());
        let how = (!honest && percent(dice, self.lies)).then(|| dice.u32(..7));
        if how != Some(LOST) {
            self.watch(now);
        }
        let Some(how) = how else { return vec![fresh] };
        match how {
            0 => vec![fresh.clone(), fresh],
            1 => before
                .into_iter()
                .map(|old| self.machine.replayed(old))
                .fold(vec![fresh], |mut all, old| {
                    all.push(old);
                    all
                }),
            2 => vec![bent(fresh, |services| services.clear())],
            3 => vec![bent(fresh, twice)],
            4 => vec![bent(fresh, |services| rename(services, dice))],
            LOST => {
                // It is said again later.
                self.news = true;
                Vec::new()
            }
            _ => vec![bent(fresh, |services| restarted(services, dice))],
        }
    }
}

fn bent(mut report: Value, bend: impl FnOnce(&mut Vec<Value>)) -> Value {
    let services = report
        .as_object_mut()
        .and_then(|map| map.values_mut().next())
        .and_then(|body| {
            body.get_mut("apps")?
                .as_object_mut()?
                .values_mut()
                .next()?
                .get_mut("services")?
                .as_array_mut()
        });
    if let Some(services) = services {
        bend(services);
    }
    report
}

/// The old container is still listed beside the new one.
fn twice(services: &mut Vec<Value>) {
    if let Some(first) = services.first().cloned() {
        let mut old = first;
        old["imageName"] = json!(images::image(0, 1));
        old["containerId"] = json!("0".repeat(64));
        old["status"] = json!("exited");
        services.push(old);
    }
}

/// Another image, never the one that is wanted: a device does not lie to look well.
fn rename(services: &mut [Value], dice: &mut fastrand::Rng) {
    let other = one_of(
        dice,
        &["registry.example:5000/other/thing:v1", "sha256:ffff"],
    )
    .unwrap_or_default();
    if let Some(first) = services.first_mut() {
        first["imageName"] = json!(other);
    }
}

fn restarted(services: &mut [Value], dice: &mut fastrand::Rng) {
    if let Some(first) = services.first_mut() {
        first["status"] = json!(one_of(
            dice,
            &["restarting", "created", "exited", "removing"]
        ));
    }
}
