//! Each service's program by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use windlass_testkit::{Process, eventually, free_port, http, postgres, redis_url};

const SERVICES: [&str; 5] = [
    "windlass-webhook-ingest",
    "windlass-rollout-planner",
    "windlass-health-checker",
    "windlass-rollback-manager",
    "windlass-state-api",
];

async fn text(url: &str) -> Option<String> {
    let answer = http().get(url).send().await.ok()?;
    answer.error_for_status().ok()?.text().await.ok()
}

#[tokio::test]
async fn each_starts_becomes_ready_shows_metrics_and_ends_when_asked() {
    let database = postgres().await;
    for service in SERVICES {
        let address = format!("127.0.0.1:{}", free_port());
        let mut process = Process::workspace(
            service,
            &[],
            &[
                ("WINDLASS_STORE_URL", &database.url),
                ("WINDLASS_BUS_REDIS_URL", &redis_url()),
                ("WINDLASS_BUS_PREFIX", "programs"),
                ("WINDLASS_HTTP_LISTEN", &address),
            ],
        );
        let ready = format!("http://{address}/readyz");
        eventually(
            &format!("{service} is ready"),
            Duration::from_secs(30),
            async || {
                text(&ready)
                    .await
                    .is_some_and(|body| body.contains("\"ready\""))
            },
        )
        .await;
        assert!(text(&format!("http://{address}/healthz")).await.is_some());
        let metrics = text(&format!("http://{address}/metrics"))
            .await
            .expect("metrics");
        assert!(
            metrics.contains("windlass_http_requests_total"),
            "{metrics}"
        );
        check_metrics(service, &metrics);
        assert!(
            process.terminate(),
            "{service} ends well when it is asked to"
        );
    }
}

/// Prometheus' own reading of them, with its rules for names.
fn check_metrics(service: &str, metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (package prometheus; scripts/test installs it)");
    let mut input = promtool.stdin.take().expect("its input");
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{service}: {checked:?}");
}

#[test]
fn each_says_what_is_wrong_with_its_settings_and_shows_those_in_force() {
    for service in SERVICES {
        let start = |environment: &[(&str, &str)]| {
            let mut process = Process::workspace(service, &["--check-config"], environment);
            let ended = process.wait();
            (ended, process.log())
        };
        let (ended, log) = start(&[("WINDLASS_HTTP_LISTEN", "127.0.0.1:1")]);
        assert!(ended && log.contains("listen = \"127.0.0.1:1\""), "{log}");
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/windlass.toml");
        let (ended, log) = start(&[("WINDLASS_CONFIG", shipped)]);
        assert!(ended && log.contains("poll_interval_seconds = 60"), "{log}");
        let (ended, log) = start(&[("WINDLASS_HTTP_LISTN", "127.0.0.1:1")]);
        assert!(!ended && log.contains("WINDLASS_HTTP_LISTEN"), "{log}");
    }
}
