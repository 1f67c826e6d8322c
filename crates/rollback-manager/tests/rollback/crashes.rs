//! The process dies before any statement or commit, or right after a commit; the next one goes on.

use crate::world::*;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use windlass_store::{Point, Watch};
use windlass_types::policy::FailureAction;

/// Lives through so many points and then answers no more.
#[derive(Debug)]
struct Dies {
    after: AtomicI64,
}

impl Watch for Dies {
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }

    fn dies(&self, _at: Point) -> bool {
        self.after.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

fn rule(action: FailureAction) -> RolloutRule {
    RolloutRule {
        failure: FailureRule {
            action,
            auto_rollback: false,
            rollback_max_in_flight: 4,
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    }
}

/// Returns whether the process lived to the end.
async fn dies_after(world: &World, points: i64, action: FailureAction) -> bool {
    for at in 0..3 {
        world.scenario.fail(world.device(at)).await;
        world.set(at, "check_at = NULL").await;
    }
    let watch = Arc::new(Dies {
        after: AtomicI64::new(points),
    });
    let deps = Deps::new(world.store().watched(watch.clone()), Bus::local());
    for _ in 0..2 {
        manager::budgets(&deps, GROUP).await.ok();
        manager::put_back(&deps, GROUP).await.ok();
        manager::finish(&deps, GROUP).await.ok();
    }
    let lived = watch.after.load(Ordering::SeqCst) > 0;
    world.pass().await;
    world.pass().await;
    let mut back = 0;
    for at in 0..5 {
        let (version, running) = world.scenario.target(world.device(at)).await;
        assert!(
            version <= 3,
            "nobody is moved twice: {action} after {points}"
        );
        back += i64::from((version, running) == (3, image(1)));
    }
    assert_eq!(back, 4, "as many as may: {action} after {points}");
    assert_eq!(world.count(EventType::RollbackScheduled).await, back);
    assert_eq!(world.count(EventType::Quarantined).await, 1);
    let (status, event) = match action {
        FailureAction::RollbackAll => ("rolling_back", EventType::RollbackStarted),
        _ => ("paused", EventType::RolloutPaused),
    };
    assert_eq!(world.scenario.status().await.0, status);
    assert_eq!(world.count(event).await, 1);
    lived
}

#[tokio::test]
async fn a_crash_anywhere_leaves_nothing_half_done_and_nothing_undone() {
    for action in [FailureAction::RollbackBatch, FailureAction::RollbackAll] {
        let mut points = 0;
        loop {
            let world = sqlite_world(5, &rule(action)).await;
            if dies_after(&world, points, action).await {
                break;
            }
            points += 3;
        }
        assert!(
            points > 30,
            "it died {points} points from the start at most"
        );
    }
    for points in [5, 17, 29, 41] {
        let world = postgres_world(5, &rule(FailureAction::RollbackBatch)).await;
        dies_after(&world, points, FailureAction::RollbackBatch).await;
    }
}
