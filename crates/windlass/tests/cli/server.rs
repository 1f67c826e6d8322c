//! A `windlass up` of a test's own, devices and a registry for it, and its command line.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use windlass_client::Client;
use windlass_simulator::{Behaviour, DeviceSpec, Notify, Registry, Simulator, Style};
use windlass_testkit::eventually;
use windlass_types::api::NewTarget;
use windlass_types::device::NewProvisioningKey;
use windlass_types::image::Digest;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_windlass");
/// Much longer than anything here takes on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const SECRET: &str = "a secret of the tests";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the program without any server in its environment.
pub(crate) async fn windlass(arguments: &[&str]) -> Ended {
    run(arguments, &[]).await
}

pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = tokio::process::Command::new(BINARY)
        .args(arguments)
        .env_remove("WINDLASS_URL")
        .env_remove("WINDLASS_API_KEY")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running `windlass up`. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// With more settings.
    pub(crate) fn configured(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("windlass.toml"),
            format!(
                "[state_api]\npresence_seconds = 1\n[log]\nlevel = \"error\"\n\
                 [webhooks.endpoints.docker-registry]\nsecret = \"{SECRET}\"\n{settings}"
            ),
        )
        .unwrap();
        let (child, url) = launch(&folder, "127.0.0.1:0");
        let key = std::fs::read_to_string(folder.path().join("key")).unwrap();
        Self {
            child,
            folder,
            url,
            key: key.trim().to_owned(),
        }
    }

    /// A file in the server's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Delivers to an endpoint, which takes it.
    pub(crate) async fn deliver(&self, endpoint: &str, body: &str) {
        let url = format!("{}/api/v1/webhooks/{endpoint}", self.url);
        let request = windlass_testkit::http().post(url).bearer_auth(SECRET);
        let request = request.header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 202);
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address on the same data.
    pub(crate) fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let (child, url) = launch(&self.folder, &address);
        assert_eq!(url, self.url);
        self.child = child;
    }

    /// Runs a command against it, as its operator.
    pub(crate) async fn windlass(&self, arguments: &[&str]) -> Ended {
        let environment = [
            ("WINDLASS_URL", &*self.url),
            ("WINDLASS_API_KEY", &*self.key),
        ];
        run(arguments, &environment).await
    }

    /// The same with `--json`; it must end well.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.windlass(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.json()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, Some(self.key.clone())).unwrap()
    }

    /// A registry whose pushes it hears of.
    pub(crate) fn registry(&self) -> Registry {
        let notify = Notify {
            url: format!("{}/api/v1/webhooks/docker-registry", self.url),
            authorization: Some(format!("Bearer {SECRET}")),
        };
        Registry::start(TcpListener::bind("127.0.0.1:0").unwrap(), Some(notify)).unwrap()
    }

    /// Healthy devices of a fleet, half of each style, on an image set by hand.
    pub(crate) async fn devices(&self, count: u64, image: &str) -> Simulator {
        self.cast(count, image, |_, style| Behaviour::healthy(style))
            .await
    }

    /// Devices that behave as they are told to.
    pub(crate) async fn cast(
        &self,
        count: u64,
        image: &str,
        behaviour: impl Fn(u64, Style) -> Behaviour,
    ) -> Simulator {
        let client = self.client();
        let key = NewProvisioningKey {
            fleet_id: "quay".parse().unwrap(),
            max_devices: 1000,
            expires_in_days: 1,
            description: String::new(),
        };
        let key = client.create_provisioning_key(&key).await.unwrap();
        let key = key.key.unwrap();
        let specs = (0..count)
            .map(|index| {
                let style = [Style::Ours, Style::Existing][usize::try_from(index % 2).unwrap()];
                DeviceSpec::drawn(11, index, format!("quay-{index:02}"), &key)
                    .behaving(behaviour(index, style))
            })
            .collect();
        let simulator = Simulator::start(&self.url, specs).unwrap();
        let count = usize::try_from(count).unwrap();
        eventually("every device is registered", PATIENCE, async || {
            simulator.provisioned() == count
        })
        .await;
        let target: NewTarget = serde_json::from_value(json!({"apps": {"1": {
            "appId": 1, "appName": "demo", "services": [
                {"serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
                 "config": {"image": image}}
            ]}}, "config": {}}))
        .unwrap();
        for uuid in simulator.uuids() {
            client.set_target(uuid, None, &target).await.unwrap();
        }
        eventually("every device runs its first image", PATIENCE, async || {
            simulator.count_running("web", image) == count
        })
        .await;
        simulator
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn launch(folder: &TempDir, listen: &str) -> (Child, String) {
    let path = |name: &str| folder.path().join(name);
    let mut child = Command::new(BINARY)
        .arg("up")
        .arg("--data")
        .arg(path("data"))
        .args(["--listen", listen, "--config"])
        .arg(path("windlass.toml"))
        .arg("--key-file")
        .arg(path("key"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let Some(Ok(url)) = lines.next() else {
        panic!("windlass up ended before it listened: {:?}", child.wait());
    };
    (child, url)
}

/// A quick staged policy for a repository of this registry, as a file.
pub(crate) fn policy(registry: &Registry, name: &str) -> String {
    format!(
        "name = \"{name}\"\nimage = \"{}/demo/web\"\nstrategy = \"staged\"\n\
         batch_delay_seconds = 1\n\
         [health]\nstable_window_seconds = 1\ndeadline_seconds = 30\n",
        registry.host()
    )
}

/// An image as devices name it.
pub(crate) fn image(registry: &Registry, tag: &str, digest: &Digest) -> String {
    format!("{}/demo/web:{tag}@{digest}", registry.host())
}
