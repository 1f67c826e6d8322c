use super::*;
use proptest::prelude::*;
use proptest::strategy::Strategy;

/// What the shells do with a plan: write the rollout, admit the batch, settle the commands.
fn carry_out(case: &Case, plan: &Plan) -> Case {
    let mut next = case.clone();
    next.rollout = plan.after.clone();
    next.rollout.version += 1;
    next.forgiven |= plan
        .edges
        .iter()
        .any(|edge| matches!(edge, Edge::Resumed { .. }));
    let settled: Vec<_> = plan.settled.iter().map(|settled| settled.command).collect();
    next.commands
        .retain(|command| !settled.contains(&command.id));
    for edge in &plan.edges {
        if let Edge::Retried { device, batch } = edge {
            let concerned = next.batches.iter_mut().filter(|p| {
                p.batch <= plan.after.current_batch && batch.is_none_or(|batch| batch == p.batch)
            });
            for p in concerned {
                let back = if device.is_some() {
                    1.min(p.failed)
                } else {
                    p.failed
                };
                p.failed -= back;
                p.pending += back;
                p.attempted -= back;
                p.attempted_failed -= back;
                if device.is_none() {
                    p.attempted -= p.rolled_back;
                    p.attempted_failed -= p.rolled_back;
                    p.pending += std::mem::take(&mut p.rolled_back);
                    p.pending += std::mem::take(&mut p.inconclusive);
                }
            }
        }
        if let Edge::Admitted { batch, at_most, .. } = edge {
            let mut left = *at_most;
            for progress in next.batches.iter_mut().filter(|p| p.batch <= *batch) {
                let moved = progress.pending.min(left);
                progress.pending -= moved;
                progress.scheduled += moved;
                left -= moved;
            }
        }
    }
    next
}

fn any_progress(batch: i64) -> impl Strategy<Value = BatchProgress> {
    prop::array::uniform6(0_i64..4).prop_map(
        move |[updating, completed, failed, unreachable, skipped, back]| BatchProgress {
            batch,
            total: updating + completed + failed + unreachable + skipped + back,
            updating,
            completed,
            failed,
            unreachable,
            skipped,
            rolled_back: back,
            attempted: completed + failed + back,
            attempted_failed: failed + back,
            ..BatchProgress::default()
        },
    )
}

prop_compose! {
    fn any_case()(
        status in prop::sample::select(RolloutStatus::ALL),
        current in 0_i64..=3,
        delay in prop_oneof![Just(0_u32), Just(60)],
        next in prop::option::of(-60_i64..60),
        quarantined in prop::bool::weighted(0.2),
        kinds in prop::collection::vec(prop::sample::select(CommandKind::ALL), 0..4),
        latest in prop::collection::vec(any::<bool>(), 0..4),
        progress in (any_progress(1), any_progress(2), any_progress(3)),
    ) -> Case {
        let begun = matches!(status, RolloutStatus::InProgress | RolloutStatus::RollingBack);
        let waits = matches!(status, RolloutStatus::Pending | RolloutStatus::AwaitingApproval | RolloutStatus::Scheduled);
        let current = if begun { current.max(1) } else if waits { 0 } else { current };
        let mut case = Case::new(status, current, 0).with(&kinds);
        case.rollout.rule.batch_delay_seconds = delay;
        case.rollout.next_batch_at = next.filter(|_| current > 0).map(at);
        case.quarantined = quarantined;
        case.latest_failed = latest;
        let found = [progress.0, progress.1, progress.2];
        for (slot, progress) in case.batches.iter_mut().zip(found) {
            if slot.batch <= current {
                *slot = progress;
            }
        }
        case
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn planning_its_own_result_again_changes_nothing(case in any_case()) {
        let plan = case.plan();
        let mut next = carry_out(&case, &plan);
        let mut status = plan.after.status;
        if plan.edges.iter().any(|edge| matches!(edge, Edge::Retried { .. })) {
            // Only the store knows who is in line again.
            let plan = next.plan();
            next = carry_out(&next, &plan);
            status = plan.after.status;
        }
        let again = next.plan();
        prop_assert!(again.is_idle(), "first {:?}, then {:?}", plan, again);
        prop_assert_eq!(again.after.status, status);
    }

    #[test]
    fn nobody_is_admitted_while_anything_forbids_it(case in any_case()) {
        let plan = case.plan();
        let started: Vec<_> = plan.edges.iter().filter_map(|edge| match edge {
            Edge::BatchStarted { batch } => Some(*batch),
            _ => None,
        }).collect();
        prop_assert!(started.len() <= 1, "one batch at a time");
        let Some(batch) = started.first() else { return Ok(()) };
        prop_assert_eq!(*batch, case.rollout.current_batch + 1);
        prop_assert!(*batch <= case.rollout.batch_count);
        prop_assert!(!case.quarantined);
        prop_assert!(case.commands.iter().all(|command| command.kind != CommandKind::RollbackAll));
        prop_assert_eq!(plan.after.status, RolloutStatus::InProgress);
        // Paused or halted before only where a command said to go on.
        let resumed = plan.edges.iter().any(|edge| matches!(edge, Edge::Resumed { .. }));
        prop_assert!(case.rollout.status != RolloutStatus::Paused || resumed);
        // Within its budget, unless a person took the failures upon themselves.
        if case.rollout.current_batch > 0 && !resumed {
            let rule = &case.rollout.rule.failure;
            let failures = FailureCount {
                batches: case.batches.clone(),
                latest_failed: case.latest_failed.clone(),
                ..FailureCount::default()
            };
            let batch = case.rollout.current_batch;
            prop_assert!(budget::exceeded(&failures, rule, batch, true).is_none());
        }
        // The batch before has ended: nobody is on the way, or it was told to have ended before.
        let before = case.batches.iter().find(|p| p.batch == case.rollout.current_batch);
        let open = before.map_or(0, |p| p.pending + p.in_flight());
        prop_assert!(open == 0 || case.rollout.next_batch_at.is_some());
        prop_assert!(case.rollout.next_batch_at.is_none_or(|next| next <= case.now));
    }

    #[test]
    fn an_ended_rollout_stays_as_it_is(case in any_case()) {
        let mut case = case;
        if !case.rollout.status.is_final() {
            end(&mut case.rollout, RolloutStatus::Completed, at(-1));
        }
        let plan = case.plan();
        prop_assert!(plan.edges.is_empty());
        prop_assert_eq!(&plan.after, &case.rollout);
        prop_assert_eq!(plan.waits_for, None);
        prop_assert!(plan.settled.iter().all(|settled| settled.outcome != CommandOutcome::Applied));
    }

    #[test]
    fn whatever_does_not_move_says_what_it_waits_for(case in any_case()) {
        let plan = case.plan();
        prop_assert_eq!(plan.waits_for.is_none(), plan.after.status.is_final());
        prop_assert!(plan.waits_for.is_none_or(|wait| !wait.to_string().is_empty()));
        prop_assert_eq!(plan.after.finished_at.is_some(), plan.after.status.is_final());
    }

    #[test]
    fn each_command_of_the_planner_is_settled_once(case in any_case()) {
        let plan = case.plan();
        let own: Vec<_> = case.commands.iter()
            .filter(|c| !matches!(c.kind, CommandKind::RollbackAll | CommandKind::RollbackBatch | CommandKind::RollbackDevice))
            .map(|c| c.id).collect();
        let settled: Vec<_> = plan.settled.iter().map(|settled| settled.command).collect();
        prop_assert_eq!(settled, own);
        prop_assert!(plan.settled.iter().all(|s| s.outcome != CommandOutcome::Pending));
    }

    /// Time passes and every device is judged: each rollout that nobody stops ends.
    #[test]
    fn a_rollout_whose_devices_are_all_judged_ends(case in any_case(), fails in prop::bool::weighted(0.3)) {
        let mut case = case;
        case.commands.clear();
        for _ in 0..12 {
            let plan = case.plan();
            case = carry_out(&case, &plan);
            for progress in case.batches.iter_mut().filter(|p| p.batch <= case.rollout.current_batch) {
                let open = std::mem::take(&mut progress.scheduled) + std::mem::take(&mut progress.updating);
                progress.attempted += open;
                if fails { progress.attempted_failed += open; progress.failed += open } else { progress.completed += open }
            }
            case.now += TimeDelta::seconds(120);
        }
        let plan = case.plan();
        let rests = matches!(plan.waits_for, None
            | Some(Wait::Approval { .. } | Wait::StartTime { .. } | Wait::Operator { .. } | Wait::Rollback | Wait::Budget { .. }));
        prop_assert!(plan.is_idle() && rests, "{plan:?}");
    }

    /// Freezes, approvals, windows, limits and checks drawn at random: what is admitted is let through
    /// by all of them, and what is told of a wait is in the future.
    #[test]
    fn every_gate_holds_and_every_wait_has_its_end(
        case in any_case(),
        limit in prop::option::of(1_u32..6),
        two in prop::option::of(0_u32..20),
        each in any::<bool>(),
        actors in prop::collection::vec((1_i64..4, prop::sample::select(&["ann", "bob"])), 0..4),
        frozen in prop::option::of((-60_i64..60, prop::option::of(60_i64..120))),
        starts in prop::option::of(-60_i64..60),
        later in 0_i64..4,
        reversed in any::<bool>(),
    ) {
        let mut case = case;
        case.rollout.rule.limits.max_in_flight = limit;
        case.rollout.rule.starts_at = starts.map(at);
        if let Some(above) = two {
            case.rollout.rule.approval.two_people_above = Some(above);
            let before = windlass_types::policy::ApprovalBefore::EachBatch;
            case.rollout.rule.approval.before = each.then_some(before);
        }
        case.approvals = actors.iter().map(|(batch, actor)| Approval {
            batch: *batch, actor: (*actor).to_owned(), reason: "x".to_owned(), approved_at: at(-9),
        }).collect();
        case.freezes = frozen.into_iter().map(|(from, to)| serde_json::from_value(json!({
            "id": Uuid::from_u128(9), "kind": "freeze", "reason": "x", "starts_at": at(from), "ends_at": to.map(at),
            "created_by": "a", "created_at": at(-90),
        })).unwrap()).collect();
        if later > 0 {
            case.zones = vec![ZoneWaiting { time_zone: None, pending: i64::MAX / 2, later }];
            case.retry_at = Some(at(40));
        }
        let plan = case.plan();
        if reversed {
            let mut turned = case.clone();
            turned.approvals.reverse();
            turned.zones.reverse();
            turned.freezes.reverse();
            prop_assert_eq!(&turned.plan(), &plan);
        }
        let admitted: i64 = plan.edges.iter().map(|edge| match edge {
            Edge::Admitted { at_most, .. } => *at_most,
            _ => 0,
        }).sum();
        let in_flight: i64 = case.batches.iter().map(BatchProgress::in_flight).sum();
        if admitted > 0 {
            prop_assert_eq!(plan.after.status, RolloutStatus::InProgress);
            prop_assert!(limit.is_none_or(|limit| in_flight + admitted <= i64::from(limit)));
            let overridden = plan.after.freeze_override.is_some();
            prop_assert!(overridden || case.freezes.iter().all(|freeze| !freeze.is_in_force(case.now)));
        }
        for edge in &plan.edges {
            let Edge::BatchStarted { batch } = edge else { continue };
            prop_assert!(*batch > 1 || starts.is_none_or(|starts| starts <= 0));
            if let (true, Some(above)) = (each, two) {
                let mut people: std::collections::BTreeSet<&str> = case.approvals.iter()
                    .filter(|a| a.batch == *batch).map(|a| a.actor.as_str()).collect();
                people.extend(plan.edges.iter().filter_map(|edge| match edge {
                    Edge::Approved { batch: approved, actor, .. } if approved == batch => Some(actor.as_str()),
                    _ => None,
                }));
                let total = case.batches.iter().find(|p| p.batch == *batch).map_or(0, |p| p.total);
                let need = 1 + usize::from(total > i64::from(above));
                prop_assert!(people.len() >= need);
            }
        }
        let recounted = plan.edges.iter().any(|edge| matches!(edge, Edge::Retried { .. }));
        if let Some(wait) = plan.waits_for.filter(|wait| wait.is_timed() && !recounted) {
            prop_assert!(wait.until().is_none_or(|until| case.now < until), "{wait:?}");
        }
    }
}
