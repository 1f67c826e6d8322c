//! A real registry (Debian's `docker-registry`, the CNCF Distribution) and pushes to it.

use crate::http;
use crate::process::Process;
use crate::wait::{eventually, free_port};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Who a private registry lets in.
pub const DEVICE: (&str, &str) = ("device", "secret");
/// The same for the registry: bcrypt, the only kind that it takes; of the lowest cost.
const HTPASSWD: &str = "device:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Where a registry sends its notifications.
#[derive(Debug, Clone)]
pub struct Notify {
    /// The whole address.
    pub url: String,
    /// Headers that are sent along, such as `Authorization`.
    pub headers: Vec<(String, String)>,
}

/// What a registry is like.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where it sends its notifications.
    pub notify: Vec<Notify>,
    /// Whether it lets nobody in but [`DEVICE`].
    pub private: bool,
    /// Whether it speaks TLS, with a certificate of an authority of the test's own.
    pub tls: bool,
}

/// A registry of the test's own, with its storage in a temporary folder.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT`, as image references begin.
    pub host: String,
    process: Process,
    client: reqwest::Client,
    setup: Setup,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start(notify: &[Notify]) -> Self {
        Self::start_as(Setup {
            notify: notify.to_vec(),
            ..Setup::default()
        })
        .await
    }

    /// Starts one that lets nobody in but [`DEVICE`], and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start_private() -> Self {
        Self::start_as(Setup {
            private: true,
            ..Setup::default()
        })
        .await
    }

    /// Starts one like this and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start_as(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = format!("127.0.0.1:{}", free_port());
        let client = if setup.tls {
            certificates(folder.path());
            trusting(&authority(folder.path()))
        } else {
            http()
        };
        std::fs::write(folder.path().join("htpasswd"), HTPASSWD).expect("the registry's users");
        let config = folder.path().join("config.yml");
        std::fs::write(&config, configuration(&host, folder.path(), &setup))
            .expect("the registry's configuration");
        let config = config.to_string_lossy().into_owned();
        let registry = Self {
            process: Process::start(Path::new("docker-registry"), &["serve", &config], &[]),
            client,
            host,
            setup,
            folder,
        };
        registry.answers().await;
        registry
    }

    /// The certificate authority's file of one that speaks TLS, named as Docker and Skopeo want it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        authority(self.folder.path())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with what it holds and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn restart(&mut self) {
        self.process.restart();
        self.answers().await;
    }

    /// Pushes an image of one layer whose one file holds `content`, so that different content is a
    /// different image; returns its digest.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub async fn push(&self, repository: &str, tag: &str, content: &str) -> String {
        let file = ("content.txt", "0000644", content.as_bytes());
        let config = json!({"architecture": "amd64", "os": "linux", "config": {}});
        self.push_image(repository, tag, file, config).await
    }

    /// Pushes an image of one layer with one file; `config` is its configuration without `rootfs`. Returns its digest.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub(crate) async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        file: (&str, &str, &[u8]),
        config: serde_json::Value,
    ) -> String {
        let manifest = self.push_parts(repository, file, config).await;
        self.push_manifest(repository, tag, MANIFEST, manifest)
            .await
    }

    /// Pushes an index of images for these processors, each of which is pushed by its digest before;
    /// returns the index's digest.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub async fn push_index(
        &self,
        repository: &str,
        tag: &str,
        processors: &[&str],
        content: &str,
    ) -> String {
        let mut children = Vec::new();
        for processor in processors {
            let file = ("content.txt", "0000644", content.as_bytes());
            let config = json!({"architecture": processor, "os": "linux", "config": {}});
            let manifest = self.push_parts(repository, file, config).await;
            let (name, size) = (digest(&manifest), manifest.len());
            self.push_manifest(repository, &name, MANIFEST, manifest)
                .await;
            children.push(json!({
                "mediaType": MANIFEST, "digest": name, "size": size,
                "platform": {"os": "linux", "architecture": processor},
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
            .to_string()
            .into_bytes();
        self.push_manifest(repository, tag, INDEX, index).await
    }

    /// The digest that a tag names: of an index where it is one.
    ///
    /// # Panics
    /// Where the registry does not tell.
    pub async fn digest(&self, repository: &str, tag: &str) -> String {
        let url = self.url(&format!("{repository}/manifests/{tag}"));
        let request = self.client.head(url).header("accept", ANY);
        let answer = self.known(request).send().await.expect("its answer");
        let told = answer.headers().get("docker-content-digest");
        let digest = told.and_then(|digest| digest.to_str().ok());
        digest.expect("the digest of the tag").to_owned()
    }

    /// Deletes what has this digest, with all its tags.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub async fn delete(&self, repository: &str, digest: &str) {
        let url = self.url(&format!("{repository}/manifests/{digest}"));
        let answer = self.known(self.client.delete(url)).send().await;
        assert_eq!(answer.expect("the registry's answer").status(), 202);
    }

    /// Pushes the layer and the configuration of an image, and returns its manifest.
    async fn push_parts(
        &self,
        repository: &str,
        (name, mode, content): (&str, &str, &[u8]),
        mut config: serde_json::Value,
    ) -> Vec<u8> {
        let archive = tar(name, mode, content);
        let mut layer = GzEncoder::new(Vec::new(), Compression::default());
        layer.write_all(&archive).expect("a layer");
        let layer = layer.finish().expect("a layer");
        config["rootfs"] = json!({"type": "layers", "diff_ids": [digest(&archive)]});
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest(&layer), "size": layer.len(),
            }],
        })
        .to_string()
        .into_bytes();
        self.push_blob(repository, layer).await;
        self.push_blob(repository, config).await;
        manifest
    }

    /// Pushes a manifest or index, whose parts are there, under a tag; returns its digest.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub async fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: Vec<u8>,
    ) -> String {
        let name = digest(&manifest);
        let answer = self
            .known(
                self.client
                    .put(self.url(&format!("{repository}/manifests/{tag}"))),
            )
            .header("content-type", media_type)
            .body(manifest)
            .send()
            .await
            .expect("the registry's answer");
        assert_eq!(answer.status(), 201, "the registry takes the manifest");
        name
    }

    /// Pushes a blob; returns its digest.
    ///
    /// # Panics
    /// Where the registry refuses it.
    pub async fn push_blob(&self, repository: &str, blob: Vec<u8>) -> String {
        let name = digest(&blob);
        let begun = self
            .known(
                self.client
                    .post(self.url(&format!("{repository}/blobs/uploads/"))),
            )
            .send()
            .await
            .expect("the registry's answer");
        assert_eq!(begun.status(), 202, "the registry begins an upload");
        let location = begun
            .headers()
            .get("location")
            .and_then(|place| place.to_str().ok())
            .expect("where to upload");
        let joint = if location.contains('?') { '&' } else { '?' };
        let answer = self
            .known(
                self.client
                    .put(format!("{location}{joint}digest={}", digest(&blob))),
            )
            .header("content-type", "application/octet-stream")
            .body(blob)
            .send()
            .await
            .expect("the registry's answer");
        assert_eq!(answer.status(), 201, "the registry takes the blob");
        name
    }

    /// The request of somebody who may push.
    fn known(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.setup.private {
            request.basic_auth(DEVICE.0, Some(DEVICE.1))
        } else {
            request
        }
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.setup.tls { "https" } else { "http" };
        format!("{scheme}://{}/v2/{path}", self.host)
    }

    async fn answers(&self) {
        eventually(
            "the registry answers",
            Duration::from_secs(15),
            async || {
                self.known(self.client.get(self.url("")))
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
            },
        )
        .await;
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Everything that a tag may name.
const ANY: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The authority's file, in a folder of its own: Docker and Skopeo take keys beside it for theirs.
fn authority(folder: &Path) -> PathBuf {
    folder.join("trust").join("ca.crt")
}

/// Makes an authority and with it a certificate for this machine.
fn certificates(folder: &Path) {
    std::fs::create_dir(folder.join("trust")).expect("a folder for the authority");
    let openssl = |arguments: &str| {
        let done = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "openssl {arguments}: {said}");
    };
    let key = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "{key} -x509 -days 2 -subj /CN=tests -keyout ca.key -out trust/ca.crt"
    ));
    openssl(&format!(
        "{key} -subj /CN=registry -keyout registry.key -out registry.csr"
    ));
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
    std::fs::write(folder.join("names"), names).expect("the certificate's names");
    openssl(
        "x509 -req -in registry.csr -CA trust/ca.crt -CAkey ca.key -CAcreateserial -days 2 \
         -extfile names -out registry.crt",
    );
}

/// A client that trusts this authority alone.
fn trusting(authority: &Path) -> reqwest::Client {
    // A second provider is no error.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let pem = std::fs::read(authority).expect("the authority");
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).expect("the authority"))
        .build()
        .expect("a client")
}

fn configuration(host: &str, folder: &Path, setup: &Setup) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
        folder.join("storage").display()
    );
    if setup.tls {
        writeln!(
            text,
            "  tls:\n    certificate: {}\n    key: {}",
            folder.join("registry.crt").display(),
            folder.join("registry.key").display()
        )
        .ok();
    }
    if setup.private {
        writeln!(
            text,
            "auth:\n  htpasswd:\n    realm: test\n    path: {}",
            folder.join("htpasswd").display()
        )
        .ok();
    }
    if !setup.notify.is_empty() {
        text.push_str("notifications:\n  endpoints:\n");
    }
    // Writing to a String cannot fail; JSON strings are YAML strings.
    for (number, target) in setup.notify.iter().enumerate() {
        writeln!(
            text,
            "    - name: endpoint{number}\n      url: {}\n      timeout: 5s\n      threshold: 5\n      \
             backoff: 1s",
            json!(target.url)
        )
        .ok();
        if !target.headers.is_empty() {
            text.push_str("      headers:\n");
        }
        for (name, value) in &target.headers {
            writeln!(text, "        {name}: [{}]", json!(value)).ok();
        }
    }
    text
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar archive (POSIX ustar) of one file.
fn tar(name: &str, mode: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(512);
    let mut field = |text: &str, width: usize| {
        header.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    };
    field(name, 100);
    field(mode, 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{:011o}", content.len()), 12);
    field("00000000000", 12);
    // The checksum is taken with spaces in its own place.
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    field("", 247);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
    let mut archive = header;
    archive.extend(content);
    // Whole blocks, and two empty ones at the end.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
