//! Registering and confirming keys: device protocol, section 1.

use crate::api::{Api, Device, problem};
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_testkit::stores;

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_registers_with_all_that_an_agent_needs_in_the_answer() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let key = api.provisioning_key(5).await;
        let device = Device::new();
        let response = api
            .register(text(&key["key"]), &device.registration())
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = response.json().await.unwrap();
        assert!(body["id"].as_i64().unwrap() > 0);
        assert_eq!(body["uuid"], json!(device.uuid));
        assert_eq!(body["deviceName"], "press 7");
        assert_eq!(body["deviceType"], "standalone");
        assert_eq!(body["applicationId"], Value::Null);
        assert_eq!(body["fleetId"], "edge");
        assert!(text(&body["createdAt"]).parse::<DateTime<Utc>>().is_ok());
        assert_eq!(
            body["mqtt"],
            json!({"username": "", "password": "", "broker": "",
                   "topics": {"publish": [], "subscribe": []}})
        );
        let shown = api
            .operate(Method::GET, &format!("/devices/{}", device.uuid), None)
            .await;
        assert_eq!(shown["target_version"], 1);
        assert_eq!(shown["agent_version"], "1.0.84");
        assert_eq!(shown["os_version"], "Debian 12");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_device_is_answered_the_same_also_when_its_provisioning_key_is_gone() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let key = api.provisioning_key(1).await;
        let device = Device::new();
        let mut answers = Vec::new();
        for round in 0..3 {
            if round == 2 {
                let path = format!("/provisioning-keys/{}", text(&key["id"]));
                api.operate(Method::DELETE, &path, None).await;
                let path = format!("/devices/{}", device.uuid);
                api.operate(Method::PATCH, &path, Some(json!({"enabled": false})))
                    .await;
            }
            let response = api
                .register(text(&key["key"]), &device.registration())
                .await;
            assert_eq!(response.status(), StatusCode::OK, "round {round}");
            answers.push(response.json::<Value>().await.unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        let listed = api.operate(Method::GET, "/provisioning-keys", None).await;
        assert_eq!(listed["items"][0]["devices"], 1);
        assert_eq!(listed["items"][0].get("key"), None, "shown once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_for_a_known_uuid_is_a_conflict() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let key = api.provisioning_key(5).await;
        let other = Device {
            uuid: device.uuid,
            ..Device::new()
        };
        problem(
            api.register(text(&key["key"]), &other.registration()).await,
            409,
        )
        .await;
        // Nor may two devices have one key.
        let other = Device {
            key: device.key.clone(),
            ..Device::new()
        };
        problem(
            api.register(text(&key["key"]), &other.registration()).await,
            409,
        )
        .await;
        let listed = api.operate(Method::GET, "/provisioning-keys", None).await;
        assert_eq!(listed["items"][1]["devices"], 0, "no place was taken");
        assert_eq!(
            api.poll(&device, &[]).await.status(),
            StatusCode::OK,
            "the first key still holds"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_bad_or_expired_or_revoked_or_used_up_is_refused() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let [revoked, used_up, expired] = [
            api.provisioning_key(5).await,
            api.provisioning_key(1).await,
            api.provisioning_key(5).await,
        ];
        let path = format!("/provisioning-keys/{}", text(&revoked["id"]));
        api.operate(Method::DELETE, &path, None).await;
        let first = Device::new().registration();
        assert_eq!(
            api.register(text(&used_up["key"]), &first).await.status(),
            StatusCode::OK
        );
        let mut tx = test.store.begin().await.unwrap();
        let past = tx.now() - chrono::TimeDelta::seconds(1);
        tx.sql("UPDATE provisioning_keys SET expires_at = $1 WHERE id = $2")
            .bind(past)
            .bind(text(&expired["id"]).parse::<Uuid>().unwrap())
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let device = Device::new();
        for (what, key) in [
            ("bad", "wlp_nonsense"),
            ("revoked", text(&revoked["key"])),
            ("used up", text(&used_up["key"])),
            ("expired", text(&expired["key"])),
        ] {
            let response = api.register(key, &device.registration()).await;
            let body = problem(response, 401).await;
            assert!(text(&body["detail"]).len() > 10, "{what}");
        }
        let without = api
            .request(Method::POST, "/device/register")
            .json(&device.registration());
        problem(without.send().await.unwrap(), 401).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_field_is_named() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let key = api.provisioning_key(5).await;
        for field in ["uuid", "deviceName", "deviceType", "deviceApiKey"] {
            let mut body = Device::new().registration();
            body.as_object_mut().unwrap().remove(field);
            let answer = problem(api.register(text(&key["key"]), &body).await, 400).await;
            assert_eq!(answer["errors"][0]["field"], field, "{answer}");
            assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
        }
        for body in [json!([]), json!("x"), json!({"uuid": "not one"})] {
            problem(api.register(text(&key["key"]), &body).await, 400).await;
        }
        let mut body = Device::new().registration();
        body["deviceName"] = json!("a\u{0}b");
        let response = api.register(text(&key["key"]), &body).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_asks_too_often_is_told_when_to_come_back() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start_with(test.store.clone(), |config| {
        config.state_api.provisioning_per_minute = 2;
    })
    .await;
    let key = api.provisioning_key(5).await;
    for expected in [200, 200, 429] {
        let response = api
            .register(text(&key["key"]), &Device::new().registration())
            .await;
        if expected == 200 {
            assert_eq!(response.status(), StatusCode::OK);
            continue;
        }
        let after = response.headers().get("retry-after").cloned().unwrap();
        let seconds: u64 = after.to_str().unwrap().parse().unwrap();
        assert!((1..=31).contains(&seconds), "{seconds}");
        problem(response, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_proves_itself_is_never_held_back_also_beside_one_that_guesses() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start_with(test.store.clone(), |config| {
        config.state_api.provisioning_per_minute = 2;
    })
    .await;
    let key = api.provisioning_key(1).await;
    let device = Device::new();
    let exchange = |bearer: String| {
        api.request(
            Method::POST,
            &format!("/device/{}/key-exchange", device.uuid),
        )
        .bearer_auth(bearer)
        .json(&json!({"uuid": device.uuid, "deviceApiKey": device.key}))
        .send()
    };
    let mut guesses = Vec::new();
    for _ in 0..10 {
        let response = api
            .register(text(&key["key"]), &device.registration())
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let response = exchange(device.key.clone()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let guessed = exchange(Device::new().key).await.unwrap();
        guesses.push(guessed.status().as_u16());
    }
    assert_eq!(guesses[0], 401, "the registration took the other place");
    assert_eq!(guesses[1..], [429; 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_that_race_for_the_last_places_at_two_replicas_get_just_those() {
    for test in stores().await {
        let here = Api::start(test.store.clone()).await;
        let there = Api::start(test.open_again().await).await;
        let key = here.provisioning_key(7).await;
        let mut racers = tokio::task::JoinSet::new();
        for n in 0..24 {
            let api = if n % 2 == 0 { &here } else { &there };
            let request = api
                .request(Method::POST, "/device/register")
                .bearer_auth(text(&key["key"]))
                .json(&Device::new().registration());
            racers.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        let mut statuses = racers.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![200; 7], vec![401; 17]].concat());
        let devices = here.operate(Method::GET, "/devices", None).await;
        assert_eq!(devices["items"].as_array().unwrap().len(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_that_races_itself_is_registered_once_and_always_answered() {
    for test in stores().await {
        let here = Api::start(test.store.clone()).await;
        let there = Api::start(test.open_again().await).await;
        let key = here.provisioning_key(2).await;
        let device = Device::new();
        let mut racers = tokio::task::JoinSet::new();
        for n in 0..12 {
            let api = if n % 2 == 0 { &here } else { &there };
            let request = api
                .request(Method::POST, "/device/register")
                .bearer_auth(text(&key["key"]))
                .json(&device.registration());
            racers.spawn(async move {
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                response.json::<Value>().await.unwrap()["id"].clone()
            });
        }
        let ids = racers.join_all().await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let listed = here.operate(Method::GET, "/provisioning-keys", None).await;
        assert_eq!(listed["items"][0]["devices"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_confirms_its_own_key_and_no_other() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let exchange = |uuid: Uuid, bearer: &str, body: Value| {
            api.request(Method::POST, &format!("/device/{uuid}/key-exchange"))
                .bearer_auth(bearer)
                .json(&body)
                .send()
        };
        let body = json!({"uuid": device.uuid, "deviceApiKey": device.key});
        let response = exchange(device.uuid, &device.key, body.clone())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["status"], "ok");
        assert_eq!(answer["device"]["uuid"], json!(device.uuid));
        assert_eq!(answer["device"]["deviceName"], "press 7");
        assert!(answer["device"]["id"].is_i64() && answer["message"].is_string());
        let other = Device::new();
        let wrong = exchange(device.uuid, &other.key, body.clone()).await;
        problem(wrong.unwrap(), 401).await;
        let written = json!({"uuid": device.uuid, "deviceApiKey": other.key});
        let wrong = exchange(device.uuid, &device.key, written).await;
        problem(wrong.unwrap(), 401).await;
        let unknown = json!({"uuid": other.uuid, "deviceApiKey": other.key});
        let response = exchange(other.uuid, &other.key, unknown).await;
        problem(response.unwrap(), 404).await;
        let missing = exchange(device.uuid, &device.key, json!({"uuid": device.uuid})).await;
        let answer = problem(missing.unwrap(), 400).await;
        assert_eq!(answer["errors"][0]["field"], "deviceApiKey");
        let elsewhere = json!({"uuid": other.uuid, "deviceApiKey": device.key});
        let elsewhere = exchange(device.uuid, &device.key, elsewhere).await;
        problem(elsewhere.unwrap(), 400).await;
        let unknown = exchange(other.uuid, &device.key, body).await;
        problem(unknown.unwrap(), 404).await;
    }
}
