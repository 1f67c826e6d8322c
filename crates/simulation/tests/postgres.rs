//! Worlds on PostgreSQL: the same services and laws, other locks, another planner and another event log.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests are to fail loudly"
)]

use windlass_simulation::{Settings, Simulation};
use windlass_testkit::postgres;

#[tokio::test]
async fn every_law_holds_on_postgresql_as_well() {
    let database = postgres().await;
    let simulation = Simulation::on(database.store.clone()).await.unwrap();
    let settings = Settings {
        most_devices: Some(8),
        ..Settings::default()
    };
    let mut rollouts = 0;
    for seed in 1..=12 {
        let outcome = simulation.run(seed, &settings).await.unwrap();
        if let Some(broken) = outcome.broken {
            panic!(
                "seed {seed} broke a law on PostgreSQL: {broken}\n{}",
                outcome.steps.join("\n")
            );
        }
        rollouts += outcome.rollouts;
    }
    assert!(rollouts > 10, "{rollouts} rollouts tell too little");
}
