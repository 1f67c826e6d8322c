//! The agent as a container that is a service of its own device.
//!
//! Its image is the tests' own; the agent's program, the libraries that it is linked to and the certificate authorities
//! are the machine's, mounted into it.

use crate::bench::{Bench, PATIENCE, image_of, with_v1};
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::{Attachment, ContainerPlan, PullSettings};
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_testkit::{Process, eventually};

/// What is made beside the agents' own things.
struct Beside {
    socket: String,
    container: String,
    network: String,
}

impl Beside {
    fn call(&self, method: &str, path: &str) -> Value {
        let url = format!("http://engine/{path}");
        let told = std::process::Command::new("curl")
            .args([
                "--silent",
                "--unix-socket",
                &self.socket,
                "-X",
                method,
                &url,
            ])
            .output()
            .unwrap();
        serde_json::from_slice(&told.stdout).unwrap_or_default()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.call(
            "DELETE",
            &format!("containers/{}?force=true", self.container),
        );
        self.call("DELETE", &format!("networks/{}", self.network));
    }
}

/// The service of the agent.
fn agent(device: &Bench, image: &str, server: &str, further: &[(&str, &str)]) -> Value {
    let program = Process::program("windlass-agent");
    let socket = device.host.trim_start_matches("unix://");
    let state = device.file("state");
    let mut volumes = vec![
        format!("{}:/windlass-agent:ro", program.display()),
        format!("{socket}:/var/run/docker.sock"),
        format!("{}:/var/lib/windlass-agent", state.display()),
    ];
    for folder in ["/lib", "/lib64", "/usr/lib", "/etc/ssl"] {
        if std::path::Path::new(folder).exists() {
            volumes.push(format!("{folder}:{folder}:ro"));
        }
    }
    let mut environment: BTreeMap<String, String> = device.variables().into_iter().collect();
    for (name, value) in [
        ("WINDLASS_AGENT_STATE_DIR", "/var/lib/windlass-agent"),
        ("WINDLASS_AGENT_SERVER_URL", server),
        (
            "WINDLASS_AGENT_ENGINE_ADDRESS",
            "unix:///var/run/docker.sock",
        ),
    ]
    .iter()
    .chain(further)
    {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    let config = json!({
        "entrypoint": ["/windlass-agent"], "command": ["run"],
        "environment": environment, "volumes": volumes, "stop_grace_period": "5s",
    });
    crate::bench::service(9, "agent", image, config)
}

#[tokio::test]
async fn an_agent_in_a_container_changes_itself_and_survives_a_bad_version_of_itself() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let v3 = registry.push_app("demo/app", "v3", &[]).await;
    let mut device = Bench::new().await;
    device.server = Server::start_for_containers().await;
    let mut beside = Beside {
        socket: device.host.trim_start_matches("unix://").to_owned(),
        container: String::new(),
        network: format!("{}-by-hand", device.scope),
    };
    device
        .engine
        .create_network(&beside.network, &BTreeMap::new())
        .await
        .unwrap();
    // The machine, as containers see it.
    let network = beside.call("GET", &format!("networks/{}", beside.network));
    let gateway = network["IPAM"]["Config"][0]["Gateway"].as_str().unwrap();
    let server = format!("http://{gateway}:{}", device.server.port);

    // Somebody starts it as compose would.
    let target = json!({"apps": {"1": {"appId": 1, "appName": "demo",
        "services": [agent(&device, &v1, &server, &[])]}}});
    let wanted = Wanted::read(&serde_json::from_value(target).unwrap(), 1);
    assert_eq!(wanted.refused, BTreeMap::new());
    let spec = &wanted.services[&ServiceKey { app: 1, service: 9 }];
    let settings = PullSettings {
        stall: Duration::from_secs(60),
    };
    let reference = v1.parse().unwrap();
    device
        .engine
        .pull(&reference, None, settings, |_| {})
        .await
        .unwrap();
    let name = format!("{}-first-agent", device.scope);
    let made = device
        .engine
        .create(&ContainerPlan {
            name: &name,
            image: &format!("{}@{}", reference.name(), reference.digest().unwrap()),
            spec: &spec.container,
            labels: BTreeMap::new(),
            environment: BTreeMap::new(),
            attachments: vec![Attachment {
                network: beside.network.clone(),
                aliases: Vec::new(),
            }],
        })
        .await
        .unwrap();
    beside.container.clone_from(&made.id);
    device.engine.start(&made.id).await.unwrap();
    eventually("the agent in the container reports", PATIENCE, async || {
        device.agent_knows(&json!(0))
    })
    .await;
    let (well, said) = device.command(&["adopt", &name, "--service", "1/9", "--yes"]);
    assert!(well, "{said}");
    device.server.wants(&[agent(&device, &v1, &server, &[])]);
    eventually("it is its own service", PATIENCE, async || {
        let told = device.server.reported("agent").unwrap_or_default();
        told["containerId"] == json!(made.id) && told["phase"] == "running"
    })
    .await;

    device.server.wants(&[agent(&device, &v2, &server, &[])]);
    let second = device.settles("agent", &v2).await;
    eventually("the first one is gone", PATIENCE, async || {
        device.engine.inspect(&made.id).await.unwrap().is_none()
    })
    .await;

    // One that does not know its own settings ends at once.
    let bad = agent(&device, &v3, &server, &[("WINDLASS_AGENT_SERVER_ULR", "x")]);
    device.server.wants(&[bad]);
    device.tells("agent", "crash_loop").await;
    let after = device.settles("agent", &v2).await;
    assert_eq!(
        (&after.id, after.started_at),
        (&second.id, second.started_at)
    );
    assert_eq!(image_of(&after), v2);
    assert_eq!(after.state, ContainerState::Running);

    device.server.wants(&[agent(&device, &v3, &server, &[])]);
    device.settles("agent", &v3).await;
}
