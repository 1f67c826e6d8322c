//! Cases as data: what is wanted, what runs and what is remembered go in, the names of steps come out.
//!
//! Each file of `tests/cases` holds one list of them. Specs are named and given as a service of a target is;
//! containers say which spec they are of. The steps of a case are done by the model one after the other until there
//! is none; `pass` then lets so many seconds go by, and the steps after that follow, parted by `...`.

use crate::model::{Behaviour, World};
use crate::watch;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use windlass_reconcile::memory::{
    Failed, FailureClass, Memory, Restarts, Run, ServiceMemory, Update,
};
use windlass_reconcile::observed::{Aside, ContainerState, Health, Offer, ProbeResult};
use windlass_reconcile::settings::Settings;
use windlass_reconcile::spec::{Healthcheck, ServiceKey, ServiceSpec, Wanted};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, as a sentence.
    about: String,
    /// By name: `{"image": "r/a:1", "config": {…}, "state": "stopped", "service": 1, "name": "web"}`.
    specs: BTreeMap<String, Value>,
    /// The names of the specs that are wanted.
    #[serde(default)]
    wanted: Vec<String>,
    /// The version of the target.
    #[serde(default = "two")]
    version: i64,
    /// The version that was taken.
    #[serde(default = "two")]
    taken: i64,
    /// The names of the specs that were good last.
    #[serde(default)]
    good: Vec<String>,
    /// By spec: class, and optionally version, tries and seconds to the next try.
    #[serde(default)]
    failed: BTreeMap<String, Failure>,
    /// By spec: seconds since its update began or met a lock.
    #[serde(default)]
    begun: BTreeMap<String, i64>,
    #[serde(default)]
    locked: BTreeMap<String, i64>,
    #[serde(default)]
    containers: Vec<Made>,
    /// Images that are there: names of specs, or references.
    #[serde(default)]
    images: Vec<String>,
    /// Images that the agent pulled.
    #[serde(default)]
    pulled: Vec<String>,
    #[serde(default)]
    pulling: BTreeSet<String>,
    #[serde(default)]
    offers: BTreeMap<String, Offer>,
    #[serde(default)]
    networks: BTreeMap<String, i64>,
    #[serde(default)]
    free: Option<u64>,
    #[serde(default)]
    platform: Option<String>,
    /// By service id: who holds its lock.
    #[serde(default)]
    locks: BTreeMap<i64, String>,
    /// By image.
    #[serde(default)]
    behaves: BTreeMap<String, Behaviour>,
    #[serde(default)]
    pulls: BTreeMap<String, FailureClass>,
    /// By subject: seconds.
    #[serde(default)]
    aside: BTreeMap<String, i64>,
    /// By service id: in somebody else's hands.
    #[serde(default)]
    left: Vec<i64>,
    /// Seconds to let go by, one after the other, each time nothing is to be done.
    #[serde(default)]
    pass: Vec<i64>,
    /// The steps.
    steps: Vec<String>,
    /// What the views say in the end: `phase`, `error`, `waits`, `image`, `status`, `health` by service id.
    #[serde(default)]
    views: BTreeMap<i64, Map<String, Value>>,
    /// Whether the whole target is refused.
    #[serde(default)]
    refused: bool,
}

fn two() -> i64 {
    2
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    class: FailureClass,
    #[serde(default = "two")]
    version: i64,
    #[serde(default)]
    next: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    /// The name of its spec.
    of: String,
    state: ContainerState,
    /// Seconds since it was started.
    #[serde(default)]
    ran: Option<i64>,
    /// Seconds that the agent has seen it run, where these are not the same.
    #[serde(default)]
    seen: Option<u32>,
    #[serde(default)]
    exit: Option<i64>,
    #[serde(default)]
    oom: bool,
    #[serde(default)]
    restarts: u32,
    /// How many of these were before the agent saw it.
    #[serde(default)]
    restarts_before: u32,
    /// What its image says of its check.
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
    #[serde(default)]
    unnamed: bool,
    #[serde(default)]
    health: Option<Health>,
    /// By probe.
    #[serde(default)]
    probes: BTreeMap<String, Health>,
    /// Whether the agent stopped it to make room.
    #[serde(default)]
    made_room: bool,
    /// Seconds since the agent restarted it, and how often.
    #[serde(default)]
    restarted: Option<(i64, u32)>,
}

fn read(specs: &[(&String, &Value)], version: i64) -> Wanted {
    let services: Vec<Value> = specs
        .iter()
        .map(|(name, spec)| {
            json!({"serviceId": spec.get("service").cloned().unwrap_or(json!(1)),
                   "serviceName": spec.get("name").cloned().unwrap_or(json!("web")),
                   "imageName": spec.get("image").cloned().unwrap_or(json!(format!("r/app:{name}"))),
                   "state": spec.get("state").cloned().unwrap_or(json!("running")),
                   "config": spec.get("config").cloned().unwrap_or(json!({}))})
        })
        .collect();
    let target = json!({"apps": {"7": {"appId": 7, "appName": "demo", "services": services}}});
    Wanted::read(&serde_json::from_value(target).unwrap(), version)
}

fn key(spec: &Value) -> ServiceKey {
    let service = spec.get("service").and_then(Value::as_i64).unwrap_or(1);
    ServiceKey { app: 7, service }
}

impl Case {
    fn spec(&self, name: &str) -> (ServiceKey, ServiceSpec) {
        let given = self
            .specs
            .get(name)
            .unwrap_or_else(|| panic!("{}: no spec {name}", self.about));
        let mut given = given.clone();
        // Dependencies are no part of a container, and cannot be read alone.
        if let Some(config) = given.get_mut("config").and_then(Value::as_object_mut) {
            config.remove("depends_on");
        }
        let mut wanted = read(&[(&name.to_owned(), &given)], 1);
        let spec = wanted.services.remove(&key(&given));
        (
            key(&given),
            spec.unwrap_or_else(|| panic!("{}: {:?}", self.about, wanted.refused)),
        )
    }

    fn image(&self, name: &str) -> String {
        if self.specs.contains_key(name) {
            self.spec(name).1.image
        } else {
            name.to_owned()
        }
    }

    fn world(&self) -> World {
        let wanted: Vec<(&String, &Value)> = self
            .wanted
            .iter()
            .map(|name| {
                self.specs
                    .get_key_value(name)
                    .expect("a wanted spec is given")
            })
            .collect();
        let mut world = World::new(read(&wanted, self.version));
        world.settings = Settings {
            reserve_bytes: 100 << 20,
            // Cases that are about it say so in the service.
            drain_seconds: 0,
            ..Settings::default()
        };
        world.behaves = self.behaves.clone();
        world.pulls = self.pulls.clone();
        let now = world.now;
        let ago = |seconds: i64| now - TimeDelta::seconds(seconds);
        for made in &self.containers {
            let (key, spec) = self.spec(&made.of);
            world.add_image(&spec.image);
            let name = format!("c{}", world.made);
            let at = world.add((key.app, key.service), &spec, &name);
            let container = &mut world.observed.containers[at];
            container.state = made.state;
            container.started_at = made.ran.map(ago);
            container.exit_code = made.exit;
            let ran = made.ran.and_then(|ran| u32::try_from(ran).ok());
            container.seen_seconds = made.seen.or(ran).unwrap_or(0);
            if !made.unnamed {
                container.served_seconds = container.seen_seconds;
            }
            container.oom_killed = made.oom;
            container.restarts = made.restarts;
            container.restarts_before = made.restarts_before;
            container.healthcheck.clone_from(&made.healthcheck);
            container.serving = !made.unnamed;
            container.health = made.health;
            let says = |name: &str| {
                let health = *made.probes.get(name)?;
                Some(ProbeResult {
                    health,
                    at: now,
                    output: "so it says".to_owned(),
                })
            };
            container.probes.startup = says("startup");
            container.probes.readiness = says("readiness");
            container.probes.liveness = says("liveness");
            for name in made.probes.keys().filter(|name| name.contains("check")) {
                container
                    .probes
                    .checks
                    .insert(name.clone(), says(name).unwrap());
            }
            let run = Run {
                id: container.id.clone(),
                started_at: container.started_at,
            };
            if made.made_room {
                let of = world.memory.services.entry(key).or_default();
                of.stops.push(run.clone());
            }
            if let Some((seconds, count)) = made.restarted {
                // The run before this one.
                let run = Run {
                    started_at: None,
                    ..run
                };
                let at = ago(seconds);
                let of = world.memory.services.entry(key).or_default();
                of.restarts = Some(Restarts { run, count, at });
            }
        }
        self.remember(&mut world.memory, now);
        for image in &self.images {
            world.add_image(&self.image(image));
        }
        let observed = &mut world.observed;
        observed.offers = self.offers.clone();
        observed.free_bytes = self.free;
        observed.platform = self.platform.clone();
        observed.pulling = self.pulling.clone();
        observed.networks = self.networks.clone();
        // The network that all of them have by default.
        if !self.containers.is_empty() {
            observed.networks.insert("windlass-7-default".to_owned(), 7);
        }
        let locks = self.locks.iter();
        observed.locks = locks
            .map(|(id, who)| {
                (
                    ServiceKey {
                        app: 7,
                        service: *id,
                    },
                    who.clone(),
                )
            })
            .collect();
        let left = self.left.iter().map(|id| ServiceKey {
            app: 7,
            service: *id,
        });
        observed.left = left.collect();
        for (subject, seconds) in &self.aside {
            let until = now + TimeDelta::seconds(*seconds);
            let message = "the engine does not answer".to_owned();
            observed
                .aside
                .insert(subject.clone(), Aside { message, until });
        }
        world
    }

    fn remember(&self, memory: &mut Memory, now: DateTime<Utc>) {
        memory.version = self.taken;
        memory.pulled = self.pulled.iter().map(|name| self.image(name)).collect();
        let mut of = |name: &str, write: &dyn Fn(&mut ServiceMemory, ServiceSpec)| {
            let (key, spec) = self.spec(name);
            write(memory.services.entry(key).or_default(), spec);
        };
        for name in &self.good {
            of(name, &|of, mut spec| {
                // As it was read beside the others.
                if let Some(names) = self.specs[name].pointer("/config/depends_on") {
                    for name in names.as_array().into_iter().flatten() {
                        let name = name.as_str().unwrap_or_default().to_owned();
                        spec.depends_on
                            .insert(name, windlass_reconcile::spec::DependsOn::Started);
                    }
                }
                of.good = Some(spec);
            });
        }
        for (name, failure) in &self.failed {
            of(name, &|of, spec| {
                of.failed = Some(Failed {
                    fingerprint: spec.fingerprint(),
                    version: failure.version,
                    class: failure.class,
                    message: "it did not work".to_owned(),
                    tries: 1,
                    next_try_at: failure
                        .next
                        .map(|seconds| now + TimeDelta::seconds(seconds)),
                });
            });
        }
        for (names, begun) in [(&self.begun, true), (&self.locked, false)] {
            for (name, seconds) in names {
                let since = now - TimeDelta::seconds(*seconds);
                of(name, &|of, spec| {
                    of.update = Some(Update {
                        fingerprint: spec.fingerprint(),
                        locked_since: (!begun).then_some(since),
                        started_at: begun.then_some(since),
                    });
                });
            }
        }
    }
}

fn run(case: &Case) -> (Vec<String>, World) {
    let mut world = case.world();
    let mut told = Vec::new();
    let mut pass = case.pass.iter();
    while told.len() < 60 {
        match world.plan().step {
            Some(step) => {
                watch::check(&world, &step);
                told.push(world.told(&step));
                world.carry_out(&step);
            }
            None => match pass.next() {
                Some(seconds) => {
                    told.push("...".to_owned());
                    world.pass(*seconds);
                }
                None => break,
            },
        }
    }
    (told, world)
}

/// What the views say, as far as a case asks.
fn views(case: &Case, world: &World) -> BTreeMap<i64, Map<String, Value>> {
    let mut found = BTreeMap::new();
    for view in world.plan().views {
        let Some(asked) = case.views.get(&view.key.service) else {
            continue;
        };
        let view = serde_json::to_value(&view).unwrap();
        let mut says = Map::new();
        for name in asked.keys() {
            let value = match name.as_str() {
                "error" => view.pointer("/error/class"),
                "message" => view.pointer("/error/message"),
                "waits" => view.pointer("/waits/0"),
                "image" => view.pointer("/container/image"),
                "status" => view.pointer("/container/status"),
                "health" => view.pointer("/health/status"),
                "probe" => view.pointer("/health/probe"),
                other => view.get(other),
            };
            says.insert(name.clone(), value.cloned().unwrap_or_default());
        }
        found.insert(view["key"].as_str().unwrap()[2..].parse().unwrap(), says);
    }
    found
}

#[test]
fn every_case_gives_its_steps() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/cases is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<Case> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for case in cases {
            count += 1;
            let about = &case.about;
            let (told, world) = match std::panic::catch_unwind(|| run(&case)) {
                Ok(done) => done,
                Err(_) => {
                    wrong.push(format!("{about}: it breaks a law"));
                    continue;
                }
            };
            if told != case.steps {
                let (told, expected) = (json!(told), json!(case.steps));
                wrong.push(format!("{about}:\n   is {told}\n  not {expected}"));
            }
            let (says, expected) = (json!(views(&case, &world)), json!(case.views));
            if says != expected {
                wrong.push(format!("{about}:\n   views are {says}\n  not {expected}"));
            }
            if world.plan().refused.is_some() != case.refused {
                wrong.push(format!("{about}: refused is {:?}", world.plan().refused));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 80, "there are only {count} cases");
}
