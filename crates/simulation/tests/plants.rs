//! Faults planted on purpose are found, each by the law it breaks.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests are to fail loudly"
)]

use windlass_simulation::{Law, Plant, Settings, Simulation};

/// Seeds within which each must be found.
const SEEDS: u64 = 300;

async fn found(plant: Plant, law: Law) {
    let simulation = Simulation::new().await.unwrap();
    let settings = Settings {
        most_devices: Some(8),
        plain: plant != Plant::CountsInMemory,
        safety_only: true,
        plant: Some(plant),
        trace: false,
    };
    for seed in 1..=SEEDS {
        let outcome = simulation.run(seed, &settings).await.unwrap();
        if let Some(broken) = outcome.broken {
            assert_eq!(broken.law, Some(law), "{plant:?} in seed {seed}: {broken}");
            return;
        }
    }
    panic!("{plant:?} was not found in {SEEDS} seeds");
}

#[tokio::test]
async fn an_admission_that_overlooks_a_pause_is_found() {
    found(Plant::IgnoresPause, Law::NoAdmissionWhileHalted).await;
}

#[tokio::test]
async fn a_rollback_to_the_tag_of_before_is_found() {
    found(Plant::TagOfBefore, Law::BackToOwnLastGood).await;
}

#[tokio::test]
async fn a_counter_that_a_crash_forgets_is_found() {
    found(Plant::CountsInMemory, Law::WithinLimits).await;
}
