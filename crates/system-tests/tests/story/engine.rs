//! What the engine says of itself, and how long it takes to stop and start a container.

use crate::PATIENCE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;
use windlass_engine::{ContainerPlan, Engine, PullSettings};
use windlass_reconcile::spec::ContainerSpec;
use windlass_testkit::{Process, Registry, eventually};

/// Something that happened to a container.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) action: String,
    /// Nanoseconds, by the engine's clock.
    pub(crate) at: u64,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Event {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// Follows an engine's events.
pub(crate) struct Events {
    follower: Process,
}

impl Events {
    /// Begins, and waits until it is told of them.
    pub(crate) async fn of(host: &str, beside: &mut StopStart) -> Self {
        let filters = r#"filters={"type":["container"],"event":["create","start","die"]}"#;
        let mut arguments = vec![
            "--silent",
            "--no-buffer",
            "--get",
            "--data-urlencode",
            filters,
        ];
        let url = match host.strip_prefix("unix://") {
            Some(socket) => {
                arguments.extend(["--unix-socket", socket]);
                "http://engine/events".to_owned()
            }
            None => format!("{host}/events"),
        };
        arguments.push(&url);
        let events = Self {
            follower: Process::start(Path::new("curl"), &arguments, &[]),
        };
        eventually("the engine tells what happens", PATIENCE, async || {
            events.seen().iter().any(|event| event.id == beside.id)
        })
        .await;
        events
    }

    /// All so far.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.follower
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|event| Event {
                id: event["Actor"]["ID"].as_str().unwrap().to_owned(),
                action: event["Action"].as_str().unwrap().to_owned(),
                at: event["timeNano"].as_u64().unwrap(),
                labels: serde_json::from_value(event["Actor"]["Attributes"].clone()).unwrap(),
            })
            .collect()
    }
}

/// A container that nobody manages and that is stopped and started again and again: the measure of what an agent
/// needs for that, on the same engine and under the same load.
pub(crate) struct StopStart {
    id: String,
    label: (String, String),
    host: String,
    engine: Arc<Engine>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<(Duration, usize)>,
}

impl StopStart {
    pub(crate) async fn begin(host: &str, registry: &Registry) -> Self {
        let engine = Arc::new(Engine::new(host.parse().unwrap()));
        let image = registry.push_app("demo/beside", "v1", &[]).await;
        let image = image.parse().unwrap();
        let settings = PullSettings { stall: PATIENCE };
        engine.pull(&image, None, settings, |_| {}).await.unwrap();
        let name = format!("beside-{}", Uuid::new_v4().simple());
        let label = ("test.beside".to_owned(), name.clone());
        let spec = ContainerSpec {
            // Stopped while it starts, a program does not listen to others yet.
            stop_signal: Some("SIGKILL".to_owned()),
            ..ContainerSpec::default()
        };
        let plan = ContainerPlan {
            name: &name,
            image: &format!("{}@{}", image.name(), image.digest().unwrap()),
            spec: &spec,
            labels: BTreeMap::from([label.clone()]),
            environment: BTreeMap::new(),
            attachments: Vec::new(),
        };
        let id = engine.create(&plan).await.unwrap().id;
        engine.start(&id).await.unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(again(Arc::clone(&engine), id.clone(), Arc::clone(&ends)));
        Self {
            id,
            label,
            host: host.to_owned(),
            engine,
            ends,
            task,
        }
    }

    /// Ends it; the longest stop and start, and how many there were. Afterwards all events before are seen.
    pub(crate) async fn end(&mut self, events: &Events) -> (Duration, usize) {
        self.ends.store(true, Ordering::Relaxed);
        let measured = (&mut self.task).await.unwrap();
        let last = |seen: Vec<Event>| {
            let own = seen.into_iter().rfind(|event| event.id == self.id);
            own.map(|event| event.action)
        };
        self.engine.stop(&self.id, PATIENCE).await.unwrap();
        eventually("the last event is seen", PATIENCE, async || {
            last(events.seen()).as_deref() == Some("die")
        })
        .await;
        measured
    }
}

impl Drop for StopStart {
    fn drop(&mut self) {
        self.task.abort();
        let (name, value) = &self.label;
        clean(&self.host, &format!("{name}={value}"));
    }
}

/// Removes all containers and networks with a label.
pub(crate) fn clean(host: &str, label: &str) {
    let (host, label) = (host.to_owned(), [label.to_owned()]);
    let remove = async move {
        let engine = Engine::new(host.parse().unwrap());
        for id in engine.list(&label).await.unwrap_or_default() {
            engine.kill(&id).await.ok();
            engine.remove(&id).await.ok();
        }
        for network in engine.networks(&label).await.unwrap_or_default() {
            engine.remove_network(&network.name).await.ok();
        }
    };
    // The test's own runtime cannot be waited on from where this is called.
    let cleaned = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(remove);
    });
    cleaned.join().ok();
}

/// Stops and starts it, and looks at the engine in between as an agent does: without a pause, so that no time in which
/// the engine or the machine is held up goes by unmeasured.
async fn again(engine: Arc<Engine>, id: String, ends: Arc<AtomicBool>) -> (Duration, usize) {
    let (mut longest, mut cycles) = (Duration::ZERO, 0);
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        engine.stop(&id, PATIENCE).await.unwrap();
        // Others' containers come and go meanwhile.
        for other in engine.list(&[]).await.unwrap_or_default() {
            engine.inspect(&other).await.ok();
        }
        engine.networks(&[]).await.ok();
        engine.images().await.ok();
        engine.start(&id).await.unwrap();
        longest = longest.max(begun.elapsed());
        cycles += 1;
    }
    (longest, cycles)
}
