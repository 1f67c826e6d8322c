//! A server that answers what a test wants, and a device's parts around it.

use chrono::Utc;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_agent::config::{DeviceSection, ReportSection, ServerSection};
use windlass_agent::facts::Facts;
use windlass_agent::identity::Identity;
use windlass_agent::link::{Line, Link, Offer};
use windlass_agent::picture::Picture;
use windlass_agent::reporter::Reporter;
use windlass_agent::state::{HISTORY, StateDir};
use windlass_client::Client;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Much longer than anything here takes on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A device's parts and the server they talk to.
pub(crate) struct Bench {
    pub(crate) server: MockServer,
    pub(crate) folder: TempDir,
    pub(crate) config: ServerSection,
    pub(crate) line: Arc<Line>,
    pub(crate) pictures: watch::Sender<Arc<Picture>>,
    shutdown: CancellationToken,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let server = MockServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let identity = Identity::of(&state, Utc::now()).unwrap();
        let config = ServerSection {
            url: server.uri(),
            provisioning_key: Some("a provisioning key".to_owned()),
            wait_seconds: 1,
            poll_seconds: 1,
            longest_backoff_seconds: 1,
        };
        let client = Client::new(&config.url, None).unwrap();
        Self {
            server,
            folder,
            config,
            line: Arc::new(Line::new(client, identity)),
            pictures: watch::Sender::new(Arc::default()),
            shutdown: CancellationToken::new(),
        }
    }

    pub(crate) fn uuid(&self) -> String {
        self.line.identity.uuid.to_string()
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::open(self.folder.path()).unwrap()
    }

    /// Registers and confirms whoever asks.
    pub(crate) async fn admits(&self) {
        let body = self.registered();
        self.answer(
            "POST",
            "/device/register",
            ResponseTemplate::new(200).set_body_json(body),
        )
        .await;
        let confirmed = json!({"status": "ok", "message": "", "device": {}});
        self.answer(
            "POST",
            &format!("/device/{}/key-exchange", self.uuid()),
            ResponseTemplate::new(200).set_body_json(confirmed),
        )
        .await;
    }

    pub(crate) fn registered(&self) -> Value {
        json!({
            "id": 7, "uuid": self.uuid(), "deviceName": "d", "deviceType": "standalone",
            "applicationId": null, "fleetId": "edge", "createdAt": "2026-11-01T12:00:00Z",
            "mqtt": {"username": "", "password": "", "broker": "",
                     "topics": {"publish": [], "subscribe": []}}
        })
    }

    /// Answers a call so, unless one mounted before it answers.
    pub(crate) async fn answer(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method(verb))
            .and(path(format!("/api/v1{at}")))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    /// Answers the first calls so.
    pub(crate) async fn answer_first(
        &self,
        times: u64,
        verb: &str,
        at: &str,
        answer: ResponseTemplate,
    ) {
        Mock::given(method(verb))
            .and(path(format!("/api/v1{at}")))
            .respond_with(answer)
            .up_to_n_times(times)
            .mount(&self.server)
            .await;
    }

    /// The calls that came to a path.
    pub(crate) async fn calls(&self, verb: &str, at: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter()
            .filter(|call| {
                call.method.as_str() == verb && call.url.path() == format!("/api/v1{at}")
            })
            .collect()
    }

    /// The bodies of the reports that came, in order, without the uuid around them.
    pub(crate) async fn reports(&self) -> Vec<Value> {
        let calls = self.calls("PATCH", "/device/state").await;
        calls.iter().map(|call| self.report_in(call)).collect()
    }

    fn report_in(&self, call: &Request) -> Value {
        assert_eq!(call.headers["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(call.body.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        let mut body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body[self.uuid()].take()
    }

    /// Starts the task that registers and polls.
    pub(crate) fn link(&self) -> watch::Receiver<Offer> {
        let offers = watch::Sender::new(Offer::None);
        let offered = offers.subscribe();
        let link = Link {
            line: Arc::clone(&self.line),
            config: self.config.clone(),
            facts: Facts::read(&DeviceSection::default()),
            state: self.state(),
            offers,
        };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { link.run(&shutdown).await });
        offered
    }

    /// Starts the task that reports.
    pub(crate) fn reporter(&self, config: ReportSection) -> tokio::task::JoinHandle<()> {
        let reporter = Reporter {
            line: Arc::clone(&self.line),
            config,
            longest: Duration::from_secs(self.config.longest_backoff_seconds),
            facts: Facts::read(&DeviceSection::default()),
            pictures: self.pictures.subscribe(),
            history: self.state().file(HISTORY),
            storage: self.folder.path().to_owned(),
        };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { reporter.run(&shutdown).await })
    }

    pub(crate) fn end(&self) {
        self.shutdown.cancel();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A problem as state-api answers.
pub(crate) fn problem(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(
        json!({"type": "about:blank", "title": "no", "status": status}).to_string(),
        "application/problem+json",
    )
}
