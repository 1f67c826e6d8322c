//! Worlds of many seeds, each with every law held.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests are to fail loudly"
)]

use windlass_simulation::{Settings, Simulation};

/// Small fleets: what goes wrong, goes wrong there too, and a debug build has its time.
const DEVICES: u64 = 8;

/// Worlds that once broke a law, with all rules and the calm at the end, and what was wrong.
const FOUND: [(u64, &str); 8] = [
    (
        700,
        "the law itself: a share of the devices in flight did not count who had joined",
    ),
    (
        1053,
        "a rollout was completed while a device that joined after its last batch was admitted",
    ),
    (
        1699,
        "the law itself: two weeks are not enough where a window opens twice a week",
    ),
    (
        1777,
        "a row still waited to go back when a newer rollout had its device",
    ),
    (
        1990,
        "the log's model let go whom a rollback of all still puts back",
    ),
    (
        4087,
        "a device taken back from its last good image went to one that it had never proved",
    ),
    (
        10459,
        "a device was called back while one of its services had the bad image",
    ),
    (
        11609,
        "nobody ended a rollout that a failed device held before it had begun",
    ),
];

async fn hold(seeds: impl IntoIterator<Item = u64>) {
    let simulation = Simulation::new().await.unwrap();
    let settings = Settings {
        most_devices: Some(DEVICES),
        plain: true,
        safety_only: true,
        ..Settings::default()
    };
    for seed in seeds {
        let outcome = simulation.run(seed, &settings).await.unwrap();
        if let Some(broken) = outcome.broken {
            panic!(
                "seed {seed} broke a law: {broken}\n{}\nreplay it with: \
                 scripts/simulate --seed {seed} --devices {DEVICES} --plain --safety-only --trace",
                outcome.steps.join("\n")
            );
        }
    }
}

#[tokio::test]
async fn every_law_holds_in_a_hundred_worlds() {
    hold(1..=100).await;
}

#[tokio::test]
async fn every_law_holds_in_a_hundred_more() {
    hold(101..=200).await;
}

#[tokio::test]
async fn a_seed_gives_the_same_world_again() {
    let simulation = Simulation::new().await.unwrap();
    for seed in [3, 17, 40] {
        let one = simulation.run(seed, &Settings::default()).await.unwrap();
        let two = simulation.run(seed, &Settings::default()).await.unwrap();
        assert!(one.events_appended > 0, "nothing happened in seed {seed}");
        assert_eq!(one.fingerprint, two.fingerprint, "seed {seed}");
        assert_eq!(one.transactions, two.transactions, "seed {seed}");
    }
}

#[tokio::test]
async fn worlds_that_once_broke_a_law_hold() {
    let simulation = Simulation::new().await.unwrap();
    for (seed, was) in FOUND {
        let outcome = simulation.run(seed, &Settings::default()).await.unwrap();
        if let Some(broken) = outcome.broken {
            panic!(
                "seed {seed} broke a law ({was}, once): {broken}\n{}\nreplay it with: \
                 scripts/simulate --seed {seed} --trace",
                outcome.steps.join("\n")
            );
        }
    }
}
