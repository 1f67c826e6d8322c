//! Whether a policy may ship a version now, and what it waits for where it may not yet.

use chrono::{DateTime, TimeDelta, Utc};
use windlass_core::signatures::{Unsigned, verify};
use windlass_core::versions::{Candidate, Rule, built_at, old_enough_at, select};
use windlass_store::image_facts::Which;
use windlass_store::waits::Waiting;
use windlass_store::{Result, Session, holds, image_facts, plans};
use windlass_types::api::{PlanDecision, WaitReason};
use windlass_types::ids::{CorrelationId, ImageVersionId};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::{Policy, SignatureRule};

/// How long signatures are looked for after a push: whoever signs by hand may do it tomorrow.
pub(crate) const SIGNED_WITHIN: TimeDelta = TimeDelta::hours(24);

/// A version that a policy takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) id: ImageVersionId,
    pub(crate) repository: &'a Repository,
    pub(crate) tag: &'a str,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) first_seen: DateTime<Utc>,
    pub(crate) correlation: CorrelationId,
}

/// Where a version stands with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may ship; with the fingerprint of the key that signed it, where the policy wants one.
    Ready(Option<String>),
    /// Not yet.
    Waits(Waiting),
    /// Never.
    Never(PlanDecision, String),
}

/// Has everything asked for that shipping this version will need: all at once and early, so that a
/// version that has to wait for its age does not wait for its registry afterwards. With `anew` also
/// what was asked in vain for another version of the digest.
pub(crate) async fn ask(
    session: &mut Session,
    policies: &[&Policy],
    version: Version<'_>,
    anew: bool,
) -> Result<()> {
    let Some(digest) = version.digest else {
        return Ok(());
    };
    let repository = version.repository;
    image_facts::want(session, repository, digest, version.correlation, anew).await?;
    let signed = |policy: &&Policy| policy.spec.signature.is_some();
    if policies.iter().any(signed) {
        let until = session.now() + SIGNED_WITHIN;
        let which = if anew { Which::Anew } else { Which::First };
        image_facts::want_signatures(session, repository, digest, until, which).await?;
    }
    Ok(())
}

/// Where a version stands with a policy that takes it. `attempts` is how often a registry is asked in vain
/// for what is only good to know.
pub(crate) async fn standing(
    session: &mut Session,
    policy: &Policy,
    version: Version<'_>,
    attempts: i64,
) -> Result<Standing> {
    let now = session.now();
    let waits = |reason, detail: String, until| {
        Standing::Waits(Waiting {
            policy: policy.id,
            reason,
            detail,
            until,
        })
    };
    if let Some(hold) = holds::in_force(session, policy.id, version.repository).await? {
        let what = match &hold.repository {
            Some(repository) => format!("{repository} is held"),
            None => format!("the policy {:?} is held", policy.spec.name),
        };
        let detail = format!("{what} by {}: {}", hold.created_by, hold.reason);
        return Ok(waits(WaitReason::Held, detail, hold.ends_at));
    }
    let known = match version.digest {
        Some(digest) => image_facts::get(session, version.repository, digest).await?,
        None => None,
    };
    let facts = known.as_ref().and_then(|known| known.facts.as_ref());
    if facts.is_some_and(|facts| facts.artifact) {
        let detail = "its registry says that it is no image".to_owned();
        return Ok(Standing::Never(PlanDecision::NotAnImage, detail));
    }
    if let Some(at) = old_enough_at(version.first_seen, policy.spec.min_age_seconds, now) {
        let detail = format!(
            "the policy ships what has been known for {} s",
            policy.spec.min_age_seconds
        );
        return Ok(waits(WaitReason::TooYoung, detail, Some(at)));
    }
    let mut signed_by = None;
    if let Some(rule) = &policy.spec.signature {
        match signature(rule, version, known.as_ref(), now) {
            Signed::By(key) => signed_by = Some(key),
            _ if !rule.require => {}
            Signed::Not(reason, detail, until) => return Ok(waits(reason, detail, until)),
            Signed::Never(detail) => {
                return Ok(Standing::Never(PlanDecision::Unsigned, detail));
            }
        }
    }
    // Beyond as many tries what is not known is not waited for.
    let asked = known.as_ref().filter(|known| {
        known.facts.is_none() && known.next_ask_at.is_some() && known.attempts < attempts
    });
    if let Some(known) = asked {
        let error = known.error.as_ref();
        let detail = error.map_or_else(
            || "its registry is being asked".to_owned(),
            |error| format!("its registry does not tell: {error}"),
        );
        if Rule::new(&policy.spec.tag).is_ok_and(|rule| rule.is_by_build_date()) {
            return Ok(waits(
                WaitReason::BuildDateUnknown,
                detail,
                known.next_ask_at,
            ));
        }
        if !image_facts::platforms(session).await?.is_empty() {
            return Ok(waits(
                WaitReason::PlatformsUnknown,
                detail,
                known.next_ask_at,
            ));
        }
    }
    Ok(Standing::Ready(signed_by))
}

/// What signatures say.
enum Signed {
    By(String),
    Not(WaitReason, String, Option<DateTime<Utc>>),
    Never(String),
}

/// Verifies what was found beside a digest, with the keys that the policy has now.
fn signature(
    rule: &SignatureRule,
    version: Version<'_>,
    known: Option<&image_facts::Known>,
    now: DateTime<Utc>,
) -> Signed {
    let unknown =
        |detail: &str, until| Signed::Not(WaitReason::SignatureUnknown, detail.to_owned(), until);
    let Some(digest) = version.digest else {
        return unknown(
            "its digest is not known, so that nothing can be verified",
            None,
        );
    };
    let Some(known) = known else {
        return unknown("its registry is about to be asked", None);
    };
    let Some(found) = &known.signatures else {
        let detail = match &known.signature_error {
            Some(error) => format!("its registry does not tell its signatures: {error}"),
            None => "its registry is being asked".to_owned(),
        };
        return unknown(&detail, known.next_signature_at);
    };
    let until = known.signatures_until;
    match verify(rule, version.repository, digest, found) {
        Ok(key) => Signed::By(key),
        Err(why) if until.is_some_and(|until| now >= until) => Signed::Never(format!(
            "{why}, and none came within {} hours",
            SIGNED_WITHIN.num_hours()
        )),
        Err(why @ Unsigned::NoKey { .. }) => {
            Signed::Not(WaitReason::Unsigned, why.to_string(), None)
        }
        Err(why) if why.is_wrong() => {
            Signed::Not(WaitReason::WrongSignature, why.to_string(), until)
        }
        Err(why) => Signed::Not(WaitReason::Unsigned, why.to_string(), until),
    }
}

/// The newer version that ships instead of this one, as its tag; none where this one is the newest of
/// those that the policy takes and that nothing keeps from shipping.
pub(crate) async fn newer(
    session: &mut Session,
    policy: &Policy,
    version: Version<'_>,
    attempts: i64,
) -> Result<Option<String>> {
    let Ok(rule) = Rule::new(&policy.spec.tag) else {
        return Ok(None);
    };
    if !rule.is_ordered() || policy.spec.allow_downgrade {
        return Ok(None);
    }
    let created = match version.digest {
        Some(digest) => image_facts::get(session, version.repository, digest)
            .await?
            .and_then(|known| known.facts?.created),
        None => None,
    };
    let candidate = |id, tag: &str, first_seen, created| Candidate {
        id,
        tag: tag.to_owned(),
        first_seen,
        built_at: built_at(created, first_seen),
        held_back: false,
    };
    let own = candidate(version.id, version.tag, version.first_seen, created);
    let mut candidates = vec![own];
    let others = plans::others(session, version.repository, policy.id, version.id).await?;
    for other in &others {
        candidates.push(candidate(
            other.id,
            &other.tag,
            other.first_seen,
            other.created,
        ));
    }
    loop {
        let Some(best) = select(&rule, &candidates, &[]).map(|best| best.id) else {
            return Ok(None);
        };
        // Its own is among them and nothing holds it back.
        let Some(other) = others.iter().find(|other| other.id == best) else {
            return Ok(None);
        };
        // One that ships or has shipped stands; one that is still to be decided about may have to wait.
        let stands = !other.open || {
            let of = Version {
                id: other.id,
                tag: &other.tag,
                digest: Some(&other.digest),
                first_seen: other.first_seen,
                ..version
            };
            matches!(
                standing(session, policy, of, attempts).await?,
                Standing::Ready(_)
            )
        };
        if stands {
            return Ok(Some(other.tag.clone()));
        }
        for candidate in &mut candidates {
            candidate.held_back |= candidate.id == best;
        }
    }
}
