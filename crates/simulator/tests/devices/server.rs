//! A small server that speaks the device protocol and remembers what it hears.

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use windlass_simulator::{Behaviour, DeviceSpec, Pace, Style};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who asked, what it had, and whether it wants to be held.
pub(crate) type Poll = (String, Option<String>, Option<String>);

#[derive(Default)]
pub(crate) struct Heard {
    /// Version and image of everybody's target.
    pub(crate) target: Mutex<(i64, String)>,
    pub(crate) registrations: Mutex<BTreeMap<String, usize>>,
    pub(crate) reports: Mutex<Vec<Value>>,
    pub(crate) polls: Mutex<Vec<Poll>>,
    pub(crate) broken: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) heard: Arc<Heard>,
    pub(crate) url: String,
    pub(crate) handle: ServerHandle,
}

impl Server {
    pub(crate) fn start() -> Self {
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

    pub(crate) fn target(&self, version: i64, image: &str) {
        *self.heard.target.lock().unwrap() = (version, image.to_owned());
    }

    /// Version and image of each report of the first device, in order.
    pub(crate) fn told(&self) -> Vec<(Option<i64>, Option<String>)> {
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
        .push((uuid.clone(), given.clone(), header("prefer")));
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

pub(crate) fn quick() -> Pace {
    Pace {
        poll: Duration::from_millis(20),
        report: None,
        wait: Duration::from_secs(1),
        pull: Duration::from_millis(20),
        start: Duration::from_millis(10),
        crash: Duration::from_millis(10),
    }
}

pub(crate) fn one(style: Style) -> (DeviceSpec, Behaviour) {
    (
        DeviceSpec::drawn(5, 0, "one", "provisioning"),
        Behaviour::healthy(style).paced(quick()),
    )
}
