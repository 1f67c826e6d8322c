use crate::harness::{Api, KEY, apis, start};
use serde_json::json;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use windlass_client::{Client, EventFilter};
use windlass_store::{Store, events};
use windlass_types::event::{Cursor, Event, EventType, NewEvent};
use windlass_types::ids::{CorrelationId, RolloutId};

const PATIENCE: Duration = Duration::from_secs(30);

fn client(api: &Api) -> Client {
    Client::new(&api.base, Some(KEY.to_owned())).unwrap()
}

async fn append(api: &Api, event: NewEvent) -> Cursor {
    let mut tx = api.deps.store.begin().await.unwrap();
    let place = events::append(&mut tx, event).await.unwrap();
    api.deps.commit(tx).await.unwrap();
    place
}

/// The next event, told apart from silence.
async fn next(stream: &mut windlass_client::EventStream) -> Event {
    timeout(PATIENCE, stream.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_stream_brings_what_comes_and_only_what_is_asked_for() {
    for api in apis().await {
        let client = client(&api);
        let (id, other) = (
            RolloutId(uuid::Uuid::now_v7()),
            RolloutId(uuid::Uuid::now_v7()),
        );
        let correlation = CorrelationId(uuid::Uuid::now_v7());
        let event = |kind, rollout| NewEvent::new(kind, "test").rollout(rollout, correlation);
        append(&api, event(EventType::RolloutCreated, id)).await;
        let filter = EventFilter {
            types: vec![EventType::RolloutStarted, EventType::RolloutPaused],
            rollout: Some(id),
            device: None,
        };
        let mut stream = client.events(filter.clone(), None).await.unwrap();
        append(&api, event(EventType::RolloutStarted, other)).await;
        append(&api, event(EventType::RolloutResumed, id)).await;
        let wanted = append(&api, event(EventType::RolloutStarted, id)).await;
        assert_eq!(next(&mut stream).await.id, wanted);

        // From the beginning of the log, and from a place in it.
        let mut whole = client
            .events(EventFilter::default(), Some(Cursor::default()))
            .await
            .unwrap();
        assert_eq!(next(&mut whole).await.kind, EventType::RolloutCreated);
        let last = append(&api, event(EventType::RolloutPaused, id)).await;
        let mut rest = client.events(filter, Some(wanted)).await.unwrap();
        assert_eq!(next(&mut rest).await.id, last);

        for path in [
            "/events?type=moon.landed",
            "/events?after=x",
            "/events?rollout=x",
        ] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, 400, "{path}");
            answer.problem();
        }
        let odd = api.request("GET", "/events").header("last-event-id", "x");
        assert_eq!(api.send(odd).await.status, 400);
    }
}

#[tokio::test]
async fn a_stream_tells_when_it_has_sent_all_that_was_in_the_log() {
    for api in apis().await {
        let client = client(&api);
        let mut places = Vec::new();
        // More than are read at once.
        for _ in 0..3 {
            let mut tx = api.deps.store.begin().await.unwrap();
            let group = (0..400).map(|_| NewEvent::new(EventType::StateChanged, "test"));
            let group = events::append_all(&mut tx, group.collect()).await.unwrap();
            api.deps.commit(tx).await.unwrap();
            places.extend(group);
        }
        let nothing = EventFilter {
            types: vec![EventType::RolloutPaused],
            ..EventFilter::default()
        };
        for (filter, after, wanted) in [
            (EventFilter::default(), Some(Cursor::default()), &*places),
            (EventFilter::default(), Some(places[700]), &places[701..]),
            (EventFilter::default(), None, &[]),
            (nothing, Some(Cursor::default()), &[]),
        ] {
            let mut stream = client.events(filter, after).await.unwrap();
            let mut seen = Vec::new();
            while let Some(event) = timeout(PATIENCE, stream.next_logged())
                .await
                .unwrap()
                .unwrap()
            {
                seen.push(event.id);
            }
            assert_eq!(seen, wanted);
            assert_eq!(stream.place(), places.last().copied());
        }
    }
}

#[tokio::test]
async fn what_is_committed_but_not_settled_is_waited_for() {
    let api = start(windlass_testkit::postgres().await).await;
    // An older transaction holds the next event back until it ends.
    let mut older = api.deps.store.begin().await.unwrap();
    let first = NewEvent::new(EventType::StateChanged, "test");
    let first = events::append(&mut older, first).await.unwrap();
    let second = append(&api, NewEvent::new(EventType::StateChanged, "test")).await;
    let mut stream = client(&api)
        .events(EventFilter::default(), Some(Cursor::default()))
        .await
        .unwrap();
    let early = timeout(Duration::from_millis(200), stream.next_logged()).await;
    assert!(early.is_err(), "{early:?}");
    api.deps.commit(older).await.unwrap();
    for wanted in [Some(first), Some(second), None] {
        let event = timeout(PATIENCE, stream.next_logged()).await.unwrap();
        assert_eq!(event.unwrap().map(|event| event.id), wanted);
    }
}

/// Commits events one by one, each after a delay of its own between the append and the commit.
async fn write(store: Store, writer: u64, events_each: u64) {
    for n in 0..events_each {
        let mut tx = store.begin().await.unwrap();
        let event =
            NewEvent::new(EventType::StateChanged, "test").data(json!({"w": writer, "n": n}));
        events::append(&mut tx, event).await.unwrap();
        sleep(Duration::from_millis((writer * 7 + n * 13) % 29)).await;
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_again_and_again_has_no_hole_and_no_double() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 40;
    let api = start(windlass_testkit::postgres().await).await;
    let client = client(&api);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(api.deps.store.clone(), writer, EACH)))
        .collect();

    let mut seen = Vec::new();
    let mut place = Cursor::default();
    let begun = std::time::Instant::now();
    while seen.len() < usize::try_from(WRITERS * EACH).unwrap() {
        let events = seen.len();
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "waited in vain for every event; {events} came"
        );
        // A new connection each few events, taken up where the last one broke off.
        let mut stream = client
            .events(EventFilter::default(), Some(place))
            .await
            .unwrap();
        for _ in 0..11 {
            let Ok(event) = timeout(Duration::from_secs(3), stream.next()).await else {
                break;
            };
            let event = event.unwrap();
            assert!(event.id > place, "the order of the log is kept");
            place = event.id;
            seen.push((
                event.data["w"].as_u64().unwrap(),
                event.data["n"].as_u64().unwrap(),
            ));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    let all: Vec<_> = (0..WRITERS)
        .flat_map(|w| (0..EACH).map(move |n| (w, n)))
        .collect();
    assert_eq!(sorted, all);
    assert_ne!(seen, all, "the writers did overlap");
}
