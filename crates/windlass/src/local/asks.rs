//! What containers ask for by their labels.

use windlass_agent::taking::{ENABLE, Labels};
use windlass_core::policy_check;
use windlass_core::versions::Rule;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Day, MaintenanceWindow, PolicySpec, TagRule};

const POLICY: &str = "windlass.policy";
const VERSIONS: &str = "windlass.versions";
const UPDATE: &str = "windlass.update";
const WINDOW: &str = "windlass.window";

/// How long an update may take in all, in seconds, until it is held against the image: a day, for many large images over
/// a slow line, or a container that somebody paused.
const PULLS_TAKE: u32 = 86_400;

/// What a container asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// To be updated by a policy that a person wrote.
    Policy(String),
    /// To be updated by one that is made for its image.
    Own(Box<PolicySpec>),
}

/// Why what is asked for cannot be had.
pub(super) fn understands(labels: &Labels, image: &ImageReference) -> Result<(), String> {
    asked(labels, image).map(|_| ())
}

/// Reads labels.
pub(super) fn asked(labels: &Labels, image: &ImageReference) -> Result<Asked, String> {
    let known = [ENABLE, POLICY, VERSIONS, UPDATE, WINDOW];
    let of_ours = |name: &&String| {
        name.starts_with(windlass_reconcile::label::PREFIX)
            && !windlass_reconcile::label::is_own(name)
    };
    if let Some(unknown) = labels
        .keys()
        .filter(of_ours)
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(format!(
            "{unknown} is not known; what there is: {}",
            known.join(", ")
        ));
    }
    let label = |name: &str| labels.get(name).map(|value| value.trim());
    if let Some(policy) = label(POLICY) {
        if policy.is_empty() {
            return Err(format!("{POLICY} is empty; it is the name of a policy"));
        }
        if let Some(other) = [VERSIONS, UPDATE, WINDOW]
            .iter()
            .find(|name| labels.contains_key(**name))
        {
            return Err(format!(
                "{other} and {POLICY} are both there, and the policy says all of it"
            ));
        }
        return Ok(Asked::Policy(policy.to_owned()));
    }
    let tag = image.tag().unwrap_or("latest").to_owned();
    let rule = match label(VERSIONS) {
        None => TagRule::Fixed { tag: tag.clone() },
        Some(range) => TagRule::Semver {
            range: range.to_owned(),
            prerelease: false,
        },
    };
    let strategy = match label(UPDATE) {
        None | Some("auto") => "auto",
        Some("manual") => "manual",
        Some(other) => return Err(format!("{UPDATE} is {other:?}; it is auto or manual")),
    };
    let windows = label(WINDOW).map(windows).transpose()?.unwrap_or_default();
    let spec = spec(image, &rule, strategy, &windows)?;
    if let Some(error) = policy_check::check(&spec).invalid.first() {
        let at = if error.field.starts_with("maintenance_windows") {
            WINDOW
        } else if error.field.starts_with("tag") {
            VERSIONS
        } else {
            &error.field
        };
        return Err(format!("{at}: {}", error.message));
    }
    let moves = Rule::new(&rule).is_ok_and(|rule| rule.moves(&tag));
    if !moves {
        return Err(format!(
            "{VERSIONS}: the container runs the tag {tag:?}, which is no version such as 1.2.3"
        ));
    }
    Ok(Asked::Own(Box::new(spec)))
}

/// The policy that is made for an image.
fn spec(
    image: &ImageReference,
    rule: &TagRule,
    strategy: &str,
    windows: &[MaintenanceWindow],
) -> Result<PolicySpec, String> {
    let repository = image.repository().to_string();
    let which = match rule {
        TagRule::Semver { range, .. } => range,
        _ => image.tag().unwrap_or("latest"),
    };
    serde_json::from_value(serde_json::json!({
        "name": super::wishes::name(&repository, which),
        "image": repository,
        "tag": rule,
        "strategy": strategy,
        "maintenance_windows": windows,
        "filters": {"fleets": [super::FLEET]},
        // Any that a person writes comes before it.
        "priority": i32::MIN,
        // Every container of an image is admitted at once, and the agent pulls one image after the other; a bad one it
        // tells of by itself, at once.
        "health": {"deadline_seconds": PULLS_TAKE},
        // There is one device; who is to look at a pause?
        "failure": {"action": "rollback_all"},
    }))
    .map_err(|error| error.to_string())
}

/// `02:00-04:00`, `sat,sun 02:00-04:00`, `02:00-04:00 Europe/Berlin`; several with `;` between them.
fn windows(text: &str) -> Result<Vec<MaintenanceWindow>, String> {
    text.split(';').map(|one| window(one.trim())).collect()
}

fn window(text: &str) -> Result<MaintenanceWindow, String> {
    let wrong = || {
        format!(
            "{WINDOW}: {text:?} is no time such as `sat,sun 02:00-04:00` or `02:00-04:00 Europe/Berlin`"
        )
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words
        .iter()
        .position(|word| word.contains(':'))
        .ok_or_else(wrong)?;
    let (before, after) = words.split_at(at);
    let (days, zone) = match (before, after) {
        (before, [_]) if before.len() <= 1 => (before.first(), None),
        (before, [_, zone]) if before.len() <= 1 => (before.first(), Some((*zone).to_owned())),
        _ => return Err(wrong()),
    };
    let days = days.map_or_else(
        || Ok(Vec::new()),
        |days| {
            let days = days.split(',');
            days.map(|day| {
                day.to_ascii_lowercase()
                    .parse::<Day>()
                    .map_err(|_no_day| wrong())
            })
            .collect()
        },
    )?;
    let times = after.first().and_then(|times| times.split_once('-'));
    let (start, end) = times.ok_or_else(wrong)?;
    Ok(MaintenanceWindow {
        time_zone: zone,
        days,
        start: start.to_owned(),
        end: end.to_owned(),
    })
}

#[cfg(test)]
mod tests;
