//! The list of benchmarks: one line for each.

use crate::bench::Bench;
use crate::row::Row;
use crate::{
    changed, idle, planning, poll, poll_million, pushes, reports, rollout, sizes, start, up,
    webhooks,
};
use anyhow::{Result, bail};
use std::future::Future;
use std::pin::Pin;

/// What a benchmark does: its figures, each with its reference.
type Measure = for<'b> fn(&'b Bench) -> Pin<Box<dyn Future<Output = Result<Vec<Row>>> + 'b>>;

/// One benchmark.
pub(crate) struct Benchmark {
    /// How it is asked for.
    pub(crate) name: &'static str,
    /// What it measures.
    about: &'static str,
    /// Measures it.
    pub(crate) measure: Measure,
}

/// All of them, in the order in which they are run.
#[rustfmt::skip]
const ALL: &[Benchmark] = &[
    Benchmark { name: "poll", about: "polls answered 304, beside a bare actix-web server", measure: |bench| Box::pin(poll::measure(bench)) },
    Benchmark { name: "poll_million", about: "polls answered 304 with ten times as many devices, beside a tenth of them; memory of each device", measure: |bench| Box::pin(poll_million::measure(bench)) },
    Benchmark { name: "changed", about: "polls answered 200 after a change, beside those answered 304", measure: |bench| Box::pin(changed::measure(bench)) },
    Benchmark { name: "idle", about: "50,000 held polls: memory of each, and all told of a change", measure: |bench| Box::pin(idle::measure(bench)) },
    Benchmark { name: "start", about: "state-api from its start with ten times as many devices, which poll meanwhile", measure: |bench| Box::pin(start::measure(bench)) },
    Benchmark { name: "reports", about: "durable reports, beside multi-row upserts", measure: |bench| Box::pin(reports::measure(bench)) },
    Benchmark { name: "rollout", about: "a staged rollout over ten times as many devices made, a batch admitted, slices, beside plain statements", measure: |bench| Box::pin(rollout::measure(bench)) },
    Benchmark { name: "webhooks", about: "webhooks answered while the database is busy, beside a plain insert", measure: |bench| Box::pin(webhooks::measure(bench)) },
    Benchmark { name: "pushes", about: "from a webhook to 10,000 waiting devices, between five services", measure: |bench| Box::pin(pushes::measure(bench)) },
    Benchmark { name: "planning", about: "how planning grows with the fleet: the core's time, the planner's memory", measure: |bench| Box::pin(planning::measure(bench)) },
    Benchmark { name: "up", about: "CPU and memory of windlass up under 10,000 devices", measure: |bench| Box::pin(up::fleet(bench)) },
    Benchmark { name: "up_start", about: "from the start of windlass up to ready", measure: |bench| Box::pin(up::start(bench)) },
    Benchmark { name: "sizes", about: "bytes on disk and of WAL for a device, a report, a rollout: for docs/sizing.md", measure: |bench| Box::pin(sizes::measure(bench)) },
];

/// Prints them.
pub(crate) fn list() {
    for benchmark in ALL {
        println!("{:<13} {}", benchmark.name, benchmark.about);
    }
}

/// Those with these names, in this order; all without a name.
///
/// # Errors
/// For a name that is none.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static Benchmark>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| match ALL.iter().find(|benchmark| benchmark.name == name) {
        Some(benchmark) => Ok(benchmark),
        None => {
            let known: Vec<_> = ALL.iter().map(|benchmark| benchmark.name).collect();
            bail!(
                "there is no benchmark {name:?}; there are {}",
                known.join(", ")
            )
        }
    };
    names.iter().map(find).collect()
}
