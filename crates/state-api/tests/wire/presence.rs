//! When devices were seen.

use crate::api::Api;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use windlass_testkit::{eventually, stores};

async fn last_seen(api: &Api, uuid: uuid::Uuid) -> Option<DateTime<Utc>> {
    let device: Value = api
        .operate(Method::GET, &format!("/devices/{uuid}"), None)
        .await;
    Some(device["last_seen_at"].as_str()?.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_seen_when_it_polls_and_one_that_does_not_is_not() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let (one, silent) = (api.device().await, api.device().await);
        for _ in 0..2 {
            let asked = Utc::now() - chrono::TimeDelta::milliseconds(300);
            api.poll(&one, &[("If-None-Match", "\"1\"")]).await;
            eventually("the device is seen", Duration::from_secs(10), async || {
                last_seen(&api, one.uuid)
                    .await
                    .is_some_and(|seen| seen > asked)
            })
            .await;
        }
        assert_eq!(last_seen(&api, silent.uuid).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_poll_is_held_is_seen_all_the_while() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    let headers = [("If-None-Match", "\"1\""), ("Prefer", "wait=5")];
    let held = api.poll(&device, &headers);
    let began = Utc::now();
    let seen = eventually(
        "it is seen later than it asked",
        Duration::from_secs(5),
        async || {
            last_seen(&api, device.uuid)
                .await
                .is_some_and(|seen| seen > began + chrono::TimeDelta::milliseconds(1500))
        },
    );
    tokio::select! {
        _ = held => panic!("the poll was answered before the device was seen"),
        () = seen => {}
    }
}
