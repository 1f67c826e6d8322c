//! The program itself: its exit codes, its settings, its end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use windlass_testkit::{eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

fn program(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
    command
        .args(arguments)
        .env_clear()
        .env("WINDLASS_AGENT_STATE_DIR", folder)
        .env(
            "WINDLASS_AGENT_SERVER_URL",
            format!("http://127.0.0.1:{}", free_port()),
        )
        .env("WINDLASS_AGENT_SERVER_PROVISIONING_KEY", "a-secret")
        .env(
            "WINDLASS_AGENT_ENGINE_ADDRESS",
            "unix:///nowhere/docker.sock",
        )
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(arguments, folder).output().unwrap();
    (
        status.code().unwrap_or(-1),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Killed where a test ends before it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn commands_end_with_the_codes_they_promise() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, _, told) = run(&["status"], folder);
    assert_eq!(code, 3, "{told}");
    let (code, _, told) = run(&["adopt", "web", "--service", "7/1"], folder);
    assert_eq!(code, 5, "{told}");
    assert!(told.contains("away"), "{told}");
    let (code, _, told) = run(&["run", "--server", "nowhere"], folder);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("server.url"), "{told}");
    let (code, _, told) = run(&["run", "--engine", "docker"], folder);
    assert_eq!(code, 2, "{told}");
    let (code, _, _) = run(&["sing"], folder);
    assert_eq!(code, 2);
}

#[test]
fn the_settings_in_force_are_shown_without_secrets_and_typos_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (code, shown, _) = run(&["check-config"], folder.path());
    assert_eq!(code, 0);
    assert!(shown.contains("provisioning_key = \"***\""), "{shown}");
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, "[server]\npoll_second = 5\n").unwrap();
    let (code, _, told) = run(
        &["check-config", "--config", file.to_str().unwrap()],
        folder.path(),
    );
    assert_eq!(code, 2);
    assert!(told.contains("did you mean poll_seconds?"), "{told}");
}

#[tokio::test]
async fn without_a_server_and_an_engine_it_waits_says_so_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = program(&["run"], folder.path());
    let mut agent = Running(agent.stderr(Stdio::null()).spawn().unwrap());
    let waits = || {
        let (code, text, _) = run(&["status", "--json"], folder.path());
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        (code == 0).then(|| status["waits"].as_array().unwrap().len())
    };
    eventually("it says what it waits for", PATIENCE, async || {
        // Its server and its first target.
        waits() == Some(2)
    })
    .await;
    let (_, text, _) = run(&["status"], folder.path());
    assert!(
        text.contains("process") && text.contains("waits for its first target"),
        "{text}"
    );
    let id = agent.0.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(told.success());
    eventually("it ends", PATIENCE, async || {
        agent
            .0
            .try_wait()
            .unwrap()
            .is_some_and(|code| code.success())
    })
    .await;
    let (_, text, _) = run(&["status"], folder.path());
    assert!(text.contains("does not run"), "{text}");
}
