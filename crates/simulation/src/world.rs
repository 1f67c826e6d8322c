//! A world: a store on virtual time, a fleet, two replicas of every service, and people.

use crate::broken::{Broken, Held};
use crate::dice::{Dice, one_of, percent};
use crate::fleet::{Device, first_state};
use crate::ledger::{Ledger, goes_on};
use crate::open::closed_for;
use crate::operators::{self, Button};
use crate::passes::{Pass, Replica};
use crate::turns::{Process, Running, Work, refused};
use crate::{draw, plant::Plant};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use windlass_bus::Bus;
use windlass_core::batches::shuffle_of;
use windlass_core::target::state_id;
use windlass_service::Deps;
use windlass_state_api::{Said, judged, write_reports};
use windlass_store::{Clock, Session, Store, events, presence, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, PolicyId, RolloutId};
use windlass_types::policy::PolicySpec;

/// All there is.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
    /// The simulation's own view, which nobody watches.
    pub(crate) store: Store,
    /// What looks at each transaction reads with it.
    looks: Session,
    pub(crate) replicas: Vec<Replica>,
    api: Deps,
    api_process: Arc<Process>,
    pub(crate) fleet: BTreeMap<DeviceId, Device>,
    pub(crate) ledger: Ledger,
    pub(crate) policies: BTreeMap<PolicyId, PolicySpec>,
    next_version: Vec<u32>,
    next_device: u64,
    /// Whether devices tell the truth and nobody dies any more.
    pub(crate) calm: bool,
    pub(crate) plant: Option<Plant>,
    pub(crate) trace: bool,
    /// The last steps, for people.
    pub(crate) steps: VecDeque<String>,
    pub(crate) transactions: u64,
    /// Whether rules have no gates.
    pub(crate) plain: bool,
    /// What a planted counter has counted.
    pub(crate) counted: BTreeMap<RolloutId, i64>,
}

impl World {
    pub(crate) async fn new(
        seed: u64,
        store: Store,
        clock: Clock,
        most_devices: u64,
        plain: bool,
    ) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let api_process = Process::new();
        let api = Deps::new(store.watched(Arc::clone(&api_process) as _), Bus::local());
        let now = clock.now();
        let mut world = Self {
            looks: store.read().await?,
            replicas: vec![Replica::new(&store)?, Replica::new(&store)?],
            api,
            api_process,
            ledger: Ledger::new(now),
            fleet: BTreeMap::new(),
            policies: BTreeMap::new(),
            next_version: vec![1, 1],
            next_device: 1,
            calm: false,
            plant: None,
            trace: false,
            steps: VecDeque::new(),
            transactions: 0,
            plain,
            counted: BTreeMap::new(),
            seed,
            clock,
            store,
            dice: Dice::new(seed),
        };
        let devices = match dice.fleet.u32(..1_000) {
            0..900 => dice.fleet.u64(1..=8),
            900..985 => dice.fleet.u64(9..=30),
            985..999 => dice.fleet.u64(31..=150),
            _ => dice.fleet.u64(151..=5_000),
        };
        world.add_devices(devices.min(most_devices)).await?;
        let mut tx = world.store.begin().await?;
        for number in 0..dice.rules.usize(1..4) {
            let id = PolicyId(tx.new_id());
            let mut spec = draw::policy(&mut dice.rules, &format!("policy-{number}"), now);
            draw::for_fleet_of(world.fleet.len(), &mut spec.limits, &mut spec.failure);
            // The first is about something that every fleet has.
            if plain {
                draw::ungated(&mut spec);
            }
            if number == 0 {
                crate::images::REPOSITORIES[0].clone_into(&mut spec.image);
            }
            windlass_store::policies::create(&mut tx, id, &spec, "operator:ada").await?;
            world.policies.insert(id, spec);
        }
        tx.commit().await?;
        world.look().await?;
        Ok(world)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn note(&mut self, step: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now().format("%d %H:%M:%S%.3f"), step());
        if self.trace {
            println!("{line}");
        }
        if self.steps.len() >= 25 {
            self.steps.pop_front();
        }
        self.steps.push_back(line);
    }

    pub(crate) async fn look(&mut self) -> Held {
        let before = self.ledger.events;
        let result = self.ledger.look(&mut self.looks, &self.fleet).await;
        if self.trace {
            let new = usize::try_from(self.ledger.events - before).unwrap_or(0);
            let skip = self.ledger.last.len().saturating_sub(new);
            for line in self.ledger.last.iter().skip(skip) {
                println!("    {line}");
            }
        }
        result
    }

    pub(crate) async fn add_devices(&mut self, count: u64) -> windlass_store::Result<()> {
        let mut tx = self.store.begin().await?;
        for _ in 0..count {
            let number = self.next_device;
            self.next_device += 1;
            let device = Device::new(self.seed, number, &mut self.dice);
            self.register(&mut tx, &device, number).await?;
            self.fleet.insert(device.id, device);
        }
        tx.commit().await?;
        Ok(())
    }

    async fn register(
        &mut self,
        tx: &mut Session,
        device: &Device,
        number: u64,
    ) -> windlass_store::Result<()> {
        let now = tx.now();
        let dice = &mut self.dice.fleet;
        let state = first_state(dice);
        let id = state_id(&state);
        let fleet = one_of(dice, &draw::FLEETS).unwrap_or("lab");
        let zone = percent(dice, 40)
            .then(|| one_of(dice, &crate::open::ZONES))
            .flatten();
        targets::ensure_states(tx, &BTreeMap::from([(id, state)])).await?;
        tx.sql("INSERT INTO fleets (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(fleet.to_owned())
            .bind(now)
            .execute()
            .await?;
        tx.sql(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, shuffle, created_at, \
             time_zone) VALUES ($1, $2, 'standalone', $3, $4, $5, $6, $7)",
        )
        .bind(device.id.0)
        .bind(format!("device-{number}"))
        .bind(fleet.to_owned())
        .bind(device.id.0.as_bytes().to_vec())
        .bind(shuffle_of(device.id))
        .bind(now)
        .bind(zone.map(|(name, _)| name.to_owned()))
        .execute()
        .await?;
        if percent(dice, 80) {
            tx.sql("INSERT INTO device_tags (device_uuid, key, value) VALUES ($1, 'region', $2)")
                .bind(device.id.0)
                .bind(draw::region(dice))
                .execute()
                .await?;
        }
        targets::create(tx, device.id, id).await?;
        let event = NewEvent::new(EventType::DeviceRegistered, "device")
            .device(device.id)
            .version(1)
            .data(json!({"fleet": fleet, "name": format!("device-{number}")}));
        events::append(tx, event).await?;
        Ok(())
    }

    /// Time passes: devices take their steps, poll and report.
    pub(crate) async fn advance(&mut self, by: TimeDelta) -> Held {
        self.clock.advance(by);
        let now = self.now();
        self.note(|| format!("{} s pass", by.num_seconds()));
        let expected = self.ledger.on_the_way();
        let mut seen = Vec::new();
        let mut said = Vec::new();
        for (id, device) in &mut self.fleet {
            let Some(target) = self.ledger.targets.get(id) else {
                continue;
            };
            let behind = target.version > device.machine.version();
            if !behind && device.step_at.is_none() && !expected.contains(id) {
                // It has nothing to say, but it polls: nobody is to think that it is silent.
                if self.calm || device.is_there(now) {
                    seen.push((*id, now));
                }
                continue;
            }
            device.run_until(now);
            if !self.calm
                && device.away_until.is_none_or(|until| until <= now)
                && percent(&mut self.dice.reports, 4)
            {
                let hours = if percent(&mut self.dice.reports, 20) {
                    30
                } else {
                    1
                };
                device.away_until =
                    Some(now + TimeDelta::minutes(self.dice.reports.i64(5..60 * hours)));
            }
            if !self.calm && !device.is_there(now) {
                continue;
            }
            if let Some(state) = self.ledger.states.get(&target.state) {
                device.poll(target.version, state, now);
            }
            seen.push((*id, now));
            for report in device.reports(now, &mut self.dice.reports, self.calm) {
                let body = report.as_object().and_then(|map| map.values().next());
                let text = body.map(Value::to_string).unwrap_or_default();
                if let Ok(Some(report)) = judged(&text) {
                    said.push(Said {
                        device: *id,
                        report,
                        body: text.into(),
                    });
                }
            }
        }
        if !seen.is_empty() {
            let mut tx = self.store.begin().await?;
            presence::seen(&mut tx, &seen).await?;
            tx.commit().await?;
        }
        if !said.is_empty() {
            let work = report_work(&self.api, said);
            let process = Arc::clone(&self.api_process);
            self.run(vec![Running::new(&process, work)]).await?;
        }
        Ok(())
    }

    /// A pass of one of the replicas.
    pub(crate) fn pass(&self, pass: Pass, replica: usize) -> Option<Running> {
        let replica = self.replicas.get(replica)?;
        Some(Running::new(&replica.process, replica.work(pass)))
    }

    /// A button drawn and about to be pressed.
    pub(crate) fn button(&mut self) -> Option<Running> {
        let now = self.now();
        let mut button = operators::drawn(
            &mut self.dice.operators,
            &self.ledger,
            &self.policies,
            &mut self.next_version,
            now,
        )?;
        match &mut button {
            Button::MakePolicy(spec) | Button::ChangePolicy(_, spec) => {
                draw::for_fleet_of(self.fleet.len(), &mut spec.limits, &mut spec.failure);
            }
            Button::Trigger(rule, _, _) => {
                draw::for_fleet_of(self.fleet.len(), &mut rule.limits, &mut rule.failure);
            }
            _ => {}
        }
        let button = if self.plain {
            operators::ungated(button)?
        } else {
            button
        };
        Some(self.pressed(button))
    }

    pub(crate) fn pressed(&mut self, button: Button) -> Running {
        self.note(|| format!("{button:?}").chars().take(400).collect());
        if let Button::ChangePolicy(id, spec) = &button {
            self.policies.insert(*id, (**spec).clone());
        }
        Running::new(&self.api_process, operators::press(&self.api, button))
    }

    /// Runs these at once, transaction by transaction in an order that is drawn, and holds each
    /// transaction against the laws.
    pub(crate) async fn run(&mut self, mut running: Vec<Running>) -> Held {
        while !running.is_empty() {
            let at = if running.len() == 1 {
                0
            } else {
                self.dice.turns.usize(..running.len())
            };
            let Some(one) = running.get_mut(at) else {
                break;
            };
            let committed = one.go_on().await;
            let ended = one.done.is_some();
            let broken = if ended { refused(one) } else { None };
            if ended {
                let gone = running.swap_remove(at);
                let process = gone.process;
                drop(gone.work);
                if process.restart() {
                    self.note(|| "… and died".to_owned());
                }
            }
            if committed {
                self.transactions += 1;
                self.look().await?;
            }
            if let Some(broken) = broken {
                return Err(broken);
            }
        }
        Ok(())
    }

    /// How long nobody may be admitted because all windows are closed: none where one is open, or where a
    /// rollout waits for something else.
    pub(crate) fn closed_for(&self) -> Option<TimeDelta> {
        let mut waiting = BTreeMap::new();
        let going = self.ledger.rollouts.values();
        for rollout in going.filter(|r| goes_on(r.status)) {
            let pending: Vec<DeviceId> = self.ledger.pending(rollout.id).collect();
            if pending.is_empty() {
                return None;
            }
            for device in pending {
                let traits = self.ledger.devices.get(&device);
                let zone = traits.and_then(|traits| traits.time_zone.as_deref());
                let windows = rollout.rule.maintenance_windows.as_slice();
                waiting.insert((rollout.id, zone), (windows, zone));
            }
        }
        let waiting: Vec<_> = waiting.into_values().collect();
        closed_for(&waiting, self.now())
    }

    /// Notes that a version was pushed, so that the next is a newer one.
    pub(crate) fn seen_version(&mut self, repository: usize, version: u32) {
        if let Some(slot) = self.next_version.get_mut(repository) {
            *slot = version.max(*slot);
        }
    }

    pub(crate) async fn finish(&self) -> Result<(), Broken> {
        self.ledger.compare(&self.store).await
    }
}

fn report_work(api: &Deps, said: Vec<Said>) -> Work {
    let api = api.clone();
    Box::pin(async move {
        let group: Vec<&Said> = said.iter().collect();
        write_reports(&api, &group).await.map(drop)
    })
}
