//! What a rollout by hand would do.

use windlass_core::batches;
use windlass_service::Problem;
use windlass_store::rollouts::{self, Preview, Rival, Scope, Wanted};
use windlass_store::{Session, quarantine};
use windlass_types::api::{PlannedBatch, PlannedDevice, TriggerPlan};
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, RolloutRule, TagRule};

/// Devices shown of a plan at most.
const SHOWN: i64 = 1000;

/// The plan of a trigger. Where the digest is given, the rollout that is made has these very batches.
pub(super) async fn plan(
    session: &mut Session,
    image: &ImageReference,
    rule: &RolloutRule,
    filters: Filters,
) -> Result<TriggerPlan, Problem> {
    let tag_rule = TagRule::default();
    // The planner's own seed for a rollout by hand.
    let canonical = ImageReference::of(image.repository(), image.tag(), image.digest());
    let wanted = Wanted {
        repository: image.repository(),
        tag: image.tag(),
        digest: image.digest(),
        tag_rule: &tag_rule,
        filters: &filters,
        without: &[],
        rule,
        priority: i32::MAX,
        policy: None,
        seed: batches::seed_of(&canonical.to_string()),
    };
    let scope = Scope::of(session, &wanted).await?;
    let preview = rollouts::preview(session, &scope, SHOWN).await?;
    let quarantined = match image.digest() {
        Some(digest) => quarantine::contains(session, digest).await?,
        None => false,
    };
    let mut plan = describe(image, rule, &preview, quarantined);
    let rivals = rollouts::conflicts(session, &scope, &wanted).await?;
    plan.conflicts = rivals.iter().map(Rival::describe).collect();
    Ok(plan)
}

fn describe(
    image: &ImageReference,
    rule: &RolloutRule,
    preview: &Preview,
    quarantined: bool,
) -> TriggerPlan {
    let dealt = batches::layout(&preview.groups, rule);
    let nobody = dealt.as_ref().err().map(ToString::to_string);
    let layout = dealt.unwrap_or_default();
    let batches = (1_i64..)
        .zip(layout.sizes())
        .map(|(batch, devices)| PlannedBatch {
            batch,
            devices: *devices,
            starts_at: None,
            ends_at: None,
            waiting_for: if batch == 1 {
                "nothing: it starts when the rollout is made".to_owned()
            } else {
                format!(
                    "batch {} to be done without exceeding the failure limits, and {} s more",
                    batch - 1,
                    rule.batch_delay_seconds
                )
            },
        })
        .collect();
    let waiting_for = if quarantined {
        Some("nothing would be shipped: the digest is in quarantine".to_owned())
    } else if preview.eligible == 0 {
        Some("nothing would be shipped: no device in scope can take the image".to_owned())
    } else if let Some(nobody) = nobody {
        Some(format!("nothing would be shipped: {nobody}"))
    } else if image.digest().is_none() {
        Some("the registry, to tell the tag's digest".to_owned())
    } else {
        None
    };
    let shown = preview
        .devices
        .iter()
        .map(|device| PlannedDevice {
            device_uuid: device.device,
            batch: layout.batch_of(device.value.as_deref(), device.place),
            skip: device.skip,
        })
        .collect::<Vec<_>>();
    TriggerPlan {
        plan_id: None,
        expires_at: None,
        ends_at: None,
        windows: rule.maintenance_windows.clone(),
        freezes: Vec::new(),
        conflicts: Vec::new(),
        dry_run: true,
        image: image.to_string(),
        waiting_for,
        total_devices: preview.total(),
        batches,
        skipped: preview
            .skipped
            .iter()
            .map(|(reason, devices)| (reason.to_string(), *devices))
            .collect(),
        devices_truncated: i64::try_from(shown.len()).unwrap_or(i64::MAX) < preview.total(),
        devices: shown,
    }
}
