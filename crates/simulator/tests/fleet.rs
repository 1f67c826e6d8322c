//! Devices against a small server that speaks the device protocol and remembers what it hears.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test is to end the test"
)]

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use windlass_simulator::{Behaviour, DeviceSpec, Failure, Pace, Simulator, Style};
use windlass_testkit::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Heard {
    /// Version and image of everybody's target.
    target: Mutex<(i64, String)>,
    registrations: Mutex<BTreeMap<String, usize>>,
    reports: Mutex<Vec<Value>>,
    polls: Mutex<Vec<(Option<String>, Option<String>)>>,
    broken: AtomicBool,
}

struct Server {
    heard: Arc<Heard>,
    url: String,
    handle: ServerHandle,
}

impl Server {
    fn start() -> Self {
        let heard = Arc::new(Heard::default());
        let state = web::Data::from(Arc::clone(&heard));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .route("/api/v1/device/register", web::post().to(register))
                .route(
                    "/api/v1/device/{uuid}/key-exchange",
                    web::post().to(exchange),
                )
                .route("/api/v1/device/{uuid}/state", web::get().to(poll))
                .route("/api/v1/device/state", web::patch().to(report))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { heard, url, handle }
    }

    fn target(&self, version: i64, image: &str) {
        *self.heard.target.lock().unwrap() = (version, image.to_owned());
    }

    /// Version and image of each report of the first device, in order.
    fn told(&self) -> Vec<(Option<i64>, Option<String>)> {
        let reports = self.heard.reports.lock().unwrap();
        reports
            .iter()
            .map(|report| {
                let body = report.as_object().unwrap().values().next().unwrap();
                let image = body["apps"]["1"]["services"][0]["imageName"].as_str();
                (body["version"].as_i64(), image.map(str::to_owned))
            })
            .collect()
    }
}

fn broken(heard: &Heard) -> Option<HttpResponse> {
    heard
        .broken
        .load(Ordering::Relaxed)
        .then(|| HttpResponse::ServiceUnavailable().finish())
}

async fn register(heard: web::Data<Heard>, body: web::Json<Value>) -> HttpResponse {
    let uuid = body["uuid"].as_str().unwrap().to_owned();
    *heard.registrations.lock().unwrap().entry(uuid).or_default() += 1;
    HttpResponse::Ok().json(json!({"id": 1, "mqtt": {"username": ""}}))
}

async fn exchange() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn poll(
    heard: web::Data<Heard>,
    request: HttpRequest,
    uuid: web::Path<String>,
) -> HttpResponse {
    if let Some(answer) = broken(&heard) {
        return answer;
    }
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let given = header("if-none-match");
    heard
        .polls
        .lock()
        .unwrap()
        .push((given.clone(), header("prefer")));
    let (version, image) = heard.target.lock().unwrap().clone();
    let etag = format!("\"{version}\"");
    if given.as_deref() == Some(&*etag) {
        return HttpResponse::NotModified()
            .insert_header(("etag", etag))
            .finish();
    }
    let apps = if image.is_empty() {
        json!({})
    } else {
        json!({"1": {"appId": 1, "appName": "demo", "services": [
            {"serviceId": 1, "serviceName": "web", "imageName": image, "config": {"image": image}}]}})
    };
    HttpResponse::Ok()
        .insert_header(("etag", etag))
        .json(json!({&*uuid: {"apps": apps, "config": {}, "version": version}}))
}

async fn report(heard: web::Data<Heard>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    if let Some(answer) = broken(&heard) {
        return answer;
    }
    assert_eq!(request.headers().get("content-encoding").unwrap(), "gzip");
    // The extractor has inflated it.
    let report = serde_json::from_slice(&body).unwrap();
    heard.reports.lock().unwrap().push(report);
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

fn quick() -> Pace {
    Pace {
        poll: Duration::from_millis(20),
        wait: Duration::from_secs(1),
        pull: Duration::from_millis(20),
        start: Duration::from_millis(10),
        crash: Duration::from_millis(10),
    }
}

fn one(style: Style) -> (DeviceSpec, Behaviour) {
    (
        DeviceSpec::drawn(5, 0, "one", "provisioning"),
        Behaviour::healthy(style).paced(quick()),
    )
}

#[tokio::test]
async fn an_update_is_told_as_existing_agents_tell_it_and_history_has_no_version() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour.replaying())]).unwrap();
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 1
    })
    .await;
    server.target(2, "r/app:v2");
    let replayed = (None, Some("r/app:v1".to_owned()));
    eventually("history is told after v2", PATIENCE, async || {
        let told = server.told();
        let fresh = told
            .iter()
            .position(|report| *report == (Some(2), Some("r/app:v2".to_owned())));
        fresh.is_some_and(|at| told.iter().skip(at).any(|report| *report == replayed))
    })
    .await;
    assert!(
        server
            .told()
            .contains(&(Some(2), Some("r/app:v1".to_owned()))),
        "received is told before it is applied"
    );
    let polls = server.heard.polls.lock().unwrap().clone();
    assert_eq!(polls[0], (None, None), "the first poll is unconditional");
    assert!(
        polls
            .iter()
            .skip(1)
            .any(|(etag, _)| etag.as_deref() == Some("\"2\""))
    );
    assert!(polls.iter().all(|(_, prefer)| prefer.is_none()));
    assert_eq!(server.heard.registrations.lock().unwrap().len(), 1);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn our_style_asks_for_the_poll_to_be_held_and_tells_errors() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Ours);
    let spec = spec.behaving(behaviour.bad_on(":v1", Failure::ReportsError));
    let fleet = Simulator::start(&server.url, vec![spec]).unwrap();
    eventually("the error is told", PATIENCE, async || {
        let reports = server.heard.reports.lock().unwrap();
        reports.iter().any(|report| {
            let body = report.as_object().unwrap().values().next().unwrap();
            let service = &body["apps"]["1"]["services"][0];
            service["error"]["type"] == "start"
                && service["phase"] == "failed"
                && body["reportId"].is_string()
        })
    })
    .await;
    eventually("a poll asks to be held", PATIENCE, async || {
        let polls = server.heard.polls.lock().unwrap();
        polls
            .iter()
            .any(|(etag, prefer)| etag.is_some() && prefer.as_deref() == Some("wait=1"))
    })
    .await;
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn a_stopped_device_is_silent_and_a_resumed_one_catches_up() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let uuid = spec.uuid;
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour)]).unwrap();
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 1
    })
    .await;
    fleet.stop(uuid);
    eventually("it is offline", PATIENCE, async || {
        !fleet.snapshot(uuid).unwrap().online
    })
    .await;
    let (polls, reports) = (
        server.heard.polls.lock().unwrap().len(),
        server.told().len(),
    );
    server.target(2, "r/app:v2");
    // Silence can only be seen by waiting: ten times as long as between two of its polls.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.heard.polls.lock().unwrap().len(), polls);
    assert_eq!(server.told().len(), reports);
    fleet.resume(uuid);
    eventually("v2 runs", PATIENCE, async || {
        fleet.count_running("web", ":v2") == 1
    })
    .await;
    let seen = fleet.snapshot(uuid).unwrap();
    assert_eq!(seen.images_of("web"), ["r/app:v1", "r/app:v2"]);
    assert_eq!(seen.versions, [1, 2]);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn what_could_not_be_told_is_told_when_the_server_is_back() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let uuid = spec.uuid;
    // Slow enough for the server to fail between the poll and the report.
    let mut pace = quick();
    pace.pull = Duration::from_millis(400);
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour.paced(pace))]).unwrap();
    eventually("the target is received", PATIENCE, async || {
        fleet.snapshot(uuid).unwrap().version == 1
    })
    .await;
    server.heard.broken.store(true, Ordering::Relaxed);
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 1
    })
    .await;
    assert!(
        !server
            .told()
            .contains(&(Some(1), Some("r/app:v1".to_owned())))
    );
    server.heard.broken.store(false, Ordering::Relaxed);
    eventually("v1 is told", PATIENCE, async || {
        server
            .told()
            .contains(&(Some(1), Some("r/app:v1".to_owned())))
    })
    .await;
    assert!(fleet.snapshot(uuid).unwrap().errors > 0);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn a_thousand_devices_fit_in_a_process() {
    const DEVICES: usize = 1000;
    let server = Server::start();
    server.target(1, "r/app:v1");
    let specs = (0..1000)
        .map(|index| {
            let mut pace = quick();
            pace.poll = Duration::from_secs(2);
            DeviceSpec::drawn(5, index, format!("d{index}"), "provisioning")
                .behaving(Behaviour::healthy(Style::Existing).paced(pace))
        })
        .collect();
    let fleet = Simulator::start(&server.url, specs).unwrap();
    eventually("every device runs v1", PATIENCE, async || {
        fleet.count_running("web", ":v1") == DEVICES
    })
    .await;
    assert_eq!(server.heard.registrations.lock().unwrap().len(), DEVICES);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}
