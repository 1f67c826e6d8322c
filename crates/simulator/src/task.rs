//! The life of one device: provision, poll, apply, report, and try again.

use crate::behaviour::{Offline, Style};
use crate::model::Model;
use crate::port::{self, Behind};
use crate::record::Snapshot;
use crate::report::{replayed, report};
use crate::simulator::DeviceSpec;
use crate::wire::{Polled, Wire, WireError};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Waits after a failed request: doubled up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// A device and what others may see of it.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) spec: DeviceSpec,
    pub(crate) snapshot: Mutex<Snapshot>,
    /// False while it is stopped from outside.
    pub(crate) running: watch::Sender<bool>,
}

impl Device {
    pub(crate) fn new(spec: DeviceSpec) -> Self {
        let snapshot = Mutex::new(Snapshot::new(spec.uuid, &spec.name));
        Self {
            spec,
            snapshot,
            running: watch::Sender::new(true),
        }
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &WireError) {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::debug!(device.uuid = %self.spec.uuid, error = text, "a request of a device failed");
        let mut seen = self.look();
        seen.errors += 1;
        seen.last_error = Some(text);
    }
}

type Poll = Pin<Box<dyn Future<Output = Result<Polled, WireError>> + Send>>;

/// Runs the device until its task is dropped.
pub(crate) async fn live(device: Arc<Device>, wire: Wire, doors: Arc<Semaphore>) {
    let rng = fastrand::Rng::with_seed(device.spec.seed);
    let behind = watch::Sender::new(Behind::Nothing);
    let behaviour = &device.spec.behaviour;
    let mut ports = JoinSet::new();
    if let (Some(address), Some(port)) = (behaviour.address, behaviour.health_port) {
        ports.spawn(port::serve((address, port).into(), behind.subscribe()));
    }
    let mut life = Life {
        behind,
        model: Model::new(device.spec.behaviour.clone(), rng),
        device,
        wire,
        etag: None,
        backoff: Duration::from_millis(100),
        unsent: false,
        last: None,
    };
    life.provision(&doors).await;
    life.run().await;
    ports.shutdown().await;
}

struct Life {
    device: Arc<Device>,
    wire: Wire,
    model: Model,
    /// What stands behind its health port.
    behind: watch::Sender<Behind>,
    etag: Option<String>,
    backoff: Duration,
    /// There is something to report that no 2xx has answered yet.
    unsent: bool,
    /// The report before.
    last: Option<Value>,
}

impl Life {
    async fn provision(&mut self, doors: &Semaphore) {
        while !self.device.spec.provisioning_key.is_empty() {
            let done = {
                // A fleet that starts at once comes through the door in an orderly way.
                let _permit = doors.acquire().await;
                match self.wire.register(&self.device.spec).await {
                    Ok(()) => self.wire.exchange_key(&self.device.spec).await,
                    Err(error) => Err(error),
                }
            };
            match done {
                Ok(()) => break,
                Err(error) => {
                    self.device.failed(&error);
                    let wait = self.next_backoff(error.retry_after());
                    sleep(wait).await;
                }
            }
        }
        self.calm();
        let mut seen = self.device.look();
        (seen.provisioned, seen.online) = (true, true);
    }

    fn calm(&mut self) {
        self.backoff = Duration::from_millis(100);
    }

    fn next_backoff(&mut self, told: Option<Duration>) -> Duration {
        let wait = told.unwrap_or(self.backoff);
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        self.model.jitter(wait)
    }

    async fn run(&mut self) {
        let provisioned = Instant::now();
        let mut switch = self.device.running.subscribe();
        let first = self.model.jitter(Duration::from_millis(50));
        let mut poll = self.poll_after(first);
        // The first step's time is counted from the step before it.
        let mut stepped = Instant::now();
        let mut retry = None;
        let mut beat = self.next_beat();
        loop {
            let away = away(self.device.spec.behaviour.offline, provisioned);
            let online = *switch.borrow_and_update() && !away.now && !self.model.silent;
            if self.device.look().online != online {
                self.device.look().online = online;
                if online {
                    // Back again: an agent reports at once what it runs.
                    self.unsent = self.model.version > 0;
                    retry = Some(Instant::now());
                    poll = self.poll_after(Duration::ZERO);
                }
            }
            let step_at = self.model.next_in().map(|wait| stepped + wait);
            tokio::select! {
                answer = &mut poll, if online => {
                    let pause = self.polled(answer, &mut stepped);
                    poll = self.poll_after(pause);
                }
                () = until(step_at) => {
                    stepped = Instant::now();
                    self.unsent |= self.model.step();
                    self.show();
                    if online && self.unsent {
                        retry = self.send().await;
                    }
                }
                () = until(retry), if online && self.unsent => retry = self.send().await,
                () = until(beat), if online => {
                    beat = self.next_beat();
                    self.unsent = true;
                    retry = self.send().await;
                }
                () = until(away.until) => {}
                changed = switch.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Whoever switches it on means it to talk.
                    self.model.silent &= !*switch.borrow();
                }
            }
        }
    }

    /// When the next report is due though nothing has happened.
    fn next_beat(&mut self) -> Option<Instant> {
        let every = self.device.spec.behaviour.pace.report?;
        Some(Instant::now() + self.model.jitter(every))
    }

    /// Takes what a poll brought; returns how long to wait before the next one.
    fn polled(&mut self, answer: Result<Polled, WireError>, stepped: &mut Instant) -> Duration {
        let told = match answer {
            Ok(Polled::Target {
                etag,
                version,
                state,
                interval,
            }) => {
                self.calm();
                self.etag = etag;
                {
                    let mut seen = self.device.look();
                    seen.targets += 1;
                    if seen.versions.last() != Some(&version) {
                        seen.versions.push(version);
                    }
                    seen.version = version;
                }
                // The same target again, after a restart of either side, is no new one.
                if version != self.model.version {
                    self.model.take(version, &state);
                    *stepped = Instant::now();
                }
                interval
            }
            Ok(Polled::Unchanged { interval }) => {
                self.calm();
                self.device.look().not_modified += 1;
                interval
            }
            Err(error) => {
                self.device.failed(&error);
                return self.next_backoff(error.retry_after());
            }
        };
        match (told, self.model.style()) {
            (Some(interval), _) => self.model.jitter(interval),
            (None, Style::Existing) => self.model.jitter(self.device.spec.behaviour.pace.poll),
            // A held poll is followed by the next at once; a server that does not hold is spared.
            (None, Style::Ours) => self.model.jitter(Duration::from_millis(20)),
        }
    }

    fn poll_after(&self, wait: Duration) -> Poll {
        let (wire, device) = (self.wire.clone(), Arc::clone(&self.device));
        let etag = self.etag.clone();
        Box::pin(async move {
            sleep(wait).await;
            wire.poll(&device.spec, etag.as_deref()).await
        })
    }

    /// Reports; returns when to try again where that failed.
    async fn send(&mut self) -> Option<Instant> {
        let body = report(self.device.spec.uuid, &mut self.model, chrono::Utc::now());
        let sent = self.wire.report(&self.device.spec, &body).await;
        let retry = match &sent {
            Ok(()) => {
                self.calm();
                self.unsent = false;
                self.device.look().reports += 1;
                None
            }
            Err(error) => {
                self.device.failed(error);
                Some(Instant::now() + self.next_backoff(error.retry_after()))
            }
        };
        if self.device.spec.behaviour.replays
            && sent.is_ok()
            && let Some(old) = self.last.replace(body)
        {
            let old = replayed(old, self.model.style());
            match self.wire.report(&self.device.spec, &old).await {
                Ok(()) => self.device.look().reports += 1,
                Err(error) => self.device.failed(&error),
            }
        }
        retry
    }

    fn show(&self) {
        let behind = self.model.behind();
        self.behind.send_if_modified(|now| {
            let changed = *now != behind;
            *now = behind;
            changed
        });
        let mut seen = self.device.look();
        seen.running = self.model.running();
        let known = seen.started.len();
        seen.started
            .extend(self.model.started.iter().skip(known).cloned());
    }
}

struct Away {
    now: bool,
    /// When that changes next.
    until: Option<Instant>,
}

fn away(offline: Option<Offline>, since: Instant) -> Away {
    let Some(offline) = offline else {
        return Away {
            now: false,
            until: None,
        };
    };
    let (from, to) = (since + offline.after, since + offline.after + offline.lasts);
    let now = Instant::now();
    Away {
        now: now >= from && now < to,
        until: [from, to].into_iter().find(|at| *at > now),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
