//! What a rollout by hand would do.

use windlass_core::{batches, target};
use windlass_service::Problem;
use windlass_store::rollouts::{self, Preview, Scope};
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
    let in_use = rollouts::images_in_use(session, image.repository()).await?;
    let sorted = target::moved(
        &in_use,
        image.repository(),
        &tag_rule,
        image.tag(),
        image.digest(),
    );
    // The planner's own seed for a rollout by hand.
    let canonical = ImageReference::of(image.repository(), image.tag(), image.digest());
    let seed = batches::seed_of(&canonical.to_string());
    let scope = Scope {
        repository: image.repository().clone(),
        digest: image.digest().cloned(),
        moved: sorted.moved,
        there: sorted.there,
        filters,
        order: batches::coefficients(seed),
    };
    let preview = rollouts::preview(session, &scope, SHOWN).await?;
    let quarantined = match image.digest() {
        Some(digest) => quarantine::contains(session, digest).await?,
        None => false,
    };
    Ok(describe(image, rule, &preview, quarantined))
}

fn describe(
    image: &ImageReference,
    rule: &RolloutRule,
    preview: &Preview,
    quarantined: bool,
) -> TriggerPlan {
    let bounds = batches::bounds(preview.eligible, &batches::sizes_of(rule));
    let mut before = 0;
    let batches = (1_i64..)
        .zip(&bounds)
        .map(|(batch, bound)| {
            let devices = bound - before;
            before = *bound;
            PlannedBatch {
                batch,
                devices,
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
            }
        })
        .collect();
    let waiting_for = if quarantined {
        Some("nothing would be shipped: the digest is in quarantine".to_owned())
    } else if preview.eligible == 0 {
        Some("nothing would be shipped: no device in scope can take the image".to_owned())
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
            batch: batches::batch_of(device.place, &bounds),
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
