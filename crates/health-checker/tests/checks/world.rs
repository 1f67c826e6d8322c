//! A rollout with devices, and servers that are asked.

use chrono::TimeDelta;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use windlass_bus::Bus;
use windlass_core::checks::Allowed;
use windlass_health_checker::{self as health, Counter};
use windlass_service::Deps;
use windlass_store::{Clock, Json, checks};
use windlass_testkit::scenario::{Said, Scenario, clock, image};
use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
use windlass_types::ids::DeviceId;
use windlass_types::policy::{Check, CheckFrom, CheckKind, RolloutRule};

pub(crate) const GROUP: i64 = 100;
pub(crate) const AT_ONCE: usize = 16;

pub(crate) struct World {
    _kept: TestStore,
    pub(crate) clock: Clock,
    pub(crate) deps: Deps,
    pub(crate) counter: Counter,
    pub(crate) scenario: Scenario,
}

pub(crate) async fn worlds(devices: usize, rule: &RolloutRule) -> Vec<World> {
    // Sets the process's TLS provider, as a service does when it starts.
    drop(windlass_testkit::http());
    let (one, other) = (clock(), clock());
    let stores = [
        (sqlite_with(one.clone()).await, one),
        (postgres_with(other.clone()).await, other),
    ];
    let mut worlds = Vec::new();
    for (kept, clock) in stores {
        let scenario = Scenario::begin(&kept.store, devices, rule).await;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        worlds.push(World {
            counter: Counter::new(&deps.metrics).unwrap(),
            deps,
            clock,
            scenario,
            _kept: kept,
        });
    }
    worlds
}

pub(crate) fn loopback() -> Allowed {
    Allowed::new(&["127.0.0.0/8".to_owned()]).unwrap()
}

impl World {
    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub(crate) async fn pass(&self) {
        health::reports(&self.deps, &self.counter, GROUP)
            .await
            .unwrap();
        health::due(&self.deps, &self.counter, GROUP).await.unwrap();
    }

    pub(crate) async fn check(&self, allowed: &Allowed) {
        health::device_checks(&self.deps, allowed, AT_ONCE)
            .await
            .unwrap();
    }

    pub(crate) async fn until(&self, device: DeviceId, status: &str) {
        eventually(status, Duration::from_secs(20), async || {
            self.pass().await;
            self.scenario.row(device).await.status == status
        })
        .await;
    }

    /// The device runs the new image and reports this address.
    pub(crate) async fn verifying(&self, device: DeviceId, address: Option<&str>) {
        self.scenario
            .report(device, &Said::running(2, &image(2), "c2"))
            .await;
        if let Some(address) = address {
            self.at_address(device, address).await;
        }
        self.until(device, "verifying").await;
    }

    /// The device's last report names this address.
    pub(crate) async fn at_address(&self, device: DeviceId, address: &str) {
        let mut tx = self.deps.store.begin().await.unwrap();
        tx.sql("UPDATE device_current_state SET report = $1 WHERE device_uuid = $2")
            .bind(Json(json!({"local_ip": address})))
            .bind(device.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn of_device(&self, device: DeviceId) -> checks::DeviceCheck {
        let mut read = self.deps.store.read().await.unwrap();
        let found = checks::of_devices(&mut read, &[(self.scenario.rollout, device)].into())
            .await
            .unwrap();
        found.into_values().next().unwrap().remove(0)
    }

    pub(crate) async fn evidence(&self, device: DeviceId) -> Value {
        let mut read = self.deps.store.read().await.unwrap();
        let (evidence,): (Json<Value>,) = read
            .sql("SELECT evidence FROM device_rollout_status WHERE device_uuid = $1")
            .bind(device.0)
            .one()
            .await
            .unwrap();
        evidence.0
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        let now = self.clock.now();
        let mut tx = self.deps.store.begin().await.unwrap();
        tx.sql(sql).bind(now).execute().await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A server that answers every request with this, and how often it was asked.
pub(crate) async fn server(answer: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, asked) = (
        listener.local_addr().unwrap().port(),
        Arc::new(AtomicUsize::new(0)),
    );
    let (answer, count) = (answer.to_owned(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 8192];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    stream.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    (port, asked)
}

pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn http(url: String) -> Check {
    Check {
        url: Some(url),
        from: Some(CheckFrom::Server),
        ..Check::new(CheckKind::Http)
    }
}

pub(crate) fn rule(check: Check) -> RolloutRule {
    let mut rule = RolloutRule::default();
    rule.health.checks = vec![check];
    rule
}
