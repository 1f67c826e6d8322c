//! Reports: device protocol, section 3, with what existing agents do.

use crate::api::{Api, Device, apps, report, target};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_store::Store;
use windlass_testkit::stores;
use windlass_types::event::EventType;

const V1: &str = "registry:5000/demo/app:v1";
const V2: &str = "registry:5000/demo/app:v2@sha256:\
                  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// How often this device's state changed by the log, settled or not: other tests' transactions in
/// the same cluster hold settling up.
async fn changes(store: &Store, device: &Device) -> i64 {
    let mut session = store.read().await.unwrap();
    let (count,): (i64,) = session
        .sql("SELECT COUNT(*) FROM events WHERE type = $1 AND device_uuid = $2")
        .bind(EventType::StateChanged.as_str())
        .bind(device.uuid)
        .one()
        .await
        .unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_1_the_version_of_a_report_is_the_one_received_not_the_one_applied() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(2, &[(V1, "c1", "running")]))
            .await;
        let version = api.set_image(&device, V2).await;
        // The first report after the update: the new version, the old image.
        api.report(&device, report(version + 1, &[(V1, "c1", "running")]))
            .await;
        let observation = api.observation(&device).await;
        assert_eq!(observation["version_received"], version + 1);
        let service = api.service(&device).await;
        assert_eq!(
            (&service["image"], &service["status"]),
            (&json!(V1), &json!("running"))
        );
        api.report(&device, report(version + 1, &[(V2, "c2", "running")]))
            .await;
        assert_eq!(api.service(&device).await["image"], V2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_2_no_apps_after_a_failed_pull_means_that_the_service_is_gone() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(1, &[(V1, "c1", "running")]))
            .await;
        let mut gone = report(2, &[]);
        gone["apps"] = json!({});
        api.report(&device, gone).await;
        let service = api.service(&device).await;
        assert_eq!(service["status"], "absent");
        assert!(service["absent_since"].is_string(), "{service}");
        assert_eq!(service.get("running_since"), None);
        assert_eq!(changes(&test.store, &device).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_3_a_replayed_report_is_taken_and_overwrites_nothing() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(3, &[(V2, "c2", "running")]))
            .await;
        let before = api.observation(&device).await;
        let mut old = report(0, &[(V1, "c1", "exited")]);
        old.as_object_mut().unwrap().remove("version");
        old["agent_version"] = json!("0.9");
        api.report(&device, old).await;
        assert_eq!(api.observation(&device).await, before);
        let path = format!("/devices/{}", device.uuid);
        let shown = api.operate(Method::GET, &path, None).await;
        assert_eq!(shown["agent_version"], "1.0.84");
        assert_eq!(changes(&test.store, &device).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_4_a_silent_restart_shows_in_the_container_alone() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(1, &[(V1, "c1", "running")]))
            .await;
        let first = api.service(&device).await;
        assert_eq!(first["restarts"], 0);
        api.report(&device, report(1, &[(V1, "c9", "running")]))
            .await;
        let second = api.service(&device).await;
        assert_eq!(second["restarts"], 1, "{second}");
        assert_ne!(second["running_since"], first["running_since"]);
        assert_eq!(second.get("health"), None, "nobody said anything of probes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_5_flapping_doubled_and_missing_containers_are_put_up_with() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(1, &[(V1, "c1", "running")]))
            .await;
        for containers in [
            &[(V1, "c1", "restarting")][..],
            &[(V1, "c1", "running")],
            &[],
            &[(V1, "c1", "exited"), (V1, "c2", "running")],
        ] {
            api.report(&device, report(1, containers)).await;
        }
        let service = api.service(&device).await;
        assert_eq!(service["status"], "running");
        assert_eq!(service["container_id"], "c2");
        assert!(service["restarts"].as_i64().unwrap() >= 2, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_6_images_come_back_as_they_were_sent_or_as_a_bare_id() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let bare = format!("sha256:{}", "b".repeat(64));
        for image in [V1, V2, "registry:5000/demo/app", bare.as_str()] {
            api.report(&device, report(1, &[(image, "c1", "running")]))
                .await;
            assert_eq!(api.service(&device).await["image"], image);
        }
        let labels = json!({"labels": {"iotistic.app-id": "1001", "mine": "x"}});
        api.set_target(&device, &target(V1, &labels)).await;
        let response = api.poll(&device, &[]).await;
        let body: Value = response.json().await.unwrap();
        let service = &body[device.uuid.to_string()]["apps"]["1001"]["services"][0];
        assert_eq!(service["config"]["labels"], labels["labels"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_7_a_target_that_changes_probes_alone_leaves_the_container_running() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let one = api.set_image(&device, V1).await;
        api.report(&device, report(one, &[(V1, "c1", "running")]))
            .await;
        let before = api.service(&device).await;
        let probe = json!({"livenessProbe": {"type": "tcp", "tcpPort": 1}});
        let two = api.set_target(&device, &target(V1, &probe)).await;
        assert_eq!(two, one + 1);
        api.report(&device, report(two, &[(V1, "c1", "running")]))
            .await;
        let after = api.service(&device).await;
        assert_eq!(after["running_since"], before["running_since"]);
        assert_eq!(after["restarts"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behaviour_8_a_poll_is_the_heartbeat_of_a_device_that_reports_nothing() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        api.poll(&device, &[]).await;
        windlass_testkit::eventually(
            "the device is seen",
            std::time::Duration::from_secs(10),
            async || {
                let path = format!("/devices/{}", device.uuid);
                let shown = api.operate(Method::GET, &path, None).await;
                shown["last_seen_at"].is_string()
            },
        )
        .await;
        let observation = api.observation(&device).await;
        assert_eq!(observation.get("last_report_at"), None, "{observation}");
    }
}

/// A report as our own agent sends it.
fn ours(id: Uuid, at: &str, image: &str) -> Value {
    json!({"reportId": id, "reportedAt": at, "version": 1, "agent_version": "2.0",
           "apps": apps(&[(image, "c1", "running")])})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_comes_twice_counts_once_and_an_older_one_not_at_all() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
        let fresh = ours(new, "2026-11-01T12:00:05Z", V2);
        api.report(&device, fresh.clone()).await;
        let before = api.observation(&device).await;
        api.report(&device, fresh).await;
        api.report(&device, ours(old, "2026-11-01T12:00:01Z", V1))
            .await;
        assert_eq!(api.observation(&device).await, before);
        assert_eq!(changes(&test.store, &device).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_answer_was_lost_in_a_crash_is_safe_to_send_again() {
    for test in stores().await {
        let device;
        let sent = ours(Uuid::now_v7(), "2026-11-01T12:00:05Z", V2);
        {
            let api = Api::start(test.open_again().await).await;
            device = api.device().await;
            // Sent, perhaps committed, and the program ends before the device hears of it.
            let body = device.body(sent.clone());
            let answer = tokio::spawn(
                api.request(Method::PATCH, "/device/state")
                    .header("X-Device-API-Key", &device.key)
                    .json(&body)
                    .send(),
            );
            windlass_testkit::eventually(
                "it is committed",
                std::time::Duration::from_secs(10),
                async || changes(&test.store, &device).await == 1,
            )
            .await;
            api.kill();
            answer.abort();
        }
        let api = Api::start(test.open_again().await).await;
        api.report(&device, sent).await;
        assert_eq!(api.service(&device).await["image"], V2);
        assert_eq!(changes(&test.store, &device).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_many_devices_at_once_are_all_stored_and_a_bad_one_costs_only_itself() {
    for test in stores().await {
        let api = Api::start_with(test.store.clone(), |config| {
            config.state_api.provisioning_per_minute = 10_000;
        })
        .await;
        let mut devices = Vec::new();
        for _ in 0..30 {
            devices.push(api.device().await);
        }
        let mut reports = tokio::task::JoinSet::new();
        for (n, device) in devices.iter().enumerate() {
            let mut state = report(1, &[(V1, "c1", "running")]);
            match n {
                0 => state["apps"] = json!([1, 2]),
                1 => state["top_processes"] = json!("\u{0}"),
                2 => state = json!("nonsense"),
                _ => {}
            }
            let request = api
                .request(Method::PATCH, "/device/state")
                .header("X-Device-API-Key", &device.key)
                .json(&device.body(state));
            reports.spawn(async move { (n, request.send().await.unwrap().status()) });
        }
        for (n, status) in reports.join_all().await {
            let expected = if n == 2 {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::OK
            };
            assert_eq!(status, expected, "{n}");
        }
        for device in &devices[3..] {
            assert_eq!(api.service(device).await["image"], V1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_kept_and_versions_are_taken_over() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let mut state = report(1, &[(V1, "c1", "running")]);
        state["agent_version"] = json!("1.0.99");
        state["something_new"] = json!({"deep": [1, 2.5, null]});
        api.report(&device, state.clone()).await;
        let path = format!("/devices/{}/current-state", device.uuid);
        let shown = api.operate(Method::GET, &path, None).await;
        assert_eq!(shown["report"], state);
        assert!(shown["received_at"].is_string());
        let path = format!("/devices/{}", device.uuid);
        let shown = api.operate(Method::GET, &path, None).await;
        assert_eq!(shown["agent_version"], "1.0.99");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_no_news() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        for _ in 0..3 {
            api.report(&device, report(1, &[(V1, "c1", "running")]))
                .await;
        }
        assert_eq!(changes(&test.store, &device).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_is_kept_until_another_is_said() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let path = format!("/devices/{}", device.uuid);
        // What cannot be read, or is not said, changes nothing.
        for (said, kept) in [
            (json!(null), json!(null)),
            (json!("linux/arm64/v8"), json!("linux/arm64/v8")),
            (json!(""), json!("linux/arm64/v8")),
            (json!(7), json!("linux/arm64/v8")),
            (json!("a b"), json!("linux/arm64/v8")),
            (json!("armv7l"), json!("armv7l")),
        ] {
            let mut body = report(1, &[(V1, "c1", "running")]);
            body["platform"] = said.clone();
            api.report(&device, body).await;
            let shown = api.operate(Method::GET, &path, None).await;
            assert_eq!(shown["platform"], kept, "{said}");
        }
        let mut read = test.store.read().await.unwrap();
        let known = windlass_store::image_facts::platforms(&mut read).await;
        assert_eq!(known.unwrap(), ["armv7l"]);
    }
}
