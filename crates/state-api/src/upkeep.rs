//! What has to be tidied up now and then.

use crate::app::App;
use actix_web::web;
use chrono::TimeDelta;
use std::time::Duration;
use windlass_service::work::{Loop, Next};
use windlass_store::{Error, logs, rollout_plans};

/// Log lines deleted in one transaction at most.
const GROUP: i64 = 10_000;
/// How often old log lines are looked for.
const RETENTION: Duration = Duration::from_secs(600);
/// How often plans whose time is over are looked for.
const PLANS: Duration = Duration::from_secs(600);
/// How often gauges are set.
const GAUGES: Duration = Duration::from_secs(2);

/// Deletes device logs that are older than they are kept.
pub(crate) fn retention(app: &web::Data<App>) -> Loop {
    let app = app.clone();
    Loop::new("device-log-retention", RETENTION, &[], move || {
        let app = app.clone();
        async move {
            app.provisioning_limit.forget();
            let hours = i64::try_from(app.config.log_retention_hours).unwrap_or(i64::MAX);
            let Some(kept) = TimeDelta::try_hours(hours) else {
                return Ok(Next::Idle);
            };
            let mut session = app.deps.store.begin().await?;
            let Some(before) = session.now().checked_sub_signed(kept) else {
                return Ok(Next::Idle);
            };
            let deleted = logs::delete_before(&mut session, before, GROUP).await?;
            app.deps.commit(session).await?;
            let more = i64::try_from(deleted).is_ok_and(|deleted| deleted == GROUP);
            Ok::<_, Error>(if more { Next::Again } else { Next::Idle })
        }
    })
}

/// Forgets kept plans whose time is over. Nothing waits for it: such a plan is refused meanwhile.
pub(crate) fn plans(app: &web::Data<App>) -> Loop {
    let app = app.clone();
    Loop::new("rollout-plan-expiry", PLANS, &[], move || {
        let app = app.clone();
        async move {
            let mut session = app.deps.store.begin().await?;
            rollout_plans::expire(&mut session).await?;
            app.deps.commit(session).await?;
            Ok::<_, Error>(Next::Idle)
        }
    })
}

/// Sets the gauges that nobody sets in passing.
pub(crate) fn gauges(app: &web::Data<App>) -> Loop {
    let app = app.clone();
    Loop::new("device-gauges", GAUGES, &[], move || {
        let app = app.clone();
        async move {
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            app.metrics.devices.set(count(app.cache.len()));
            app.metrics.waiting.set(count(app.cache.waiters()));
            Ok::<_, Error>(Next::Idle)
        }
    })
}
