//! A server that holds one device's target and keeps its reports.

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};
use windlass_testkit::free_port;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

#[derive(Debug, Default)]
struct State {
    uuid: String,
    version: i64,
    services: Value,
    config: Value,
    reports: Vec<Value>,
    logs: Vec<Vec<Value>>,
}

/// The server; it may go away and come back on the same port.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    /// Where it listens: for agents in containers on all addresses.
    address: &'static str,
    state: Arc<Mutex<State>>,
    runs: Option<MockServer>,
}

struct Handler(Arc<Mutex<State>>);

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// One that containers reach at each address of the machine.
    pub(crate) async fn start_for_containers() -> Self {
        Self::start_at("0.0.0.0").await
    }

    async fn start_at(address: &'static str) -> Self {
        let port = free_port();
        let mut server = Self {
            address,
            url: format!("http://127.0.0.1:{port}"),
            port,
            state: Arc::default(),
            runs: None,
        };
        server.come_back().await;
        server
    }

    pub(crate) fn go_away(&mut self) {
        self.runs = None;
    }

    pub(crate) async fn come_back(&mut self) {
        let listener = std::net::TcpListener::bind((self.address, self.port)).unwrap();
        let server = MockServer::builder().listener(listener).start().await;
        Mock::given(any())
            .respond_with(Handler(Arc::clone(&self.state)))
            .mount(&server)
            .await;
        self.runs = Some(server);
    }

    /// Sets the target: the next version, with these services.
    pub(crate) fn wants(&self, services: &[Value]) {
        let mut state = self.state();
        state.version += 1;
        state.services = json!(services);
    }

    /// From now on the target asks for the logs of all services.
    pub(crate) fn asks_for_logs(&self) {
        let mut state = self.state();
        state.version += 1;
        state.config = json!({"logs": {"ship": true}});
    }

    /// The batches of lines that came.
    pub(crate) fn logs(&self) -> Vec<Vec<Value>> {
        self.state().logs.clone()
    }

    /// The last report of a service.
    pub(crate) fn reported(&self, name: &str) -> Option<Value> {
        let state = self.state();
        let last = state.reports.last()?;
        let services = last
            .get(&state.uuid)?
            .pointer("/apps/1/services")?
            .as_array()?;
        services
            .iter()
            .find(|service| service.get("serviceName") == Some(&json!(name)))
            .cloned()
    }

    /// The version of the target in the last report.
    pub(crate) fn reported_version(&self) -> Option<Value> {
        let state = self.state();
        state
            .reports
            .last()?
            .get(&state.uuid)?
            .get("version")
            .cloned()
    }

    /// The class of the error in the last report of a service.
    pub(crate) fn error(&self, name: &str) -> Option<String> {
        let service = self.reported(name)?;
        Some(service.pointer("/error/type")?.as_str()?.to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Respond for Handler {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let path = request.url.path();
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match request.method.as_str() {
            "POST" if path.ends_with("/device/register") => {
                let body: Value = serde_json::from_slice(&unpacked(request)).unwrap();
                state.uuid = body["uuid"].as_str().unwrap().to_owned();
                ok(json!({
                    "id": 7, "uuid": state.uuid, "deviceName": "d", "deviceType": "standalone",
                    "applicationId": null, "fleetId": "edge", "createdAt": "2026-11-01T12:00:00Z",
                    "mqtt": {"username": "", "password": "", "broker": "",
                             "topics": {"publish": [], "subscribe": []}}
                }))
            }
            "GET" if path.ends_with("/state") => {
                let tag = format!("\"{}\"", state.version);
                let known = request.headers.get("if-none-match");
                if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
                    return ResponseTemplate::new(304);
                }
                let mut apps = json!({});
                if state.version > 0 {
                    apps["1"] = json!({"appId": 1, "appName": "demo", "services": state.services});
                }
                let mut body = json!({});
                if state.config.is_null() {
                    state.config = json!({});
                }
                body[&state.uuid] = json!({"apps": apps, "config": state.config, "version": state.version,
                     "needs_deployment": false, "last_deployed_at": null});
                ok(body).insert_header("etag", tag.as_str())
            }
            "POST" if path.ends_with("/logs") => {
                let text = String::from_utf8(unpacked(request)).unwrap();
                let lines: Vec<Value> = text
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
                let count = lines.len();
                state.logs.push(lines);
                ok(json!({"status": "ok", "received": count}))
            }
            "PATCH" => {
                let report: Value = serde_json::from_slice(&unpacked(request)).unwrap();
                // One without a version is history.
                if report[&state.uuid]["version"].is_i64() {
                    state.reports.push(report);
                }
                ok(json!({"status": "ok"}))
            }
            _ => ok(json!({"status": "ok", "message": "", "device": {}, "received": 0})),
        }
    }
}

fn unpacked(request: &Request) -> Vec<u8> {
    let packed = request.headers.get("content-encoding");
    if packed.is_none_or(|kind| kind.as_bytes() != b"gzip") {
        return request.body.clone();
    }
    let mut body = Vec::new();
    GzDecoder::new(request.body.as_slice())
        .read_to_end(&mut body)
        .unwrap();
    body
}
