//! The bus inside one process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use windlass_bus::{Bus, Ring, State};
use windlass_types::event::{Cursor, Event, EventType};

fn event(kind: EventType) -> Event {
    Event {
        id: Cursor::default(),
        kind,
        occurred_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        rollout_id: None,
        device_uuid: None,
        subject: None,
        version: None,
        data: serde_json::Value::Null,
        actor: "test".to_owned(),
        correlation_id: None,
        causation: None,
    }
}

#[tokio::test]
async fn every_subscriber_hears_every_event() {
    let bus = Bus::local();
    // Nobody listens: no error.
    bus.publish(vec![event(EventType::Quarantined)]);
    let (mut one, mut other) = (bus.subscribe(), bus.subscribe());
    bus.publish(vec![
        event(EventType::RolloutPaused),
        event(EventType::RolloutResumed),
    ]);
    for bell in [&mut one, &mut other] {
        assert_eq!(bell.next().await, Ring::Event(EventType::RolloutPaused));
        assert_eq!(bell.next().await, Ring::Event(EventType::RolloutResumed));
    }
    assert_eq!(bus.state(), State::Connected);
}

#[tokio::test]
async fn one_that_waits_for_some_types_hears_no_others() {
    let bus = Bus::local();
    let mut bell = bus.subscribe();
    bus.publish(vec![
        event(EventType::StateChanged),
        event(EventType::UpdateAvailable),
    ]);
    let ring = bell.next_of(&[EventType::UpdateAvailable]).await;
    assert_eq!(ring, Ring::Event(EventType::UpdateAvailable));
}

#[tokio::test]
async fn one_that_was_too_slow_is_told_to_read_everything() {
    let bus = Bus::local();
    let mut bell = bus.subscribe();
    for _ in 0..5000 {
        bus.publish(vec![event(EventType::StateChanged)]);
    }
    // Also where it waits for another type: among the lost ones it may have been.
    let ring = bell.next_of(&[EventType::UpdateAvailable]).await;
    assert_eq!(ring, Ring::Resync);
}

#[tokio::test]
async fn what_is_told_together_rings_once_for_each_type() {
    let bus = Bus::local();
    let mut bell = bus.subscribe();
    let mut told = vec![event(EventType::StateChanged); 5000];
    told.push(event(EventType::RolloutPaused));
    bus.publish(told);
    bus.publish(vec![event(EventType::RolloutResumed)]);
    for kind in [
        EventType::StateChanged,
        EventType::RolloutPaused,
        EventType::RolloutResumed,
    ] {
        assert_eq!(bell.next().await, Ring::Event(kind));
    }
}

#[tokio::test]
async fn drained_rings_are_forgotten_and_later_ones_heard() {
    let bus = Bus::local();
    let mut bell = bus.subscribe();
    bus.publish(vec![event(EventType::StateChanged); 5]);
    bell.drain();
    bus.publish(vec![event(EventType::RolloutPaused)]);
    assert_eq!(bell.next().await, Ring::Event(EventType::RolloutPaused));
}
