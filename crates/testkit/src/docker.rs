//! Docker engines, and images that run in them.

use crate::process::{Process, image_program};
use crate::registry::Registry;
use crate::wait::eventually;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The engine that tests share: each knows its own by labels.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn docker_host() -> String {
    match std::env::var("WINDLASS_TEST_DOCKER_HOST") {
        Ok(host) if !host.is_empty() => host,
        _ => panic!(
            "WINDLASS_TEST_DOCKER_HOST names no Docker engine: run the tests with scripts/test as root, which starts \
             one (Debian's docker.io), or set it to unix:///var/run/docker.sock"
        ),
    }
}

/// An engine of the test's own, which it may restart and fill.
#[derive(Debug)]
pub struct DockerEngine {
    /// `unix://…`.
    pub host: String,
    socket: PathBuf,
    process: Process,
    folder: tempfile::TempDir,
}

impl DockerEngine {
    /// Starts one in a folder of its own and waits until it answers.
    ///
    /// # Panics
    /// Where none can run.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder")).await
    }

    /// Starts one whose images are on a disk of their own, of so many MiB: in memory, mounted for it and gone with it.
    ///
    /// # Panics
    /// Where none can run, or this process may not mount.
    pub async fn start_on_a_disk_of(mib: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder for images");
        mount(&format!("size={mib}m"), &data);
        Self::start_in(folder).await
    }

    /// Gives the disk of its images another size.
    ///
    /// # Panics
    /// Where it has none of its own.
    pub fn resize_disk(&self, mib: u32) {
        mount(
            &format!("remount,size={mib}m"),
            &self.folder.path().join("data"),
        );
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/docker-engine");
        let socket = folder.path().join("docker.sock");
        let arguments = [&*folder.path().to_string_lossy()];
        let engine = Self {
            host: format!("unix://{}", socket.display()),
            process: Process::start(&script, &arguments, &[]),
            socket,
            folder,
        };
        engine.answers().await;
        engine
    }

    /// Restarts it as an upgrade does: containers are stopped and, where their policy says so, started again.
    ///
    /// # Panics
    /// Where it does not come back.
    pub async fn restart(&self) {
        self.process.poke();
        eventually("the engine goes", Duration::from_secs(60), async || {
            !self.pings().await
        })
        .await;
        self.answers().await;
    }

    async fn answers(&self) {
        eventually(
            "the Docker engine answers (it needs root, dockerd and the right to mount)",
            Duration::from_secs(60),
            async || self.pings().await,
        )
        .await;
    }

    async fn pings(&self) -> bool {
        tokio::process::Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "2", "--unix-socket"])
            .arg(&self.socket)
            .arg("http://engine/_ping")
            .output()
            .await
            .is_ok_and(|output| output.status.success())
    }
}

/// Mounts a file system in memory. The engine's script unmounts what is below its folder when it ends.
fn mount(options: &str, at: &Path) {
    let done = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(at)
        .output()
        .expect("mount is installed");
    assert!(
        done.status.success(),
        "a disk of its own cannot be mounted (tests that fill one need root and the right to mount): {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        // Killed, it would leave its containers and mounts.
        if self.process.runs() {
            self.process.terminate();
        }
    }
}

impl Registry {
    /// Pushes an image like those of [`Registry::push_app`] that is larger by so many bytes, packed as well as
    /// unpacked.
    ///
    /// # Panics
    /// Where the program is not built or the registry refuses it.
    pub async fn push_large_app(&self, repository: &str, tag: &str, bytes: usize) -> String {
        let mut program = std::fs::read(image_program()).expect("the program of images");
        // What stands behind a program is not looked at when it is run.
        program.extend(noise(bytes));
        self.push_program(repository, tag, architecture(), &[], &program)
            .await
    }

    /// Pushes an image of the tests' own program (`crates/test-app`) with these variables; returns its name with tag
    /// and digest.
    ///
    /// # Panics
    /// Where the program is not built or the registry refuses it.
    pub async fn push_app(
        &self,
        repository: &str,
        tag: &str,
        variables: &[(&str, &str)],
    ) -> String {
        self.push_app_for(repository, tag, architecture(), variables)
            .await
    }

    /// The same for a processor of this kind, whatever it is.
    ///
    /// # Panics
    /// Where the program is not built or the registry refuses it.
    pub async fn push_app_for(
        &self,
        repository: &str,
        tag: &str,
        architecture: &str,
        variables: &[(&str, &str)],
    ) -> String {
        let program = std::fs::read(image_program()).expect("the program of images");
        self.push_program(repository, tag, architecture, variables, &program)
            .await
    }

    async fn push_program(
        &self,
        repository: &str,
        tag: &str,
        architecture: &str,
        variables: &[(&str, &str)],
        program: &[u8],
    ) -> String {
        let variables: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain([format!("APP_VERSION={tag}")])
            .collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Entrypoint": ["/app"], "Env": variables},
        });
        let digest = self
            .push_image(repository, tag, ("app", "0000755", program), config)
            .await;
        format!("{}/{repository}:{tag}@{digest}", self.host)
    }
}

/// Bytes that cannot be packed.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// The images' word for this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
