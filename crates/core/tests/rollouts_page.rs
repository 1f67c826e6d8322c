//! docs/rollouts.md lists every state and every way. `WINDLASS_TEST_WRITE_PAGES=1` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::{Display, Write as _};
use windlass_core::states::{DEVICES, ROLLOUTS, Way};
use windlass_types::rollout::{DeviceStatus, RolloutStatus, SkipReason, StatusReason};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollouts.md");

const HEAD: &str = "# Rollouts and their devices, state by state

A rollout ships one image to the devices in its scope, batch by batch. This page lists every state in which a rollout, and
a device in it, can be, and everything that moves it from one to another. It is made from the list in
`crates/core/src/states`; tests compare the list with what planning and judging do, and this page with the list.

What holds a rollout that does not move is no state of its own: `GET /rollouts/{id}` says in `waiting_for` what it waits
for. [choosing-a-strategy.md](choosing-a-strategy.md) says which rule to write.

";

fn states<S: Copy + PartialEq + Display + 'static>(
    page: &mut String,
    all: &[S],
    meaning: fn(S) -> &'static str,
    ways: &[Way<S>],
) {
    writeln!(page, "| State | Meaning | From there to |\n|---|---|---|").unwrap();
    for state in all {
        let mut to: Vec<String> = Vec::new();
        for way in ways.iter().filter(|way| way.from.contains(state)) {
            let name = format!("`{}`", way.to);
            if !to.contains(&name) {
                to.push(name);
            }
        }
        let to = if to.is_empty() {
            "nowhere".to_owned()
        } else {
            to.join(", ")
        };
        writeln!(page, "| `{state}` | {} | {to} |", meaning(*state)).unwrap();
    }
    writeln!(page, "\n| From | To | When | Who |\n|---|---|---|---|").unwrap();
    for way in ways {
        let from: Vec<String> = way.from.iter().map(|from| format!("`{from}`")).collect();
        let from = if from.is_empty() {
            "(made)".to_owned()
        } else {
            from.join(", ")
        };
        let who = way.by.service();
        writeln!(page, "| {from} | `{}` | {} | {who} |", way.to, way.when).unwrap();
    }
}

fn reasons<R: Copy + Display>(page: &mut String, all: &[R], meaning: fn(R) -> &'static str) {
    writeln!(page, "| Reason | Meaning |\n|---|---|").unwrap();
    for reason in all {
        writeln!(page, "| `{reason}` | {} |", meaning(*reason)).unwrap();
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("## Rollouts\n\n");
    states(
        &mut page,
        RolloutStatus::ALL,
        RolloutStatus::meaning,
        ROLLOUTS,
    );
    page.push('\n');
    page.push_str("### Why a rollout stands where it does\n\n");
    reasons(&mut page, StatusReason::ALL, StatusReason::meaning);
    page.push_str("\n## Devices in a rollout\n\n");
    states(&mut page, DeviceStatus::ALL, DeviceStatus::meaning, DEVICES);
    page.push_str("\n### Why a device is skipped\n\n");
    reasons(&mut page, SkipReason::ALL, SkipReason::meaning);
    page
}

#[test]
fn the_page_lists_every_state_and_every_way() {
    if std::env::var_os("WINDLASS_TEST_WRITE_PAGES").is_some() {
        std::fs::write(PATH, page()).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(written, page(), "write it with WINDLASS_TEST_WRITE_PAGES=1");
}
