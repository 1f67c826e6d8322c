//! Shipping a plan exactly as it was shown, or saying what has changed since.

use crate::create::Wanted;
use windlass_core::batches::{Layout, NobodyChosen};
use windlass_store::rollouts::Scope;
use windlass_store::{Result, Session, plans, rollout_plans};
use windlass_types::ids::PlanId;
use windlass_types::image::ImageReference;

/// Devices that are named of those that are not where the plan has them.
const NAMED: i64 = 5;

/// What is not as the plan has it, for people; none where the rollout would be exactly the plan.
pub(crate) async fn changed(
    session: &mut Session,
    wanted: &Wanted<'_>,
    id: PlanId,
    scope: &Scope,
    dealt: &std::result::Result<Layout, NobodyChosen>,
) -> Result<Option<String>> {
    let Some((plan, fingerprint)) = rollout_plans::get(session, id).await? else {
        return Ok(Some(format!("plan {id} is not there any more")));
    };
    let mut changes = Vec::new();
    let image = wanted.image();
    let planned = plan.plan.image.parse::<ImageReference>();
    let same = planned.is_ok_and(|planned| {
        planned.repository() == image.repository()
            && planned.tag() == image.tag()
            && planned.digest() == image.digest()
    });
    if !same {
        changes.push(format!("the plan ships {}, not {image}", plan.plan.image));
    }
    if let (Some(tag), Some(digest)) = (wanted.tag, wanted.digest)
        && let Some(last) = plans::last_known_digest(session, wanted.repository, tag).await?
        && last != *digest
    {
        let moved = ImageReference::of(wanted.repository, Some(tag), None);
        changes.push(format!("{moved} names {last} by now"));
    }
    let now = rollout_plans::fingerprint(&image, &wanted.rule, wanted.filters, wanted.priority);
    if changes.is_empty() && now != fingerprint {
        changes.push("the rule, the filters or the priority are others than planned".to_owned());
    }
    match dealt {
        Err(nobody) => changes.push(nobody.to_string()),
        Ok(layout) => {
            let moved = rollout_plans::changes(session, id, scope, layout, NAMED).await?;
            changes.extend(moved.first.iter().map(ToString::to_string));
            let more = moved.devices - i64::try_from(moved.first.len()).unwrap_or(0);
            if more > 0 {
                changes.push(format!("and {more} devices more"));
            }
        }
    }
    Ok((!changes.is_empty()).then(|| changes.join("; ")))
}
