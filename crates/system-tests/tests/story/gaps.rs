//! How long a service was without a running container, as the engine's events tell.

use crate::engine::Event;
use std::collections::BTreeSet;
use std::time::Duration;

/// A time in which nothing of a service ran, after something had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) took: Duration,
    /// How many containers of the service were made within it.
    pub(crate) made: usize,
}

/// The gaps of a service, first to last.
pub(crate) fn gaps(events: &[Event], scope: &str, service: &str) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut running = BTreeSet::new();
    let mut open: Option<(u64, usize)> = None;
    let own = events.iter().filter(|event| {
        event.label("windlass.scope") == Some(scope)
            && event.label("windlass.service-name") == Some(service)
    });
    for event in own {
        match event.action.as_str() {
            "create" => {
                if let Some((_, made)) = &mut open {
                    *made += 1;
                }
            }
            "start" => {
                running.insert(&event.id);
                if let Some((since, made)) = open.take() {
                    let took = Duration::from_nanos(event.at.saturating_sub(since));
                    found.push(Gap { took, made });
                }
            }
            "die" if running.remove(&event.id) && running.is_empty() => open = Some((event.at, 0)),
            _ => {}
        }
    }
    assert!(open.is_none(), "{scope} ends without a running {service}");
    found
}

#[test]
fn a_gap_is_from_the_last_end_to_the_next_start() {
    let event = |at: u64, action: &str, id: &str| {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Event {
            id: id.to_owned(),
            action: action.to_owned(),
            at: at * 1_000_000_000,
            labels: [
                label("windlass.scope", "s"),
                label("windlass.service-name", "web"),
            ]
            .into(),
        }
    };
    let gap = |seconds, made| Gap {
        took: Duration::from_secs(seconds),
        made,
    };
    let recreated = [
        event(1, "create", "a"),
        event(2, "start", "a"),
        event(3, "create", "b"),
        event(5, "die", "a"),
        event(9, "start", "b"),
    ];
    assert_eq!(gaps(&recreated, "s", "web"), [gap(4, 0)]);
    let made_too_late = [
        event(2, "start", "a"),
        event(5, "die", "a"),
        event(6, "create", "b"),
        event(9, "start", "b"),
    ];
    assert_eq!(gaps(&made_too_late, "s", "web"), [gap(4, 1)]);
    let handed_over = [
        event(2, "start", "a"),
        event(3, "create", "b"),
        event(4, "start", "b"),
        event(5, "die", "a"),
    ];
    assert_eq!(gaps(&handed_over, "s", "web"), []);
    assert_eq!(gaps(&recreated, "another", "web"), []);
}
