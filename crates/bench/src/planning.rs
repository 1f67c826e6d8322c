//! How planning grows with the fleet: what the pure core does, and what the planner's process takes.
//!
//! The core never sees devices, only counts of them by group; where it is asked about single devices (a
//! dry run's list), it takes one at a time. The planner's memory is therefore measured on the process,
//! with a rollout that the store makes and of which a first batch of one size is admitted.

use crate::bench::Bench;
use crate::fleet;
use crate::process::Process;
use crate::row::{Goal, Row};
use anyhow::{Result, bail};
use std::hint::black_box;
use std::time::{Duration, Instant};
use uuid::Uuid;
use windlass_core::batches::{self, Group};
use windlass_store::{Json, Options, Store};
use windlass_types::policy::{BatchSize, Filters, RolloutRule};

/// The small fleet that others are compared with.
const SMALL: i64 = 10_000;
/// Regions, sites or whatever `batch_by` names.
const GROUPS: i64 = 100;
/// Devices of the first batch, whatever the fleet.
const BATCH: u32 = 1000;
/// How long each fleet is planned for one figure.
const LENGTH: Duration = Duration::from_millis(300);

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for devices in [100_000, 1_000_000] {
        let mut row = Row::new(
            format!(
                "core: rollout over {devices} devices dealt out to batches, time for each device"
            ),
            "ns",
        )
        .against(format!("the same with {SMALL} devices"))
        .goal(Goal::RatioAtMost(1.2));
        // The first pair warms up.
        for run in 0..=bench.runs {
            let (small, large) = (dealt(SMALL)?, dealt(devices)?);
            if run > 0 {
                row.pair(large, small);
            }
        }
        rows.push(row);
    }
    let mut memory = Row::new(
        format!(
            "rollout-planner: peak memory, rollout over {} devices made, {BATCH} admitted",
            bench.devices
        ),
        "MiB",
    )
    .against(format!("the same with {SMALL} devices"))
    .goal(Goal::RatioAtMost(1.2));
    let small = Planner::start(bench, "windlass_bench_plan_small", SMALL).await?;
    let large = Planner::start(bench, "windlass_bench_plan_large", bench.devices).await?;
    for run in 1..=bench.runs {
        memory.pair(large.rollout(run).await?, small.rollout(run).await?);
    }
    rows.push(memory);
    Ok(rows)
}

/// Nanoseconds for each device: the layout from the groups' counts, its ranges, and the place and batch of
/// every device one after the other.
fn dealt(devices: i64) -> Result<f64> {
    let rule = RolloutRule {
        batch_by: Some("region".to_owned()),
        ..RolloutRule::default()
    };
    let of_each = devices / GROUPS;
    let groups: Vec<Group> = (0..GROUPS)
        .map(|n| Group {
            value: Some(format!("region-{n}")),
            devices: of_each,
            chosen: 0,
        })
        .collect();
    let (began, mut planned) = (Instant::now(), 0);
    while began.elapsed() < LENGTH {
        let layout = batches::layout(black_box(&groups), &rule)?;
        black_box(layout.ranges());
        let coefficients = batches::coefficients(black_box(7));
        for group in &groups {
            for place in 1..=of_each {
                black_box(batches::order_key(black_box(place), coefficients));
                black_box(layout.batch_of(group.value.as_deref(), place));
            }
        }
        planned += devices;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / planned as f64)
}

/// rollout-planner as a process, on a database with a fleet.
struct Planner {
    store: Store,
    process: Process,
}

impl Planner {
    async fn start(bench: &Bench, name: &str, devices: i64) -> Result<Self> {
        let url = bench.database_url(name).await?;
        let store = Store::open(&Options::new(url.clone())).await?;
        fleet::fill(&store, devices, &fleet::state("demo/app:v0", 100)?).await?;
        let settings = [("WINDLASS_STORE_URL", url.as_str())];
        let process = Process::service(bench, "rollout-planner", &settings)?;
        process.ready().await?;
        Ok(Self { store, process })
    }

    /// Lets it make a rollout and admit its first batch; its memory at most meanwhile, in MiB.
    async fn rollout(&self, run: usize) -> Result<f64> {
        self.process.forget_peak()?;
        let id = Uuid::now_v7();
        let rule = RolloutRule {
            batches: vec![BatchSize::Count(BATCH), BatchSize::Percent(100)],
            ..RolloutRule::default()
        };
        let mut session = self.store.begin().await?;
        let now = session.now();
        session
            .sql(
                "INSERT INTO image_triggers (id, repository, tag, digest, rule, filters, on_unresolved, \
                 actor, reason, correlation_id, created_at) \
                 VALUES ($1, 'docker.io/demo/app', $2, $3, $4, $5, 'wait', 'bench', 'bench', $1, $6)",
            )
            .bind(id)
            .bind(format!("v{run}"))
            .bind(format!("sha256:{run:064x}"))
            .bind(Json(rule))
            .bind(Json(Filters::default()))
            .bind(now)
            .execute()
            .await?;
        session.commit().await?;
        // Found by the planner's scan: there is no bus between the two.
        for _ in 0..1200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut session = self.store.begin().await?;
            let done = session
                .sql(
                    "UPDATE image_rollouts SET status = 'cancelled', finished_at = $2 \
                     WHERE trigger_id = $1 AND current_batch = 1",
                )
                .bind(id)
                .bind(now)
                .execute()
                .await?;
            session.commit().await?;
            if done > 0 {
                return self.process.memory("VmHWM");
            }
        }
        bail!("the rollout was not admitted within two minutes")
    }
}
