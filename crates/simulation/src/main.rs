//! `windlass-simulate`: runs worlds of many seeds, and shows how a failed one went.

use clap::Parser;
use std::process::ExitCode;
use windlass_simulation::{Outcome, Settings, Simulation};

/// Runs the real services on virtual time, with faults drawn from seeds, and holds each transaction
/// against the laws. See docs/simulation.md.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Take only each so many-th seed, for several processes beside each other.
    #[arg(long, default_value_t = 1)]
    every: u64,
    /// Devices of a world at most.
    #[arg(long)]
    devices: Option<u64>,
    /// Rules without gates: no limits, windows, start times, approvals and freezes.
    #[arg(long)]
    plain: bool,
    /// End with the trouble, without the calm after which everything must end.
    #[arg(long)]
    safety_only: bool,
    /// Print each step and event as it happens.
    #[arg(long)]
    trace: bool,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-simulate: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let settings = Settings {
        most_devices: arguments.devices,
        trace: arguments.trace,
        plain: arguments.plain,
        safety_only: arguments.safety_only,
        plant: None,
    };
    let (from, count) = arguments
        .seed
        .map_or((arguments.from, arguments.seeds), |seed| (seed, 1));
    let every = usize::try_from(arguments.every.max(1))?;
    runtime.block_on(async {
        let simulation = Simulation::new().await?;
        let started = std::time::Instant::now();
        let (mut failed, mut runs, mut transactions, mut events, mut rollouts) = (0, 0, 0, 0, 0);
        for seed in (from..from + count).step_by(every) {
            let outcome = simulation.run(seed, &settings).await?;
            runs += 1;
            transactions += outcome.transactions;
            events += outcome.events_appended;
            rollouts += outcome.rollouts;
            if outcome.broken.is_some() {
                failed += 1;
                show(seed, &outcome);
                if !arguments.keep_going {
                    break;
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{runs} worlds, {failed} failed; {rollouts} rollouts, {transactions} transactions, {events} events in \
             {seconds:.1} s ({:.1} seeds/s)",
            f64::from(runs) / seconds
        );
        Ok(failed)
    })
}

fn show(seed: u64, outcome: &Outcome) {
    let Some(broken) = &outcome.broken else {
        return;
    };
    println!(
        "seed {seed} broke a law ({} devices): {broken}",
        outcome.devices
    );
    println!("  the last steps:");
    for step in &outcome.steps {
        println!("    {step}");
    }
    println!("  the last events:");
    for event in outcome.events.iter().rev().take(12).rev() {
        println!("    {event}");
    }
    println!("  replay it with: scripts/simulate --seed {seed} --trace");
}
