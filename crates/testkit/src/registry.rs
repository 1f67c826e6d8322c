//! A real registry (Debian's `docker-registry`, the CNCF Distribution) and pushes to it.

use crate::http;
use crate::process::Process;
use crate::wait::{eventually, free_port};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
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

/// A registry of the test's own on plain HTTP, with its storage in a temporary folder.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT`, as image references begin.
    pub host: String,
    process: Process,
    client: reqwest::Client,
    login: Option<(&'static str, &'static str)>,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start(notify: &[Notify]) -> Self {
        Self::start_for(notify, None).await
    }

    /// Starts one that lets nobody in but [`DEVICE`], and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start_private() -> Self {
        Self::start_for(&[], Some(DEVICE)).await
    }

    async fn start_for(notify: &[Notify], login: Option<(&'static str, &'static str)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = format!("127.0.0.1:{}", free_port());
        let config = folder.path().join("config.yml");
        let mut text = configuration(&host, folder.path(), notify);
        if login.is_some() {
            let file = folder.path().join("htpasswd");
            std::fs::write(&file, HTPASSWD).expect("the registry's users");
            writeln!(
                text,
                "auth:\n  htpasswd:\n    realm: test\n    path: {}",
                file.display()
            )
            .ok();
        }
        std::fs::write(&config, text).expect("the registry's configuration");
        let config = config.to_string_lossy().into_owned();
        let registry = Self {
            process: Process::start(Path::new("docker-registry"), &["serve", &config], &[]),
            client: http(),
            login,
            host,
            _folder: folder,
        };
        registry.answers().await;
        registry
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
        (name, mode, content): (&str, &str, &[u8]),
        mut config: serde_json::Value,
    ) -> String {
        let archive = tar(name, mode, content);
        let mut layer = GzEncoder::new(Vec::new(), Compression::default());
        layer.write_all(&archive).expect("a layer");
        let layer = layer.finish().expect("a layer");
        config["rootfs"] = json!({"type": "layers", "diff_ids": [digest(&archive)]});
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
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
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.push_manifest(repository, tag, kind, manifest).await
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
        match self.login {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.host)
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

fn configuration(host: &str, folder: &Path, notify: &[Notify]) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
        folder.join("storage").display()
    );
    if !notify.is_empty() {
        text.push_str("notifications:\n  endpoints:\n");
    }
    // Writing to a String cannot fail; JSON strings are YAML strings.
    for (number, target) in notify.iter().enumerate() {
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
