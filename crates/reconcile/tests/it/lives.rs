//! What laws are tried on: random targets, and what happens between two steps.

use crate::model::{Behaviour, World};
use proptest::prelude::*;
use serde_json::json;
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::Wanted;

/// One service of a random target.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) there: bool,
    pub(crate) running: bool,
    pub(crate) image: u8,
    pub(crate) blue_green: bool,
    pub(crate) ports: u8,
    pub(crate) probe: bool,
    pub(crate) depends: bool,
    pub(crate) job: bool,
    pub(crate) lock: bool,
}

pub(crate) fn drawn() -> impl Strategy<Value = Drawn> {
    let often = || prop::bool::weighted(0.85);
    let seldom = || prop::bool::weighted(0.15);
    (
        often(),
        often(),
        0..6_u8,
        any::<bool>(),
        0..4_u8,
        any::<bool>(),
        seldom(),
        seldom(),
        seldom(),
    )
        .prop_map(
            |(there, running, image, blue_green, ports, probe, depends, job, lock)| Drawn {
                there,
                running,
                image,
                blue_green,
                ports,
                probe,
                depends,
                job,
                lock,
            },
        )
}

/// What happens between two steps.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A step is done as it should be.
    Step,
    /// The agent is killed before it did the step.
    Lost,
    /// The agent is killed after it, and does it again.
    Twice,
    /// The step fails.
    Fails(FailureClass),
    /// Time passes.
    Pass(u16),
    /// Somebody does something to a container.
    ByHand(u8, u8),
    /// Somebody takes a lock, or lets it go.
    Lock(u8),
    /// The next target comes.
    Target,
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Step),
        1 => Just(Event::Lost),
        2 => Just(Event::Twice),
        1 => prop_oneof![
            Just(FailureClass::Registry),
            Just(FailureClass::Disk),
            Just(FailureClass::Start),
        ].prop_map(Event::Fails),
        4 => (1..60_u16).prop_map(Event::Pass),
        1 => (0..6_u8, 0..7_u8).prop_map(|(which, what)| Event::ByHand(which, what)),
        1 => (0..3_u8).prop_map(Event::Lock),
        2 => Just(Event::Target),
    ]
}

pub(crate) fn image(service: usize, version: u8) -> String {
    format!("registry:5000/s{service}:v{version}")
}

pub(crate) fn target(drawn: &[Drawn], version: i64) -> Wanted {
    let services: Vec<_> = drawn
        .iter()
        .enumerate()
        .filter(|(_, drawn)| drawn.there)
        .map(|(n, drawn)| {
            let mut config = json!({"networks": ["net"], "environment": {"N": "1"}});
            if drawn.blue_green {
                config["updateStrategy"] = json!("blue-green");
            }
            // Services want one another's ports, so that they change places.
            match drawn.ports {
                0 => config["ports"] = json!([format!("{}:80", 8000 + n)]),
                1 => config["ports"] = json!(["9000-9010:80"]),
                2 => config["ports"] = json!([format!("{}:80", 8000 + (n + 1) % 3)]),
                _ => {}
            }
            if drawn.probe {
                config["readinessProbe"] = json!({"type": "tcp", "tcpPort": 80});
            }
            if drawn.depends && n > 0 {
                config["depends_on"] = json!({format!("s{}", n - 1): "service_healthy"});
            }
            if drawn.lock {
                config["updateLock"] = json!({"file": format!("/locks/{n}"), "longest": "10m"});
            }
            if drawn.job {
                config["restart"] = json!("no");
            }
            json!({"serviceId": n, "serviceName": format!("s{n}"),
                   "imageName": image(n, drawn.image),
                   "state": if drawn.running { "running" } else { "stopped" }, "config": config})
        })
        .collect();
    let target = json!({"apps": {"7": {"appId": 7, "appName": "demo", "services": services}}});
    Wanted::read(&serde_json::from_value(target).unwrap(), version)
}

/// How images behave: the same for every service, by their version.
pub(crate) fn behaviour(version: u8) -> Behaviour {
    match version {
        0..=2 => Behaviour::Well,
        3 => Behaviour::Crashes,
        4 => Behaviour::WillNotStart,
        _ => Behaviour::NotReady,
    }
}

pub(crate) fn world(targets: &[Vec<Drawn>]) -> World {
    let mut world = World::new(target(&targets[0], 1));
    for service in 0..3 {
        for version in 0..6 {
            world
                .behaves
                .insert(image(service, version), behaviour(version));
        }
    }
    world
}

pub(crate) fn by_hand(world: &mut World, which: u8, what: u8) {
    let count = world.observed.containers.len();
    if count == 0 {
        return;
    }
    let at = usize::from(which) % count;
    let container = &mut world.observed.containers[at];
    match what {
        0 => world.end(at, 137),
        1 => {
            world.observed.containers.remove(at);
        }
        2 if container.state == ContainerState::Running => container.state = ContainerState::Paused,
        3 if !container.is_active() => container.state = ContainerState::Dead,
        4 if !container.is_active() => container.state = ContainerState::Removing,
        5 if container.state == ContainerState::Exited => drop(world.start(at)),
        // As an agent that was killed after it made a container, and lost its name.
        _ => {
            let mut twin = container.clone();
            twin.id = format!("{:f>64}", world.made);
            twin.name = format!("twin-{}", world.made);
            twin.state = ContainerState::Created;
            twin.started_at = None;
            world.made += 1;
            let spec = world.specs[&container.id].clone();
            world.specs.insert(twin.id.clone(), spec);
            world.observed.containers.push(twin);
        }
    }
}
