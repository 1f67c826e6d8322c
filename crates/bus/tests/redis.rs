//! The bus over a Redis that is killed, hung, or not there at first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;
use tokio_util::sync::CancellationToken;
use windlass_bus::{Bus, Doorbell, RedisOptions, Ring, State};
use windlass_testkit::{RedisServer, eventually, free_port, redis_url};
use windlass_types::event::{Cursor, Event, EventType, NewEvent};

const SOON: Duration = Duration::from_secs(20);

fn event(kind: EventType) -> Event {
    let new = NewEvent::new(kind, "test");
    Event {
        id: Cursor { tx: 1, seq: 1 },
        kind,
        occurred_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        rollout_id: None,
        device_uuid: None,
        subject: None,
        version: None,
        data: new.data,
        actor: new.actor,
        correlation_id: None,
        causation: None,
    }
}

/// A bus of another process's, as it were.
fn bus(url: &str) -> Bus {
    Bus::redis(&RedisOptions::new(url), CancellationToken::new()).unwrap()
}

async fn becomes(bus: &Bus, state: State) {
    eventually(&format!("the bus is {state:?}"), SOON, async || {
        bus.state() == state
    })
    .await;
}

/// The next ring, or a failure.
async fn ring(bell: &mut Doorbell) -> Ring {
    tokio::time::timeout(SOON, bell.next())
        .await
        .expect("a ring in time")
}

/// Publishes until the ring arrives: a bus that has just come back may lose the first ones.
async fn rings_through(from: &Bus, bell: &mut Doorbell) {
    let wanted = Ring::Event(EventType::RolloutPaused);
    eventually("an event rings on the other side", SOON, async || {
        from.publish(vec![event(EventType::RolloutPaused)]);
        tokio::time::timeout(Duration::from_millis(200), bell.next())
            .await
            .is_ok_and(|ring| ring == wanted)
    })
    .await;
}

#[tokio::test]
async fn an_event_published_here_rings_there_and_can_be_read_by_other_programs() {
    let redis = RedisServer::start().await;
    let (here, there) = (bus(&redis.url), bus(&redis.url));
    let mut bell = there.subscribe();
    assert_eq!(
        ring(&mut bell).await,
        Ring::Resync,
        "the subscription begins"
    );
    assert_eq!(there.state(), State::Connected);
    rings_through(&here, &mut bell).await;

    // Other programs listen on the channels by name and find the whole event.
    let client = redis::Client::open(redis.url.as_str()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    let channel = "windlass.events.image.quarantined";
    listener.subscribe(channel).await.unwrap();
    let mut messages = listener.into_on_message();
    let sent = event(EventType::Quarantined);
    here.publish(vec![sent.clone()]);
    let message = futures_util::StreamExt::next(&mut messages).await.unwrap();
    let text: String = message.get_payload().unwrap();
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), sent);
}

#[tokio::test]
async fn a_redis_that_dies_is_noticed_and_its_return_means_read_everything_again() {
    let mut redis = RedisServer::start().await;
    let (here, there) = (bus(&redis.url), bus(&redis.url));
    let mut bell = there.subscribe();
    assert_eq!(ring(&mut bell).await, Ring::Resync);
    redis.kill();
    becomes(&there, State::Disconnected).await;
    // Nothing waits for it and nothing fails.
    here.publish(vec![event(EventType::RolloutPaused)]);
    redis.restart().await;
    assert_eq!(ring(&mut bell).await, Ring::Resync);
    becomes(&there, State::Connected).await;
    rings_through(&here, &mut bell).await;
}

#[tokio::test]
async fn a_redis_that_hangs_with_its_connections_open_is_noticed() {
    let redis = RedisServer::start().await;
    let bus = bus(&redis.url);
    let mut bell = bus.subscribe();
    assert_eq!(ring(&mut bell).await, Ring::Resync);
    redis.hang();
    becomes(&bus, State::Disconnected).await;
    redis.go_on();
    assert_eq!(ring(&mut bell).await, Ring::Resync);
    becomes(&bus, State::Connected).await;
}

#[tokio::test]
async fn a_bus_starts_without_redis_and_connects_when_there_is_one() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let (here, there) = (bus(&url), bus(&url));
    let mut bell = there.subscribe();
    assert_eq!(here.state(), State::Disconnected);
    // More than the outbox holds: publishing neither fails nor waits.
    for _ in 0..1000 {
        here.publish(vec![event(EventType::RolloutPaused)]);
    }
    let _redis = RedisServer::start_on(port).await;
    assert_eq!(ring(&mut bell).await, Ring::Resync);
    rings_through(&here, &mut bell).await;
}

#[tokio::test]
async fn buses_with_different_prefixes_do_not_hear_each_other() {
    let own = |prefix: &str| {
        let options = RedisOptions {
            prefix: format!("{prefix}.{}", free_port()),
            ..RedisOptions::new(redis_url())
        };
        Bus::redis(&options, CancellationToken::new()).unwrap()
    };
    let (one, other) = (own("one"), own("other"));
    let (mut of_one, mut of_other) = (one.subscribe(), other.subscribe());
    assert_eq!(ring(&mut of_one).await, Ring::Resync);
    assert_eq!(ring(&mut of_other).await, Ring::Resync);
    one.publish(vec![event(EventType::RolloutPaused)]);
    // The publisher's own part hears it at once, and once more over Redis.
    for _ in 0..2 {
        assert_eq!(
            ring(&mut of_one).await,
            Ring::Event(EventType::RolloutPaused)
        );
    }
    let heard = tokio::time::timeout(Duration::from_millis(300), of_other.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn the_tasks_of_a_bus_end_with_its_shutdown() {
    let redis = RedisServer::start().await;
    let shutdown = CancellationToken::new();
    let bus = Bus::redis(&RedisOptions::new(&redis.url), shutdown.clone()).unwrap();
    becomes(&bus, State::Connected).await;
    shutdown.cancel();
    let client = redis::Client::open(redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    eventually("its connections are closed", SOON, async || {
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut connection)
            .await
            .unwrap();
        // Ours, that asks, is the only one left.
        clients.lines().count() == 1
    })
    .await;
}

#[test]
fn what_is_no_address_is_refused() {
    let refused = Bus::redis(&RedisOptions::new("localhost"), CancellationToken::new());
    assert!(refused.unwrap_err().to_string().contains("redis://"));
}
