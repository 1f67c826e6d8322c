//! What a report says (device protocol, What runs).

use crate::facts::{AGENT_VERSION, Facts};
use crate::picture::Picture;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use windlass_reconcile::view::{ServiceView, ViewedHealth};
use windlass_types::ids::DeviceId;

/// The part of a report that is news: two that are equal say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct News(Map<String, Value>);

impl News {
    /// What a picture says.
    #[must_use]
    pub fn of(picture: &Picture, facts: &Facts) -> Self {
        let mut news = Map::new();
        // Without a look at the engine nothing can be said of apps; an empty object would say that
        // nothing runs.
        if let Some(services) = &picture.services {
            news.insert("apps".to_owned(), apps(services));
        }
        if let Some(version) = picture.version {
            news.insert("version".to_owned(), json!(version));
        }
        if let Some(refused) = &picture.refused {
            news.insert("target_error".to_owned(), json!(refused));
        }
        if let Some(trouble) = &picture.trouble {
            news.insert("agent_error".to_owned(), json!(trouble));
        }
        for (name, value) in [
            ("os_version", &facts.os_version),
            ("time_zone", &facts.time_zone),
        ] {
            if let Some(value) = value {
                news.insert(name.to_owned(), json!(value));
            }
        }
        news.insert("agent_version".to_owned(), json!(AGENT_VERSION));
        news.insert("platform".to_owned(), json!(facts.platform));
        Self(news)
    }

    /// The whole body of a report.
    #[must_use]
    pub fn report(
        &self,
        uuid: DeviceId,
        id: Uuid,
        at: DateTime<Utc>,
        load: Map<String, Value>,
    ) -> Value {
        let mut report = self.0.clone();
        report.extend(load);
        report.insert("is_online".to_owned(), json!(true));
        report.insert("reportId".to_owned(), json!(id));
        report.insert("reportedAt".to_owned(), json!(time(at)));
        json!({ uuid.to_string(): report })
    }
}

/// A report that was not sent in its time: without a version, which is how the server tells history
/// from news.
#[must_use]
pub fn as_history(mut report: Value) -> Value {
    if let Some(devices) = report.as_object_mut() {
        for of in devices.values_mut().filter_map(Value::as_object_mut) {
            of.remove("version");
            of.insert("is_online".to_owned(), json!(false));
        }
    }
    report
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn apps(services: &[ServiceView]) -> Value {
    let mut apps = Map::new();
    for view in services {
        let Some(told) = service(view) else { continue };
        let app = apps.entry(view.key.app.to_string()).or_insert_with(
            || json!({"appId": view.key.app, "appName": view.app_name, "services": []}),
        );
        if let Some(list) = app.get_mut("services").and_then(Value::as_array_mut) {
            list.push(told);
        }
    }
    Value::Object(apps)
}

/// What is told of one service; nothing of one that is to go and is gone.
fn service(view: &ServiceView) -> Option<Value> {
    if view.container.is_none() && view.wanted_image.is_none() {
        return None;
    }
    let mut told = Map::new();
    let mut put = |name: &str, value: Value| {
        told.insert(name.to_owned(), value);
    };
    put("serviceId", json!(view.key.service));
    put("serviceName", json!(view.name));
    put("phase", json!(view.phase));
    if let Some(container) = &view.container {
        put("imageName", json!(container.image));
        put("containerId", json!(container.id));
        put("status", json!(container.status));
        put("state", json!(container.status));
        put("restarts", json!(container.restarts));
        if let Some(digest) = &container.digest {
            put("digest", json!(digest));
        }
    }
    if let Some(health) = &view.health {
        put("health", of_health(health));
    }
    if let Some(error) = &view.error {
        let mut of = json!({
            "type": error.class.as_str(),
            "message": error.message,
            "retryCount": error.tries,
        });
        if let (Some(of), Some(next)) = (of.as_object_mut(), error.next_try_at) {
            of.insert("nextRetryAt".to_owned(), json!(time(next)));
        }
        put("error", of);
    }
    if let Some((sentence, _)) = &view.waits {
        put("waitsFor", json!(sentence));
    }
    Some(Value::Object(told))
}

/// Without the time of the check: that it was done again is no news.
fn of_health(health: &ViewedHealth) -> Value {
    let mut of = Map::new();
    of.insert("status".to_owned(), json!(health.status));
    if let Some(probe) = &health.probe {
        of.insert("probe".to_owned(), json!(probe));
    }
    if let Some(output) = &health.output {
        of.insert("output".to_owned(), json!(output));
    }
    Value::Object(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_reconcile::memory::FailureClass;
    use windlass_reconcile::observed::Health;
    use windlass_reconcile::spec::ServiceKey;
    use windlass_reconcile::view::{Phase, ViewedContainer, ViewedError};
    use windlass_types::report::Report;

    fn view() -> ServiceView {
        ServiceView {
            key: ServiceKey {
                app: 1001,
                service: 1,
            },
            name: "web".to_owned(),
            app_name: "demo".to_owned(),
            wanted_image: Some("r/app:v2".to_owned()),
            container: Some(ViewedContainer {
                id: "c0ffee".to_owned(),
                image: "r/app:v1".to_owned(),
                status: "running".to_owned(),
                digest: Some("sha256:1".to_owned()),
                restarts: 2,
            }),
            phase: Phase::Failed,
            health: Some(ViewedHealth {
                status: Health::Healthy,
                probe: Some("readiness".to_owned()),
                checked_at: Some(DateTime::UNIX_EPOCH),
                output: None,
            }),
            error: Some(ViewedError {
                class: FailureClass::CrashLoop,
                message: "ended 3 times".to_owned(),
                tries: 3,
                next_try_at: None,
            }),
            waits: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            name: "d".to_owned(),
            kind: "standalone".to_owned(),
            os_version: Some("Debian 12".to_owned()),
            mac_address: None,
            time_zone: Some("Europe/Berlin".to_owned()),
            platform: "linux/arm64".to_owned(),
        }
    }

    fn body(picture: &Picture) -> Value {
        let uuid = DeviceId(Uuid::nil());
        let at = DateTime::UNIX_EPOCH;
        let report = News::of(picture, &facts()).report(uuid, Uuid::nil(), at, Map::new());
        report.get(uuid.to_string()).unwrap().clone()
    }

    #[test]
    fn the_server_reads_what_is_told() {
        let picture = Picture {
            version: Some(12),
            services: Some(vec![view()]),
            ..Picture::default()
        };
        let report: Report = serde_json::from_value(body(&picture)).unwrap();
        assert_eq!(report.version, Some(12));
        assert_eq!(report.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(report.reported_at, Some(DateTime::UNIX_EPOCH));
        let apps = report.apps.unwrap();
        let told = &apps["1001"].services[0];
        assert_eq!(told.image_name.as_deref(), Some("r/app:v1"));
        assert_eq!(told.container_id.as_deref(), Some("c0ffee"));
        assert_eq!(told.status.as_deref(), Some("running"));
        assert_eq!(told.phase.as_deref(), Some("failed"));
        assert_eq!(told.error.as_ref().unwrap().kind, "crash_loop");
        assert_eq!(told.error.as_ref().unwrap().retry_count, 3);
        assert_eq!(told.health.as_ref().unwrap().status, "healthy");
    }

    #[test]
    fn an_engine_that_cannot_be_asked_is_not_one_that_runs_nothing() {
        let away = body(&Picture {
            version: Some(12),
            trouble: Some("away".to_owned()),
            ..Picture::default()
        });
        assert_eq!(away.get("apps"), None);
        let empty = body(&Picture {
            services: Some(Vec::new()),
            ..Picture::default()
        });
        assert_eq!(empty.get("apps"), Some(&json!({})));
    }

    #[test]
    fn a_service_without_a_container_is_told_with_what_keeps_it_and_one_that_is_gone_is_not() {
        let waits = ServiceView {
            container: None,
            ..view()
        };
        let gone = ServiceView {
            wanted_image: None,
            ..waits.clone()
        };
        let of = |view| {
            body(&Picture {
                services: Some(vec![view]),
                ..Picture::default()
            })
        };
        let told = &of(waits)["apps"]["1001"]["services"][0];
        assert_eq!(told["error"]["type"], "crash_loop");
        assert_eq!(told.get("imageName"), None);
        assert_eq!(of(gone)["apps"], json!({}));
    }

    #[test]
    fn a_check_that_was_done_again_is_no_news_and_history_has_no_version() {
        let mut later = view();
        later.health.as_mut().unwrap().checked_at = None;
        let of = |view| {
            let picture = Picture {
                at: Some(Utc::now()),
                version: Some(1),
                services: Some(vec![view]),
                ..Picture::default()
            };
            News::of(&picture, &facts())
        };
        assert_eq!(of(view()), of(later));
        let uuid = DeviceId(Uuid::nil());
        let report = of(view()).report(uuid, Uuid::nil(), Utc::now(), Map::new());
        let old = as_history(report);
        assert_eq!(old[uuid.to_string()].get("version"), None);
        assert!(old[uuid.to_string()].get("reportedAt").is_some());
    }
}
