//! Pushes by the programs that people push with, to a real registry of each kind: with and without a login, with and
//! without TLS. Each is one version, whether its webhook comes, the watch finds it, or both do.

use crate::support::{SECRET, Service};
use crate::watching::{glob, looked, looking, policy, versions};
use base64::Engine as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpSocket;
use windlass_service::config::Config;
use windlass_service::listen;
use windlass_testkit::{DEVICE, Notify, Registry, Setup, docker_host, eventually};
use windlass_types::event::EventType;

const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) {
    let done = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{program} is to be installed: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
}

/// Somebody at a registry, with what they need to get in.
struct Pusher {
    registry: Registry,
    setup: Setup,
    folder: tempfile::TempDir,
}

impl Pusher {
    fn new(registry: Registry, setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pusher = Self {
            registry,
            setup,
            folder,
        };
        let auth =
            base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", DEVICE.0, DEVICE.1));
        let known = if pusher.setup.private {
            json!({"auths": {&pusher.registry.host: {"auth": auth}}})
        } else {
            json!({})
        };
        std::fs::write(pusher.login(), known.to_string()).unwrap();
        pusher
    }

    /// A Docker configuration with the login.
    fn login(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    /// How Windlass gets in.
    fn config(&self) -> Config {
        let mut config = looking(&self.registry);
        if self.setup.tls {
            config.registry.http_hosts.clear();
            let authority = self.registry.authority();
            config.registry.ca_files = [(self.registry.host.clone(), authority)].into();
        }
        if self.setup.private {
            config.registry.docker_config = Some(self.login());
        }
        config
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/demo/app:{tag}", self.registry.host)
    }

    fn docker(&self, arguments: &[&str]) {
        let folder = self.folder.path().to_str().unwrap();
        let environment = [
            ("DOCKER_HOST", docker_host()),
            ("DOCKER_CONFIG", folder.to_owned()),
        ];
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, &**value));
        run("docker", arguments, &environment);
    }

    /// Has the engine make an image, and pushes it.
    fn docker_push(&self, tag: &str, platform: &str) {
        let content = self.folder.path().join(format!("{tag}.txt"));
        std::fs::write(&content, tag).unwrap();
        let archive = self.folder.path().join(format!("{tag}.tar"));
        let (folder, file) = (self.folder.path().to_str().unwrap(), format!("{tag}.txt"));
        run(
            "tar",
            &["-C", folder, "-cf", archive.to_str().unwrap(), &file],
            &[],
        );
        let image = self.image(tag);
        let archive = archive.to_str().unwrap();
        self.docker(&["import", "--platform", platform, archive, &image]);
        self.docker(&["push", "--quiet", &image]);
        self.docker(&["image", "rm", &image]);
    }

    /// A list of two images, as docker makes one.
    fn docker_list(&self, tag: &str) {
        let parts = ["amd64", "arm64"].map(|processor| {
            let part = format!("part-{tag}-{processor}");
            self.docker_push(&part, &format!("linux/{processor}"));
            self.image(&part)
        });
        let list = self.image(tag);
        let [one, other] = parts.each_ref().map(String::as_str);
        self.docker(&["manifest", "create", "--insecure", &list, one, other]);
        self.docker(&["manifest", "push", "--insecure", "--purge", &list]);
    }

    fn skopeo(&self, from: &Path, tag: &str) {
        let credentials = format!("{}:{}", DEVICE.0, DEVICE.1);
        let authority = self.registry.authority();
        let trust = authority.parent().unwrap().to_string_lossy().into_owned();
        let mut options = vec!["copy", "--all"];
        if self.setup.private {
            options.extend(["--dest-creds", &credentials]);
        } else {
            options.push("--dest-no-creds");
        }
        if self.setup.tls {
            options.extend(["--dest-cert-dir", &trust]);
        } else {
            options.push("--dest-tls-verify=false");
        }
        let from = format!("oci:{}:{tag}", from.display());
        let to = format!("docker://{}", self.image(tag));
        options.extend([from.as_str(), &to]);
        run("skopeo", &options, &[]);
    }
}

/// A folder with an image and with one for two platforms, as builders leave them (OCI layout).
async fn layout(folder: &Path, tags: [&str; 2]) -> PathBuf {
    let origin = Registry::start(&[]).await;
    origin.push("demo/app", tags[0], "laid out").await;
    origin
        .push_index("demo/app", tags[1], &["amd64", "arm64"], "laid out too")
        .await;
    std::fs::create_dir(folder).unwrap();
    let layout = folder.join("layout");
    for tag in tags {
        let from = format!("docker://{}/demo/app:{tag}", origin.host);
        let to = format!("oci:{}:{tag}", layout.display());
        let options = ["copy", "--all", "--src-tls-verify=false", "--src-no-creds"];
        run("skopeo", &[&options[..], &[&from, &to]].concat(), &[]);
    }
    layout
}

/// What a tag of ours is known as: all versions of it.
async fn known(service: &Service, tag: &str) -> Vec<String> {
    let all = versions(service).await.into_iter();
    let of = all.filter(|(named, _, _)| named == tag);
    of.map(|(_, digest, _)| digest).collect()
}

/// Pushes in every way, and waits for each push to be known by its digest, once.
async fn pushes(pusher: &Pusher, service: &Service, names: &str) {
    let registry = &pusher.registry;
    let tag = |who: &str| format!("v-{names}-{who}");
    let mut tags = vec![
        tag("docker"),
        tag("skopeo"),
        tag("skopeo-index"),
        tag("client"),
    ];
    pusher.docker_push(&tags[0], "linux/amd64");
    let from = layout(&pusher.folder.path().join(names), [&tags[1], &tags[2]]).await;
    pusher.skopeo(&from, &tags[1]);
    pusher.skopeo(&from, &tags[2]);
    registry.push("demo/app", &tags[3], &tags[3]).await;
    let index = tag("client-index");
    registry
        .push_index("demo/app", &index, &["amd64", "arm64"], &index)
        .await;
    tags.push(index);
    // Docker's program pushes lists to registries of this machine without TLS, and to no other of it.
    if !pusher.setup.tls {
        tags.push(tag("docker-list"));
        pusher.docker_list(&tag("docker-list"));
    }
    for tag in &tags {
        let digest = registry.digest("demo/app", tag).await;
        eventually(&format!("{tag} is known"), PATIENCE, async || {
            known(service, tag).await == [digest.clone()]
        })
        .await;
    }
    looked(service).await;
    for tag in &tags {
        assert_eq!(known(service, tag).await.len(), 1, "{tag}");
    }
    eventually("each is told of once", PATIENCE, async || {
        let told = service.events(EventType::UpdateAvailable).await;
        told == service.count("SELECT COUNT(*) FROM image_versions").await
    })
    .await;
}

/// One kind of registry: once it tells of pushes, as the watch does too, and once nothing that it tells arrives.
async fn registry_of_the_kind(private: bool, tls: bool) {
    for arrives in [true, false] {
        let test = windlass_testkit::sqlite().await;
        // The registry has to know where the service will be, so the port is kept from here on.
        let listener = listen("127.0.0.1:0").unwrap();
        // A socket that is bound and does not listen: nobody else gets the port, and what is sent there is refused.
        let nowhere = TcpSocket::new_v4().unwrap();
        nowhere.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = if arrives {
            listener.local_addr()
        } else {
            nowhere.local_addr()
        };
        let to = to.unwrap();
        let setup = Setup {
            private,
            tls,
            notify: vec![Notify {
                url: format!("http://{to}/api/v1/webhooks/docker-registry"),
                headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
            }],
        };
        let pusher = Pusher::new(Registry::start_as(setup.clone()).await, setup);
        // The first look is at what is there, and there has to be something.
        pusher.registry.push("demo/app", "first", "first").await;
        policy(&test.store, &pusher.registry, glob("v*")).await;
        let service = Service::start_on(listener, &test.store, &pusher.config()).await;
        let first = looked(&service).await;
        assert!(first["error"].is_null(), "{first}");
        pushes(&pusher, &service, if arrives { "told" } else { "found" }).await;
        let deliveries = service
            .count("SELECT COUNT(*) FROM webhook_deliveries")
            .await;
        assert_eq!(deliveries > 0, arrives, "{deliveries} deliveries");
        drop((service, nowhere));
    }
}

#[tokio::test]
async fn what_docker_skopeo_and_an_oci_client_push_is_known_once() {
    registry_of_the_kind(false, false).await;
}

#[tokio::test]
async fn the_same_at_a_registry_with_a_login() {
    registry_of_the_kind(true, false).await;
}

#[tokio::test]
async fn the_same_at_a_registry_with_tls_of_an_authority_of_its_own() {
    registry_of_the_kind(false, true).await;
}

#[tokio::test]
async fn the_same_at_a_registry_with_tls_and_a_login() {
    registry_of_the_kind(true, true).await;
}
