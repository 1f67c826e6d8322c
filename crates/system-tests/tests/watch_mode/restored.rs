//! The database of `windlass up --agent` is lost, and the agent's folder is kept.

use crate::engine::{asking, run};
use crate::machine::{Machine, NETWORK};

#[tokio::test]
async fn with_the_database_lost_what_runs_goes_on_and_is_updated_again() {
    let mut machine = Machine::new().await;
    run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    machine.start(&[]);
    machine.holds("web").await;
    let second = machine.push("2", &[]).await;
    let before = machine.settles("web", &second).await;

    machine.process().kill();
    machine.lose_database();
    machine.start(&[]);
    machine.holds("web").await;
    let after = machine.settles("web", &second).await;
    assert_eq!(after["Id"], before["Id"], "the database alone was lost");
    let third = machine.push("3", &[]).await;
    machine.settles("web", &third).await;
}
