use super::*;
use crate::windows;
use proptest::prelude::*;
use proptest::strategy::Strategy;
use windlass_types::policy::{Check, CheckKind, MaintenanceWindow, Ramp};
use windlass_types::rollout::CheckStatus;

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
                if progress.batch < *batch {
                    next.tried_again += moved;
                }
            }
        }
        // Of whom it was admitted with an earlier one, that one waited.
        if matches!(edge, Edge::BatchStarted { .. }) {
            next.tried_again = 0;
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

const ZONES: [Option<&str>; 4] = [
    None,
    Some("Asia/Tokyo"),
    Some("America/Phoenix"),
    Some("no/zone"),
];

/// Each zone once.
fn zoned(zones: &[(Option<&str>, i64)]) -> Vec<ZoneWaiting> {
    let pending: std::collections::BTreeMap<_, _> = zones.iter().copied().collect();
    let zone = |(zone, pending): (Option<&str>, i64)| ZoneWaiting {
        time_zone: zone.map(str::to_owned),
        pending,
        later: 0,
    };
    pending.into_iter().map(zone).collect()
}

fn frozen(number: u128, from: i64, to: Option<i64>) -> Freeze {
    serde_json::from_value(json!({
        "id": Uuid::from_u128(number), "kind": "freeze", "reason": "x", "starts_at": at(from),
        "ends_at": to.map(at), "created_by": "a", "created_at": at(-90),
    }))
    .unwrap()
}

/// Adds checks of the present batch, of which the last may not have been made yet; a window in the
/// devices' own zones; a ramp.
fn gated(case: &mut Case, checks: &[CheckStatus], window: Option<(u32, u32)>, base: Option<u32>) {
    let rule = &mut case.rollout.rule;
    rule.health.checks = vec![Check::new(CheckKind::Custom); checks.len()];
    rule.maintenance_windows = window
        .map(|(start, end)| MaintenanceWindow {
            time_zone: None,
            days: Vec::new(),
            start: format!("{start:02}:00"),
            end: format!("{end:02}:00"),
        })
        .into_iter()
        .collect();
    rule.limits.per_minute = base.map(|base| Ramp {
        base,
        factor: 2.0,
        after_successes: 3,
        max: Some(10),
    });
    let batch = case.rollout.current_batch;
    let rows = (0_i64..).zip(checks).map(|(position, status)| GateCheck {
        batch,
        position,
        name: format!("check {position}"),
        status: *status,
        evidence: json!({}),
        checked_at: None,
        deadline_at: at(90),
        waived_by: None,
    });
    case.checks = rows.collect();
}

fn sorted(mut plan: Plan) -> Plan {
    for edge in &mut plan.edges {
        if let Edge::Admitted {
            time_zones: Some(zones),
            ..
        } = edge
        {
            zones.sort();
        }
    }
    plan
}

prop_compose! {
    pub(super) fn any_case()(
        status in prop::sample::select(RolloutStatus::ALL),
        current in 0_i64..=3,
        delay in prop_oneof![Just(0_u32), Just(60)],
        next in prop::option::of(-60_i64..60),
        quarantined in prop::bool::weighted(0.2),
        kinds in prop::collection::vec(prop::sample::select(CommandKind::ALL), 0..4),
        latest in prop::collection::vec(any::<bool>(), 0..4),
        progress in (any_progress(1), any_progress(2), any_progress(3)),
        tried_again in 0_i64..3,
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
        let earlier = case.batches.iter().filter(|p| p.batch < current);
        case.tried_again = tried_again.min(earlier.map(BatchProgress::in_flight).sum());
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
        // The delay is over, or a person cut it short.
        let cut = plan.edges.iter().any(|edge| matches!(edge, Edge::DelayCut { .. }));
        prop_assert!(cut || case.rollout.next_batch_at.is_none_or(|next| next <= case.now));
    }

    /// Where nobody is on the way, nobody in line and no gate in between, a rollout goes on, or says a
    /// time or whose turn it is: that of the rollback-manager for budgets, and of people.
    #[test]
    fn a_rollout_with_nobody_to_wait_for_does_not_wait_for_nothing(case in any_case(), ended in any::<bool>()) {
        let mut case = case;
        case.commands.clear();
        case.rollout.status = RolloutStatus::InProgress;
        case.rollout.current_batch = case.rollout.current_batch.max(1);
        let current = case.rollout.current_batch;
        for progress in case.batches.iter_mut().filter(|p| p.batch <= current) {
            // Whoever was in line or on the way was left out, whatever was noted of the batch before.
            progress.skipped += std::mem::take(&mut progress.pending) + std::mem::take(&mut progress.scheduled)
                + std::mem::take(&mut progress.updating) + std::mem::take(&mut progress.verifying);
        }
        case.tried_again = 0;
        case.rollout.next_batch_at = if ended { case.rollout.next_batch_at } else { None };
        let plan = case.plan();
        let goes_on = !plan.edges.is_empty();
        let waits = plan.waits_for.as_ref().is_some_and(|wait| match wait {
            Wait::Budget { .. } => {
                // Whoever stops rollouts beyond a budget finds the same.
                let failures = case.facts().failures;
                budget::exceeded(&failures, &case.rollout.rule.failure, current, true).is_some()
            }
            Wait::Operator { .. } | Wait::Approval { .. } => true,
            wait => wait.is_timed() && wait.until().is_some_and(|until| case.now < until),
        });
        prop_assert!(goes_on || waits, "{plan:?}");
    }

    /// The facts in another order lead to the same plan.
    #[test]
    fn the_order_of_facts_changes_nothing(
        case in any_case(),
        approvals in prop::collection::vec((1_i64..4, prop::sample::select(&["ann", "bob", "cleo"])), 0..5),
        checks in prop::collection::vec(prop::sample::select(CheckStatus::ALL), 0..4),
        freezes in prop::collection::vec((-60_i64..60, prop::option::of(60_i64..120)), 0..4),
        zones in prop::collection::vec((prop::sample::select(&ZONES), 0_i64..9), 0..4),
        window in prop::option::of((0_u32..24, 0_u32..24)),
        lately in prop::collection::vec((-70_i64..=0, 1_i64..4), 0..4),
        base in prop::option::of(1_u32..5),
        turn in 0_usize..4,
    ) {
        let mut case = case;
        gated(&mut case, &checks, window, base);
        case.approvals = approvals.iter().map(|(batch, actor)| Approval {
            batch: *batch, actor: (*actor).to_owned(), reason: "x".to_owned(), approved_at: at(-9),
        }).collect();
        case.rollout.rule.approval.two_people_above = Some(5);
        case.freezes = (1..).zip(&freezes).map(|(n, (from, to))| frozen(n, *from, *to)).collect();
        case.zones = zoned(&zones);
        case.lately = lately.iter().map(|(when, devices)| Slice { at: at(*when), devices: *devices }).collect();
        let facts = case.facts();
        let mut other = facts.clone();
        let by = |len: usize| if len == 0 { 0 } else { turn % len };
        other.approvals.reverse();
        other.checks.reverse();
        other.freezes.rotate_left(by(facts.freezes.len()));
        other.waiting.zones.rotate_left(by(facts.waiting.zones.len()));
        other.admitted_lately.reverse();
        let one = plan(&Input { facts: &facts, now: case.now });
        let two = plan(&Input { facts: &other, now: case.now });
        // Which zones are named is a list; as a set it is the same.
        prop_assert_eq!(format!("{:?}", sorted(one)), format!("{:?}", sorted(two)));
    }

    /// Windows of zones, the ramp and the checks drawn at random.
    #[test]
    fn windows_ramps_and_checks_hold_whom_they_are_for(
        case in any_case(),
        checks in prop::collection::vec(prop::sample::select(CheckStatus::ALL), 0..3),
        zones in prop::collection::vec((prop::sample::select(&ZONES), 1_i64..9), 0..4),
        window in prop::option::of((0_u32..24, 0_u32..24)),
        lately in prop::collection::vec((-70_i64..=0, 1_i64..4), 0..4),
        base in prop::option::of(1_u32..5),
    ) {
        let mut case = case;
        gated(&mut case, &checks, window, base);
        case.zones = zoned(&zones);
        case.lately = lately.iter().map(|(when, devices)| Slice { at: at(*when), devices: *devices }).collect();
        let waiting = case.waiting();
        let plan = case.plan();
        let rule = &case.rollout.rule;
        let mut admitted = 0;
        for edge in &plan.edges {
            let Edge::Admitted { at_most, time_zones, .. } = edge else { continue };
            admitted += at_most;
            for zone in time_zones.iter().flatten() {
                prop_assert!(windows::is_open(&rule.maintenance_windows, zone.as_deref(), case.now), "{zone:?}");
            }
            if time_zones.is_none() {
                let open = |zone: &ZoneWaiting| windows::is_open(&rule.maintenance_windows, zone.time_zone.as_deref(), case.now);
                prop_assert!(waiting.zones.iter().all(open));
            }
        }
        if let (Some(ramp), true) = (&rule.limits.per_minute, admitted > 0) {
            let minute: i64 = case.lately.iter().filter(|s| case.now < s.at + TimeDelta::minutes(1)).map(|s| s.devices).sum();
            let good = case.batches.iter().map(|p| p.attempted - p.attempted_failed).sum();
            prop_assert!(minute + admitted <= crate::limits::rate(ramp, good));
        }
        let current = case.rollout.current_batch;
        let begun = plan.edges.iter().any(|edge| matches!(edge, Edge::BatchStarted { batch } if *batch > 1)
            || matches!(edge, Edge::Completed | Edge::Failed { .. }));
        let waived = plan.edges.iter().any(|edge| matches!(edge, Edge::Resumed { .. }));
        let asked = plan.edges.iter().any(|edge| matches!(edge, Edge::Retried { .. }));
        if begun && !asked {
            for (position, _) in (0_i64..).zip(rule.gate_checks(current)) {
                let row = case.checks.iter().find(|check| check.position == position);
                prop_assert!(row.is_some_and(|row| match row.status {
                    CheckStatus::Passed => true,
                    CheckStatus::Failed | CheckStatus::Inconclusive => waived,
                    CheckStatus::Pending => false,
                }), "{plan:?}");
            }
        }
        if let Some(wait @ (Wait::Window { .. } | Wait::Limit { limit: Limit::PerMinute { .. }, .. })) = plan.waits_for {
            prop_assert!(wait.until().is_some_and(|until| case.now < until), "{wait:?}");
        }
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
            case.tried_again = 0;
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
