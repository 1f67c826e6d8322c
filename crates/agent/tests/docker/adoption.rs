//! Containers that somebody else started.

use crate::bench::{Bench, PATIENCE, ask, service, with_v1};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::{ContainerPlan, Found, PullSettings};
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::ContainerSpec;
use windlass_testkit::eventually;

/// A container made by hand, gone with the test.
struct ByHand<'a> {
    device: &'a str,
    id: String,
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        let socket = self.device.trim_start_matches("unix://");
        let url = format!("http://engine/containers/{}?force=true", self.id);
        std::process::Command::new("curl")
            .args(["--silent", "--unix-socket", socket, "-X", "DELETE", &url])
            .status()
            .ok();
    }
}

async fn by_hand<'a>(
    host: &'a str,
    device: &Bench,
    name: &str,
    image: &str,
    labels: &[(&str, &str)],
) -> ByHand<'a> {
    let settings = PullSettings {
        stall: Duration::from_secs(60),
    };
    let reference = image.parse().unwrap();
    device
        .engine
        .pull(&reference, None, settings, |_| {})
        .await
        .unwrap();
    let (repository, digest) = (reference.name(), reference.digest().unwrap());
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let plan = ContainerPlan {
        name,
        image: &format!("{repository}@{digest}"),
        spec: &ContainerSpec::default(),
        labels,
        environment: BTreeMap::new(),
        attachments: Vec::new(),
    };
    let made = device.engine.create(&plan).await.unwrap();
    device.engine.start(&made.id).await.unwrap();
    ByHand {
        device: host,
        id: made.id,
    }
}

async fn inspect(device: &Bench, id: &str) -> Option<Found> {
    device.engine.inspect(id).await.unwrap()
}

#[tokio::test]
async fn a_container_that_was_started_by_hand_is_taken_as_it_is_and_updated_safely() {
    let (registry, v1) = with_v1().await;
    let bad = registry
        .push_app("demo/app", "v2", &[("APP_CRASH_AFTER_MS", "0")])
        .await;
    let v3 = registry.push_app("demo/app", "v3", &[]).await;
    let mut device = Bench::new().await;
    let host = device.host.clone();
    let name = format!("{}-by-hand", device.scope);
    let container = by_hand(&host, &device, &name, &v1, &[]).await;
    let before = inspect(&device, &container.id).await.unwrap();

    // It is only said, and then only with what is to be said.
    device.start(&[]);
    eventually("the agent has its state", PATIENCE, async || {
        device.agent_knows(&json!(0))
    })
    .await;
    let (well, said) = device.command(&["adopt", &name, "--service", "1/1", "--dry-run"]);
    assert!(well && said.contains("would be service 1/1"), "{said}");
    let (well, said) = device.command(&["adopt", &name, "--service", "1/1"]);
    assert!(!well && said.contains("--yes"), "{said}");
    assert!(!device.file("state/claims.json").exists());
    let (well, said) = device.command(&["adopt", &name, "--service", "1/1", "--yes"]);
    assert!(well, "{said}");

    let web = |image: &str| service(1, "web", image, json!({}));
    device.server.wants(&[web(&v1)]);
    eventually("it is told as the service's", PATIENCE, async || {
        let told = device.server.reported("web").unwrap_or_default();
        told["containerId"] == json!(container.id) && told["phase"] == "running"
    })
    .await;
    let after = inspect(&device, &container.id).await.unwrap();
    assert_eq!(after.started_at, before.started_at, "it was left alone");
    assert!(
        device.containers().await.is_empty(),
        "nothing was made beside it"
    );

    device.server.wants(&[web(&bad)]);
    device.tells("web", "crash_loop").await;
    eventually("the very container is back", PATIENCE, async || {
        inspect(&device, &container.id)
            .await
            .is_some_and(|one| one.state == ContainerState::Running)
    })
    .await;

    device.server.wants(&[web(&v3)]);
    let new = device.settles("web", &v3).await;
    assert_eq!(ask(&new, "/").await.as_deref(), Some("version v3"));
    eventually("the adopted one is gone", PATIENCE, async || {
        inspect(&device, &container.id).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_compose_project_is_taken_by_the_names_of_its_services() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    let (host, project) = (device.host.clone(), device.scope.clone());
    let mut containers = Vec::new();
    for name in ["web", "db"] {
        let labels = [
            ("com.docker.compose.project", project.as_str()),
            ("com.docker.compose.service", name),
        ];
        let called = format!("{project}-{name}-1");
        containers.push(by_hand(&host, &device, &called, &v1, &labels).await);
    }
    let foreign = by_hand(&host, &device, &format!("{project}-other"), &v1, &[]).await;
    // The target is known before the containers are given to it: its engine is not there yet.
    device.server.wants(&[
        service(1, "web", &v1, json!({})),
        service(2, "db", &v1, json!({})),
    ]);
    device.start(&[("WINDLASS_AGENT_ENGINE_ADDRESS", "unix:///nowhere.sock")]);
    eventually("the target is taken", PATIENCE, async || {
        device.file("state/target.json").exists()
    })
    .await;
    device.agent().terminate();

    let (well, said) = device.command(&["adopt", "--project", &project, "--dry-run"]);
    assert!(
        well && said.contains("would be service 1/1") && said.contains("would be service 1/2"),
        "{said}"
    );
    assert!(
        said.contains("docker compose up"),
        "what is to be known before: {said}"
    );
    let (well, said) = device.command(&["adopt", "--project", &project, "--yes"]);
    assert!(well, "{said}");

    device.start(&[]);
    for (name, container) in ["web", "db"].iter().zip(&containers) {
        eventually("it is told as the service's", PATIENCE, async || {
            let told = device.server.reported(name).unwrap_or_default();
            told["containerId"] == json!(container.id) && told["phase"] == "running"
        })
        .await;
    }
    assert!(
        device.containers().await.is_empty(),
        "nothing was made beside them"
    );

    // What the target wants no more goes; what nobody gave it stays.
    device.server.wants(&[service(1, "web", &v1, json!({}))]);
    eventually("db is gone", PATIENCE, async || {
        inspect(&device, &containers[1].id).await.is_none()
    })
    .await;
    for left in [&containers[0], &foreign] {
        let found = inspect(&device, &left.id).await.unwrap();
        assert_eq!(found.state, ContainerState::Running);
    }
}
