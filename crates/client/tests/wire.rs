//! The client against a server of canned answers.

use serde_json::json;
use windlass_client::{Client, DeviceQuery, Error, EventFilter, PageQuery, Poll, RolloutCommand};
use windlass_types::event::Cursor;
use windlass_types::ids::{DeviceId, RolloutId};
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
