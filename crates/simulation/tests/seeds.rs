//! Worlds of many seeds, each with every law held.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests are to fail loudly"
)]

use windlass_simulation::{Settings, Simulation};

/// Small fleets: what goes wrong, goes wrong there too, and a debug build has its time.
const DEVICES: u64 = 8;

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
