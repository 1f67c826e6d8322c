//! Trying policies on an image: which would take it, and what would happen.

use super::body::Body;
use super::page::wrong;
use super::preview::{counts, seen};
use super::triggers::{image_of, pinned};
use crate::app::App;
use crate::auth::By;
use actix_web::{post, web};
use std::collections::BTreeMap;
use windlass_core::matching::glob_matches;
use windlass_core::signatures::verify;
use windlass_core::versions::Rule;
use windlass_service::Problem;
use windlass_store::rollouts::{self, Scope, Wanted};
use windlass_store::{Session, freezes, holds, image_facts, policies, quarantine};
use windlass_types::api::{PolicyMatch, PolicyTest, PolicyTestRequest};
use windlass_types::ids::PolicyId;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, Policy, TagRule};

/// Says what a push of this image would do: which policies take it, to which devices, in which
/// batches. Nothing is changed.
#[utoipa::path(tag = "policies", request_body = PolicyTestRequest, responses(
    (status = 200, description = "What would happen, policy by policy in the order in which they are asked", body = PolicyTest),
))]
#[post("/api/v1/image-policies/test")]
pub(super) async fn all(
    By(_operator, Body(request)): By<Body<PolicyTestRequest>>,
    app: web::Data<App>,
) -> Result<web::Json<PolicyTest>, Problem> {
    Ok(web::Json(test(&app, None, &request).await?))
}

/// The same for one policy, as if it were enabled. Devices that policies before it take are not its.
#[utoipa::path(tag = "policies", request_body = PolicyTestRequest, params(
    ("id" = uuid::Uuid, Path, description = "The policy"),
), responses(
    (status = 200, description = "What would happen", body = PolicyTest),
    (status = 404, description = "There is no such policy"),
))]
#[post("/api/v1/image-policies/{id}/test")]
pub(super) async fn one(
    By(_operator, (id, Body(request))): By<(web::Path<PolicyId>, Body<PolicyTestRequest>)>,
    app: web::Data<App>,
) -> Result<web::Json<PolicyTest>, Problem> {
    Ok(web::Json(test(&app, Some(*id), &request).await?))
}

async fn test(
    app: &App,
    only: Option<PolicyId>,
    request: &PolicyTestRequest,
) -> Result<PolicyTest, Problem> {
    let image = image_of(&request.image)?;
    let Some(tag) = image.tag().map(str::to_owned) else {
        return Err(wrong(
            "image",
            "policies take tags: write repository:tag, with its digest or without",
        ));
    };
    let mut session = app.deps.store.read().await?;
    let image = pinned(&mut session, image).await?;
    let known = policies::all(&mut session).await?;
    if let Some(id) = only
        && !known.iter().any(|policy| policy.id == id)
    {
        return Err(Problem::NotFound(format!("there is no policy {id}")));
    }
    let mut matches = Vec::new();
    let mut before: Vec<Filters> = Vec::new();
    for policy in &known {
        let named = only == Some(policy.id);
        let mismatch = mismatch(policy, &image, &tag, named);
        if named || only.is_none() {
            matches.push(match &mismatch {
                Some(why) => refused(policy, why.clone()),
                None => taken(&mut session, policy, &image, &tag, &before).await?,
            });
        }
        if mismatch.is_none() {
            before.push(policy.spec.filters.clone());
        }
    }
    let quarantined = match image.digest() {
        Some(digest) => quarantine::contains(&mut session, digest).await?,
        None => false,
    };
    Ok(PolicyTest {
        digest: image.digest().map(ToString::to_string),
        outcome: outcome(&matches, quarantined),
        image: image.to_string(),
        quarantined,
        freezes: freezes::open(&mut session).await?,
        policies: matches,
    })
}

/// The first thing that keeps a policy from taking an image.
fn mismatch(policy: &Policy, image: &ImageReference, tag: &str, enabled: bool) -> Option<String> {
    let spec = &policy.spec;
    let repository = image.repository().to_string();
    if !glob_matches(&spec.image, &repository) {
        Some(format!(
            "its image {:?} does not match {repository}",
            spec.image
        ))
    } else if let Some(why) = untaken(&spec.tag, tag) {
        Some(format!("its tag rule does not take {tag:?}: {why}"))
    } else if !spec.enabled && !enabled {
        Some("it is switched off".to_owned())
    } else {
        None
    }
}

/// Why a tag rule does not take a tag.
fn untaken(rule: &TagRule, tag: &str) -> Option<String> {
    match Rule::new(rule) {
        Ok(rule) => rule.read(tag).err().map(|why| why.to_string()),
        Err(invalid) => Some(invalid.to_string()),
    }
}

fn refused(policy: &Policy, why: String) -> PolicyMatch {
    PolicyMatch {
        policy_id: policy.id,
        name: policy.spec.name.clone(),
        priority: policy.spec.priority,
        matches: false,
        mismatch: Some(why),
        version: None,
        before: Vec::new(),
        total_devices: 0,
        skipped: BTreeMap::new(),
        batches: Vec::new(),
        waiting_for: None,
        conflicts: Vec::new(),
    }
}

/// What the rollout of a policy that takes the image would be.
async fn taken(
    session: &mut Session,
    policy: &Policy,
    image: &ImageReference,
    tag: &str,
    before: &[Filters],
) -> Result<PolicyMatch, Problem> {
    let spec = &policy.spec;
    let rule = spec.rollout_rule();
    let wanted = Wanted {
        repository: image.repository(),
        tag: Some(tag),
        digest: image.digest(),
        tag_rule: &spec.tag,
        filters: &spec.filters,
        without: before,
        rule: &rule,
        priority: spec.priority,
        policy: Some(policy.id),
        // The rollout's own is drawn when it is made; how many devices are in a batch does not
        // depend on it.
        seed: 0,
    };
    let scope = Scope::of(session, &wanted).await?;
    let preview = rollouts::preview(session, &scope, 0).await?;
    let seen = seen(session, &scope, &wanted, &preview).await?;
    Ok(PolicyMatch {
        matches: true,
        mismatch: None,
        version: Rule::new(&spec.tag)
            .ok()
            .and_then(|rule| rule.read(tag).ok())
            .map(|read| read.version),
        before: before_rollout(session, policy, image).await?,
        total_devices: preview.total(),
        skipped: counts(&preview),
        batches: seen.batches,
        waiting_for: seen.nothing,
        conflicts: seen.conflicts,
        ..refused(policy, String::new())
    })
}

/// What a push would wait for before there is a rollout.
async fn before_rollout(
    session: &mut Session,
    policy: &Policy,
    image: &ImageReference,
) -> Result<Vec<String>, Problem> {
    let (spec, repository) = (&policy.spec, image.repository());
    let mut waits = Vec::new();
    if let Some(hold) = holds::in_force(session, policy.id, repository).await? {
        let until = hold
            .ends_at
            .map_or_else(|| "it is lifted".to_owned(), |end| end.to_string());
        waits.push(format!(
            "the hold by {} until {until}: {}",
            hold.created_by, hold.reason
        ));
    }
    if spec.min_age_seconds > 0 {
        waits.push(format!(
            "an age of {} s since it was first seen",
            spec.min_age_seconds
        ));
    }
    let Some(rule) = spec.signature.as_ref().filter(|rule| rule.require) else {
        return Ok(waits);
    };
    let known = match image.digest() {
        Some(digest) => image_facts::get(session, repository, digest).await?,
        None => None,
    };
    let found = known.and_then(|known| known.signatures);
    match (image.digest(), found) {
        (Some(digest), Some(found)) => {
            if let Err(why) = verify(rule, repository, digest, &found) {
                waits.push(format!("a signature by one of the policy's keys: {why}"));
            }
        }
        _ => waits
            .push("a signature by one of the policy's keys: none was looked for yet".to_owned()),
    }
    Ok(waits)
}

fn outcome(matches: &[PolicyMatch], quarantined: bool) -> String {
    let taking: Vec<&PolicyMatch> = matches.iter().filter(|policy| policy.matches).collect();
    let shipping: Vec<String> = taking
        .iter()
        .filter(|policy| policy.waiting_for.is_none())
        .map(|policy| {
            let devices: i64 = policy.batches.iter().map(|batch| batch.devices).sum();
            let batches = policy.batches.len();
            format!(
                "{:?} to {devices} devices in {batches} batches",
                policy.name
            )
        })
        .collect();
    if taking.is_empty() {
        "nothing would happen: no enabled policy takes this image".to_owned()
    } else if quarantined {
        "nothing would happen: the digest is in quarantine".to_owned()
    } else if shipping.is_empty() {
        "nothing would happen: no device in scope can take the image".to_owned()
    } else {
        format!("it would be rolled out by {}", shipping.join(", then by "))
    }
}
