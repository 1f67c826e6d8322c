//! The services' passes, as their loops call them.

use crate::turns::{Process, Work};
use std::sync::Arc;
use windlass_bus::Bus;
use windlass_core::checks::Allowed;
use windlass_core::penalty::Rule;
use windlass_health_checker::Counter;
use windlass_rollout_planner::Metrics;
use windlass_service::Deps;
use windlass_service::config::RollbackSection;
use windlass_store::Store;

/// Rows of a pass at most: few, so that passes have a rest to come back for.
const GROUP: i64 = 50;
/// How often a registry is asked before the planner gives a digest up.
const ATTEMPTS: i64 = 5;
/// Checks tried at once.
const AT_ONCE: usize = 8;

/// One loop of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Versions,
    Triggers,
    Members,
    Rollouts,
    HealthReports,
    HealthDue,
    HealthReturned,
    DeviceChecks,
    Gates,
    Orders,
    Budgets,
    PutBack,
    BackReports,
    BackDue,
    Finish,
    Penalties,
}

impl Pass {
    pub(crate) const ALL: [Self; 16] = [
        Self::Versions,
        Self::Triggers,
        Self::Members,
        Self::Rollouts,
        Self::HealthReports,
        Self::HealthDue,
        Self::HealthReturned,
        Self::DeviceChecks,
        Self::Gates,
        Self::Orders,
        Self::Budgets,
        Self::PutBack,
        Self::BackReports,
        Self::BackDue,
        Self::Finish,
        Self::Penalties,
    ];
}

/// One replica of every service: a process of its own.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) process: Arc<Process>,
    deps: Deps,
    metrics: Metrics,
    verdicts: Counter,
    /// What checks may ask: nothing, so that each of them is inconclusive in its time.
    allowed: Allowed,
    penalties: Rule,
}

impl Replica {
    pub(crate) fn new(store: &Store) -> anyhow::Result<Self> {
        let process = Process::new();
        let deps = Deps::new(store.watched(Arc::clone(&process) as _), Bus::local());
        Ok(Self {
            metrics: Metrics::new(&deps.metrics)?,
            verdicts: Counter::new(&deps.metrics)?,
            allowed: Allowed::new(&[])?,
            penalties: windlass_rollback_manager::penalty_rule(&RollbackSection::default())?,
            process,
            deps,
        })
    }

    pub(crate) fn store(&self) -> Store {
        self.deps.store.clone()
    }

    /// The pass as this replica runs it.
    pub(crate) fn work(&self, pass: Pass) -> Work {
        let (deps, metrics, verdicts) = (
            self.deps.clone(),
            self.metrics.clone(),
            self.verdicts.clone(),
        );
        let (allowed, penalties) = (self.allowed.clone(), self.penalties);
        Box::pin(async move {
            use windlass_rollout_planner as planner;
            use {windlass_health_checker as health, windlass_rollback_manager as rollback};
            // What a pass says of the next one is for its loop; here the dice decide.
            match pass {
                Pass::Versions => return planner::versions(&deps, &metrics, ATTEMPTS).await,
                Pass::Triggers => return planner::triggers(&deps, &metrics, ATTEMPTS).await,
                Pass::Members => planner::members(&deps).await,
                Pass::Rollouts => planner::rollouts(&deps, &metrics).await,
                Pass::HealthReports => health::reports(&deps, &verdicts, GROUP).await,
                Pass::HealthDue => health::due(&deps, &verdicts, GROUP).await,
                Pass::HealthReturned => health::returned(&deps, &verdicts, GROUP).await,
                Pass::DeviceChecks => health::device_checks(&deps, &allowed, AT_ONCE).await,
                Pass::Gates => health::gates(&deps, &allowed, AT_ONCE).await,
                Pass::Orders => rollback::commands(&deps, GROUP).await,
                Pass::Budgets => rollback::budgets(&deps, GROUP).await,
                Pass::PutBack => rollback::put_back(&deps, GROUP).await,
                Pass::BackReports => rollback::reports(&deps, GROUP).await,
                Pass::BackDue => rollback::due(&deps, GROUP).await,
                Pass::Finish => rollback::finish(&deps, GROUP).await,
                Pass::Penalties => rollback::penalties(&deps, &penalties, GROUP).await,
            }
            .map(drop_next)
        })
    }
}

const fn drop_next(_: windlass_service::work::Next) {}
