//! The client against a server of canned answers.

use serde_json::{Value, json};
use windlass_client::{Client, DeviceQuery, Error, EventFilter, PageQuery, Poll, RolloutCommand};
use windlass_types::api::{FreezeState, NewFreeze};
use windlass_types::event::Cursor;
use windlass_types::ids::{DeviceId, FreezeId, PlanId, PolicyId, RolloutId};
use windlass_types::image::Digest;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn event(seq: i64) -> String {
    let event = json!({"id": format!("0-{seq}"), "type": "image.rollout_created",
        "occurred_at": "2026-11-21T09:00:00Z", "data": {}, "actor": "rollout-planner"});
    format!("id: 0-{seq}\ndata: {event}\n\n")
}

#[tokio::test]
async fn a_problem_comes_back_as_the_server_put_it() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/v1/devices"))
        .and(query_param("fleet", "edge"))
        .and(query_param("limit", "5"))
        .and(header("authorization", "Bearer k"))
        .respond_with(
            ResponseTemplate::new(503)
                .insert_header("retry-after", "2")
                .set_body_json(json!({"type": "urn:windlass:problem:unavailable",
                    "title": "The store does not answer", "status": 503})),
        )
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), Some("k".to_owned())).unwrap();
    let query = DeviceQuery {
        fleet: Some("edge".to_owned()),
        page: PageQuery {
            limit: Some(5),
            after: None,
        },
        ..DeviceQuery::default()
    };
    let error = client.devices(&query).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.status(), Some(503));
    let Error::Problem { retry_after, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(retry_after, Some(2));
}

#[tokio::test]
async fn each_command_has_an_address_of_its_own_and_one_device_is_not_the_whole_rollout() {
    let server = MockServer::start().await;
    let client = Client::new(&server.uri(), None).unwrap();
    let rollout = RolloutId(uuid::Uuid::from_u128(1));
    let device = DeviceId(uuid::Uuid::from_u128(2));
    for command in [
        RolloutCommand::Pause,
        RolloutCommand::Resume,
        RolloutCommand::Cancel,
        RolloutCommand::Approve,
        RolloutCommand::RollbackAll,
    ] {
        // Nothing is there: what counts is what was asked for.
        client.command(rollout, command, "why").await.unwrap_err();
    }
    let one = client.rollback_device(rollout, device, "why").await;
    one.unwrap_err();
    let asked: Vec<String> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| {
            let start = format!("/api/v1/rollouts/{rollout}/");
            request.url.path().strip_prefix(&start).unwrap().to_owned()
        })
        .collect();
    let device = format!("devices/{device}/rollback");
    assert_eq!(
        asked,
        [
            "pause",
            "resume",
            "cancel",
            "approve",
            "rollback-all",
            &device
        ]
    );
}

#[tokio::test]
async fn an_answer_of_another_program_is_told_apart() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_string("<html>hello</html>"))
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), None).unwrap();
    let error = client.devices(&DeviceQuery::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { status: 200, .. }));
    assert!(matches!(
        Client::new("localhost", None),
        Err(Error::Address(_))
    ));
}

#[tokio::test]
async fn a_poll_tells_a_target_from_nothing_new() {
    let server = MockServer::start().await;
    let uuid = DeviceId(uuid::Uuid::new_v4());
    Mock::given(method("GET"))
        .and(header("if-none-match", "\"2\""))
        .respond_with(ResponseTemplate::new(304))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path(format!("/api/v1/device/{uuid}/state")))
        .and(header("x-device-api-key", "k"))
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("etag", "\"2\"")
                .set_body_json(json!({"a": 1})),
        )
        .with_priority(9)
        .mount(&server)
        .await;
    let device = Client::new(&server.uri(), None).unwrap().device(uuid, "k");
    let Poll::Target { etag, body } = device.poll(None, None).await.unwrap() else {
        panic!("no target")
    };
    assert_eq!((etag.as_str(), body), ("\"2\"", json!({"a": 1})));
    assert_eq!(
        device.poll(Some(&etag), Some(1)).await.unwrap(),
        Poll::Unchanged
    );
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_after_the_last_event() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(header("last-event-id", "0-2"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(event(3), "text/event-stream"))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(header("last-event-id", "0-3"))
        .respond_with(ResponseTemplate::new(401).set_body_json(json!({
            "type": "urn:windlass:problem:unauthorized", "title": "No key", "status": 401})))
        .mount(&server)
        .await;
    // The second event is cut off in the middle, and must come whole from the next connection.
    let cut = format!("{}id: 0-3\ndata: {{\"id\"", event(2));
    Mock::given(method("GET"))
        .and(query_param("type", "image.rollout_created"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(cut, "text/event-stream"))
        .with_priority(9)
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), None).unwrap();
    let filter = EventFilter {
        types: vec!["image.rollout_created".parse().unwrap()],
        ..EventFilter::default()
    };
    let mut stream = client.events(filter, None).await.unwrap();
    assert_eq!(stream.next().await.unwrap().id, Cursor { tx: 0, seq: 2 });
    assert_eq!(stream.next().await.unwrap().id, Cursor { tx: 0, seq: 3 });
    // A refusal that another try does not change ends it.
    assert_eq!(stream.next().await.unwrap_err().status(), Some(401));
}

#[tokio::test]
async fn the_end_of_the_log_is_told_apart_from_a_stream_that_breaks_off() {
    let server = MockServer::start().await;
    let unknown = "id: 0-3\ndata: {\"type\": \"moon.landed\"}\n\n";
    let whole = format!("retry: 1000\n\n{}{unknown}{}", event(2), event(4));
    for (filter, body) in [
        ("image.rollout_created", format!("{whole}id: 0-5\n\n")),
        ("image.rollout_started", whole),
    ] {
        Mock::given(method("GET"))
            .and(query_param("type", filter))
            .respond_with(ResponseTemplate::new(200).set_body_raw(body, "text/event-stream"))
            .mount(&server)
            .await;
    }
    let client = Client::new(&server.uri(), None).unwrap();
    for (filter, ends) in [
        ("image.rollout_created", true),
        ("image.rollout_started", false),
    ] {
        let filter = EventFilter {
            types: vec![filter.parse().unwrap()],
            ..EventFilter::default()
        };
        let mut stream = client
            .events(filter, Some(Cursor::default()))
            .await
            .unwrap();
        for seq in [2, 4] {
            let event = stream.next_logged().await.unwrap().unwrap();
            assert_eq!(event.id, Cursor { tx: 0, seq });
        }
        match stream.next_logged().await {
            Ok(None) => assert!(ends),
            Err(Error::Broken) => assert!(!ends),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = MockServer::start().await;
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(307).insert_header("location", elsewhere.uri());
    Mock::given(method("GET"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), Some("k".to_owned())).unwrap();
    let error = client.devices(&DeviceQuery::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(307));
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_operators_order_goes_to_the_address_of_that_order_with_its_reason() {
    let server = MockServer::start().await;
    let client = Client::new(&server.uri(), Some("k".to_owned())).unwrap();
    let id = uuid::Uuid::from_u128(1);
    let (rollout, device) = (RolloutId(id), DeviceId(uuid::Uuid::from_u128(2)));
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let because = json!({"reason": "why"});
    let new = NewFreeze {
        reason: "why".to_owned(),
        starts_at: None,
        ends_at: Some("2026-12-27T00:00:00Z".parse().unwrap()),
    };
    // Nothing is there: what counts is what was asked for.
    client.enable_policy(PolicyId(id), true, "why").await.ok();
    client.enable_policy(PolicyId(id), false, "why").await.ok();
    client.test_policies(None, "r.io/a:v1").await.ok();
    client
        .test_policies(Some(PolicyId(id)), "r.io/a:v1")
        .await
        .ok();
    client.approve(rollout, Some(2), "why").await.ok();
    client.approve(rollout, None, "why").await.ok();
    for command in [
        RolloutCommand::NextBatch,
        RolloutCommand::Retry,
        RolloutCommand::OverrideFreeze,
    ] {
        client.command(rollout, command, "why").await.ok();
    }
    client.rollback_batch(rollout, 3, "why").await.ok();
    client.retry_device(rollout, device, "why").await.ok();
    client.freeze(&new).await.ok();
    client.lift_freeze(FreezeId(id), "why").await.ok();
    client.stop("why").await.ok();
    client.lift_stop("why").await.ok();
    client.apply_plan(PlanId(id), "why").await.ok();
    client.lift_penalty(device, "why").await.ok();
    client.delete_device(device, "why").await.ok();
    client.lift_quarantine(&digest, "why").await.ok();
    let class = Some(("model", "pi 4"));
    client.lift_quarantine_of(&digest, class, "why").await.ok();
    let asked: Vec<(String, Value)> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| {
            assert_eq!(request.headers["authorization"], "Bearer k");
            let path = request.url.path().strip_prefix("/api/v1/").unwrap();
            let query = request.url.query();
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            let body = request.body_json().unwrap();
            (format!("{} {path}{query}", request.method), body)
        })
        .collect();
    let image = json!({"image": "r.io/a:v1"});
    let wanted = [
        (format!("POST image-policies/{id}/enable"), &because),
        (format!("POST image-policies/{id}/disable"), &because),
        ("POST image-policies/test".to_owned(), &image),
        (format!("POST image-policies/{id}/test"), &image),
        (
            format!("POST rollouts/{id}/approve"),
            &json!({"reason": "why", "batch": 2}),
        ),
        (format!("POST rollouts/{id}/approve"), &because),
        (format!("POST rollouts/{id}/trigger-next-batch"), &because),
        (format!("POST rollouts/{id}/retry"), &because),
        (format!("POST rollouts/{id}/override-freeze"), &because),
        (format!("POST rollouts/{id}/batches/3/rollback"), &because),
        (
            format!("POST rollouts/{id}/devices/{device}/retry"),
            &because,
        ),
        (
            "POST freezes".to_owned(),
            &json!({"reason": "why", "ends_at": "2026-12-27T00:00:00Z"}),
        ),
        (format!("POST freezes/{id}/lift"), &because),
        ("POST stop".to_owned(), &because),
        ("POST stop/lift".to_owned(), &because),
        (format!("POST rollout-plans/{id}/apply"), &because),
        (format!("DELETE penalties/{device}"), &because),
        (format!("DELETE devices/{device}"), &because),
        (format!("DELETE quarantine/{digest}"), &because),
        (
            format!("DELETE quarantine/{digest}?tag_key=model&tag_value=pi+4"),
            &because,
        ),
    ];
    assert_eq!(asked.len(), wanted.len());
    for ((address, body), (wanted, of)) in asked.iter().zip(&wanted) {
        assert_eq!((address, body), (wanted, *of));
    }
}

#[tokio::test]
async fn a_command_on_what_was_read_names_its_version_and_others_name_none() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("if-match", "\"7\""))
        .respond_with(ResponseTemplate::new(412).set_body_json(json!({
            "type": "urn:windlass:problem:stale", "title": "It was changed", "status": 412})))
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), None).unwrap();
    let rollout = RolloutId(uuid::Uuid::from_u128(1));
    let pause = RolloutCommand::Pause;
    let stale = client.command_on(rollout, 7, pause, "why").await;
    assert_eq!(stale.unwrap_err().status(), Some(412));
    client.command(rollout, pause, "why").await.unwrap_err();
    let asked = server.received_requests().await.unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].url.path(), asked[1].url.path());
    assert!(!asked[1].headers.contains_key("if-match"));
}

#[tokio::test]
async fn listings_of_what_holds_rollouts_back_say_what_they_are_to_show() {
    let server = MockServer::start().await;
    for (place, queries) in [
        (
            "/api/v1/freezes",
            &[("state", "to_come"), ("limit", "5")][..],
        ),
        ("/api/v1/penalties", &[("after", "x")]),
    ] {
        let mut mock = Mock::given(method("GET")).and(path(place));
        for (key, value) in queries {
            mock = mock.and(query_param(*key, *value));
        }
        mock.respond_with(ResponseTemplate::new(200).set_body_json(json!({"items": []})))
            .mount(&server)
            .await;
    }
    let client = Client::new(&server.uri(), None).unwrap();
    let five = PageQuery {
        limit: Some(5),
        after: None,
    };
    let freezes = client.freezes(Some(FreezeState::ToCome), &five).await;
    assert_eq!(freezes.unwrap().items, []);
    let after = PageQuery {
        limit: None,
        after: Some("x".to_owned()),
    };
    assert_eq!(client.penalties(&after).await.unwrap().items, []);
}
