//! What a rollout would do, before there is one.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use windlass_core::batches::{self, Layout};
use windlass_core::plan::estimate::{Estimate, Given, estimate};
use windlass_service::Problem;
use windlass_store::rollouts::{self, Preview, Rival, Scope, Wanted};
use windlass_store::{Session, freezes, image_facts, quarantine};
use windlass_types::api::{Conflict, PlannedBatch, PlannedDevice, TriggerPlan};
use windlass_types::image::ImageReference;
use windlass_types::policy::{
    AbDecision, AbRule, ApprovalBefore, Filters, MaintenanceWindow, RolloutRule, Strategy, TagRule,
};

/// Devices shown of a plan at most.
pub(super) const SHOWN: i64 = 1000;

/// A rollout by hand as it would be.
pub(super) struct Draft {
    /// Its devices.
    pub(super) scope: Scope,
    /// Their batches.
    pub(super) layout: Layout,
    /// What is shown of it.
    pub(super) plan: TriggerPlan,
    /// Whether it can be shipped exactly so: something would be shipped, and it is known what.
    pub(super) ships: bool,
}

/// The plan of a trigger. Where the digest is given, the rollout that is made has these very batches.
pub(super) async fn draft(
    session: &mut Session,
    image: &ImageReference,
    rule: &RolloutRule,
    filters: &Filters,
    priority: i32,
) -> Result<Draft, Problem> {
    let tag_rule = TagRule::default();
    // The planner's own seed for a rollout by hand.
    let canonical = ImageReference::of(image.repository(), image.tag(), image.digest());
    let wanted = Wanted {
        repository: image.repository(),
        tag: image.tag(),
        digest: image.digest(),
        tag_rule: &tag_rule,
        filters,
        without: &[],
        rule,
        priority,
        policy: None,
        seed: batches::seed_of(&canonical.to_string()),
    };
    let scope = Scope::of(session, &wanted).await?;
    let preview = rollouts::preview(session, &scope, SHOWN).await?;
    let seen = seen(session, &scope, &wanted, &preview).await?;
    let ships = seen.nothing.is_none() && image.digest().is_some();
    let shown = preview
        .devices
        .iter()
        .map(|device| PlannedDevice {
            device_uuid: device.device,
            batch: seen.layout.batch_of(device.value.as_deref(), device.place),
            skip: device.skip,
        })
        .collect::<Vec<_>>();
    let untold = untold(session, image).await?;
    let waiting_for = match seen.nothing {
        None if image.digest().is_none() => {
            Some("the registry, to tell the tag's digest".to_owned())
        }
        None if untold => {
            Some("the registry, to tell which platforms the image is made for".to_owned())
        }
        nothing => nothing,
    };
    let plan = TriggerPlan {
        dry_run: true,
        plan_id: None,
        expires_at: None,
        image: image.to_string(),
        waiting_for,
        total_devices: preview.total(),
        batches: seen.batches,
        skipped: counts(&preview),
        devices_truncated: i64::try_from(shown.len()).unwrap_or(i64::MAX) < preview.total(),
        devices: shown,
        ends_at: seen.ends_at,
        windows: rule.maintenance_windows.clone(),
        freezes: freezes::open(session).await?,
        conflicts: seen.conflicts,
    };
    Ok(Draft {
        scope,
        layout: seen.layout,
        plan,
        ships,
    })
}

/// Whether the registry has still to tell what an image runs on, and there are devices for which that
/// matters.
async fn untold(session: &mut Session, image: &ImageReference) -> Result<bool, Problem> {
    let Some(digest) = image.digest() else {
        return Ok(false);
    };
    let known = image_facts::get(session, image.repository(), digest).await?;
    Ok(known.is_none_or(|known| known.facts.is_none())
        && !image_facts::platforms(session).await?.is_empty())
}

/// What is seen of a rollout before there is one.
pub(super) struct Seen {
    /// Which device is in which batch.
    pub(super) layout: Layout,
    /// The batches, first to last.
    pub(super) batches: Vec<PlannedBatch>,
    /// Rollouts of the same image over some of the same devices.
    pub(super) conflicts: Vec<Conflict>,
    /// When it would end at the earliest; none where that cannot be told.
    pub(super) ends_at: Option<DateTime<Utc>>,
    /// Why nothing would be shipped at all.
    pub(super) nothing: Option<String>,
}

/// What the batches of a scope would be and wait for, and who else wants its devices.
pub(super) async fn seen(
    session: &mut Session,
    scope: &Scope,
    wanted: &Wanted<'_>,
    preview: &Preview,
) -> Result<Seen, Problem> {
    let dealt = batches::layout(&preview.groups, wanted.rule);
    let nobody = dealt.as_ref().err().map(ToString::to_string);
    let layout = dealt.unwrap_or_default();
    let quarantined = match wanted.digest {
        Some(digest) => quarantine::contains(session, digest).await?,
        None => false,
    };
    let nothing = if quarantined {
        Some("the digest is in quarantine".to_owned())
    } else if preview.eligible == 0 {
        Some("no device in scope can take the image".to_owned())
    } else {
        nobody
    };
    let rivals = rollouts::conflicts(session, scope, wanted).await?;
    let own = |window: &MaintenanceWindow| window.time_zone.is_none();
    // Whose window opens first makes the earliest time, whether they are in scope or not.
    let zones = if wanted.rule.maintenance_windows.iter().any(own) {
        rollouts::time_zones(session).await?
    } else {
        Vec::new()
    };
    let times = estimate(&Given {
        rule: wanted.rule,
        sizes: layout.sizes(),
        zones: &zones,
        freezes: &freezes::open(session).await?,
        now: session.now(),
    });
    let ends_at = times.ends_at().filter(|_| nothing.is_none());
    Ok(Seen {
        ends_at,
        batches: planned(&layout, wanted.rule, &times),
        layout,
        conflicts: rivals.iter().map(Rival::describe).collect(),
        nothing: nothing.map(|why| format!("nothing would be shipped: {why}")),
    })
}

/// How many devices would be skipped, by reason.
pub(super) fn counts(preview: &Preview) -> BTreeMap<String, i64> {
    preview
        .skipped
        .iter()
        .map(|(reason, devices)| (reason.to_string(), *devices))
        .collect()
}

fn planned(layout: &Layout, rule: &RolloutRule, times: &Estimate) -> Vec<PlannedBatch> {
    let mut times = times.batches.iter();
    (1_i64..)
        .zip(layout.sizes())
        .map(|(batch, devices)| {
            let times = times.next();
            PlannedBatch {
                batch,
                devices: *devices,
                waiting_for: waits(batch, layout.sizes(), rule),
                starts_at: times.map(|times| times.starts_at),
                ends_at: times.map(|times| times.ends_at),
            }
        })
        .collect()
}

/// What a batch would wait for, in the order of its gates.
fn waits(batch: i64, sizes: &[i64], rule: &RolloutRule) -> String {
    let mut waits = Vec::new();
    if batch > 1 {
        let before = batch - 1;
        waits.push(format!(
            "batch {before} to be done without exceeding the failure limits"
        ));
        match (rule.strategy, &rule.ab, rule.batch_delay_seconds) {
            (Strategy::Ab, Some(ab), _) if batch == 2 => {
                waits.push(format!("{} s more for the comparison", ab.hold_seconds));
            }
            (_, _, 0) => {}
            (_, _, delay) => waits.push(format!("{delay} s more")),
        }
        if rule
            .health_of(before)
            .checks
            .iter()
            .any(|check| check.is_gate())
        {
            waits.push(format!("the checks of batch {before}"));
        }
    }
    if let Some(devices) = approved(batch, sizes, rule) {
        let two = rule.approval.two_people_above;
        let people = if two.is_some_and(|above| devices > i64::from(above)) {
            "two people"
        } else {
            "a person"
        };
        waits.push(format!("{people} to approve"));
    }
    if let (1, Some(starts_at)) = (batch, rule.starts_at) {
        waits.push(format!("{starts_at}"));
    }
    if !rule.maintenance_windows.is_empty() {
        waits.push("a maintenance window".to_owned());
    }
    match waits.as_slice() {
        [] => "nothing: it starts when the rollout is made".to_owned(),
        several => several.join(", "),
    }
}

/// To how many devices people agree with the approval before a batch; none where there is none. Whoever
/// approves the rollout agrees to all of it, whoever promotes the new version to all batches to come.
fn approved(batch: i64, sizes: &[i64], rule: &RolloutRule) -> Option<i64> {
    let devices = |from: i64, to: i64| -> i64 {
        let numbered = (1_i64..).zip(sizes);
        let concerned = numbered.filter(|(number, _)| (from..=to).contains(number));
        concerned.map(|(_, devices)| *devices).sum()
    };
    let decides = |ab: &AbRule| ab.decide == AbDecision::Approval;
    if rule.strategy == Strategy::Ab && batch == 2 && rule.ab.as_ref().is_some_and(decides) {
        return Some(devices(batch, i64::MAX));
    }
    match rule.approval_before()? {
        ApprovalBefore::Rollout => (batch == 1).then(|| devices(1, i64::MAX)),
        ApprovalBefore::EachBatch => Some(devices(batch, batch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_types::policy::ApprovalRule;

    #[test]
    fn what_a_batch_waits_for_is_said_in_the_order_of_its_gates() {
        let staged = RolloutRule::default();
        let nothing = "nothing: it starts when the rollout is made";
        assert_eq!(waits(1, &[10], &staged), nothing);
        let after = "batch 1 to be done without exceeding the failure limits, 1800 s more";
        assert_eq!(waits(2, &[10, 10], &staged), after);
        let careful = RolloutRule {
            approval: ApprovalRule {
                before: Some(ApprovalBefore::EachBatch),
                two_people_above: Some(10),
            },
            batch_delay_seconds: 0,
            maintenance_windows: vec![MaintenanceWindow {
                time_zone: None,
                days: Vec::new(),
                start: "02:00".to_owned(),
                end: "04:00".to_owned(),
            }],
            ..staged
        };
        let first = "a person to approve, a maintenance window";
        assert_eq!(waits(1, &[10, 11], &careful), first);
        let second = "batch 1 to be done without exceeding the failure limits, two people to \
                      approve, a maintenance window";
        assert_eq!(waits(2, &[10, 11], &careful), second);
        // Whoever approves the rollout agrees to more than its first batch.
        let whole = RolloutRule {
            approval: ApprovalRule {
                before: Some(ApprovalBefore::Rollout),
                two_people_above: Some(10),
            },
            ..RolloutRule::default()
        };
        assert_eq!(waits(1, &[1, 9], &whole), "a person to approve");
        assert_eq!(waits(1, &[1, 10], &whole), "two people to approve");
        // Whoever promotes the new version, to all that have not got it.
        let compared = AbRule {
            percent: Some(50),
            decide: AbDecision::Approval,
            ..AbRule::default()
        };
        let ab = RolloutRule {
            strategy: Strategy::Ab,
            ab: Some(compared),
            approval: whole.approval,
            ..RolloutRule::default()
        };
        let promotion = waits(2, &[1, 9, 2], &ab);
        assert!(promotion.ends_with("two people to approve"), "{promotion}");
    }
}
