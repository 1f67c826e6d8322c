//! Rollouts by hand of what a policy wants signed.

use crate::decisions::{by_hand, place};
use crate::site::{PATIENCE, Site, running};
use crate::versions::{OTHER, PAYLOAD, SIGNATURE, SIGNED, TRUSTED, asked, base64, tell_signatures};
use chrono::TimeDelta;
use serde_json::json;
use windlass_store::Kind;
use windlass_store::image_facts::{self, About, Known};
use windlass_store::triggers::{self, NewTrigger};
use windlass_testkit::eventually;
use windlass_testkit::fleet;
use windlass_types::api::TriggerDecision;
use windlass_types::event::EventType;
use windlass_types::ids::{RolloutId, TriggerId};
use windlass_types::image::ImageReference;
use windlass_types::signature::{FoundSignature, SignatureFormat, Signatures};

fn image() -> String {
    format!("{SIGNED}:1.1.0@sha256:{}", "ab".repeat(32))
}

fn good() -> Signatures {
    Signatures {
        found: vec![FoundSignature {
            format: SignatureFormat::SimpleSigning,
            payload: base64(PAYLOAD),
            signature: SIGNATURE.to_owned(),
        }],
        unreadable: Vec::new(),
    }
}

/// A fleet, and a policy that wants it signed with one of these keys.
async fn guarded(site: &Site, tags: &str, keys: &[&str]) {
    let first = format!("{SIGNED}:1.0.0");
    fleet::add(&site.test.store, "north", 0..2, &[&first]).await;
    let rule = json!({"image": SIGNED, "tag": {"type": "semver", "range": tags},
        "signature": {"require": true, "keys": keys}});
    site.policy("signed", rule).await;
}

/// What the event of its rollout says of this.
async fn noted(site: &Site, what: &str) -> Option<String> {
    let mut read = site.test.store.read().await.unwrap();
    let sql = format!(
        "SELECT data ->> '{what}' FROM events WHERE type = 'image.rollout_created' ORDER BY tx DESC, seq DESC LIMIT 1"
    );
    let (noted,): (Option<String>,) = read.built(sql).one().await.unwrap();
    noted
}

/// What became of it, its rollout, and why, once that is decided.
async fn settled(
    site: &Site,
    id: TriggerId,
) -> (TriggerDecision, Option<RolloutId>, Option<String>) {
    let mut found = None;
    eventually("it is decided", PATIENCE, async || {
        let mut read = site.test.store.read().await.unwrap();
        let (trigger, rollout) = triggers::get(&mut read, id).await.unwrap().unwrap();
        let decided = trigger
            .decision
            .map(|decision| (decision, rollout, trigger.detail));
        found = decided;
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Waits until it says that it waits for signatures.
async fn waits(site: &Site, id: TriggerId) {
    says(site, id, "its registry is asked for the signature").await;
}

/// Waits until it says that it waits, and this of it.
async fn says(site: &Site, id: TriggerId, what: &str) {
    eventually(&format!("it says {what:?}"), PATIENCE, async || {
        let mut read = site.test.store.read().await.unwrap();
        let (trigger, _) = triggers::get(&mut read, id).await.unwrap().unwrap();
        assert_eq!(trigger.decision, None, "{trigger:?}");
        trigger.detail.is_some_and(|detail| detail.contains(what))
    })
    .await;
}

/// What is known of the image.
async fn known(site: &Site) -> Known {
    let image: ImageReference = image().parse().unwrap();
    let mut read = site.test.store.read().await.unwrap();
    image_facts::get(&mut read, image.repository(), image.digest().unwrap())
        .await
        .unwrap()
        .unwrap()
}

/// Waits until planners have looked at everything twice more.
async fn passes(site: &Site) {
    let done = || site.runs("planner-images", "ok");
    let before = done();
    eventually("the planner looks again", PATIENCE, async || {
        done() > before + 2.0
    })
    .await;
}

#[tokio::test]
async fn what_is_not_signed_as_a_policy_requires_ships_by_hand_to_nobody() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        assert_eq!(site.told(EventType::UpdateWaits).await, 1);
        tell_signatures(&site, &image(), Err("nobody answers")).await;
        says(&site, id, "does not tell its signatures: nobody answers").await;
        tell_signatures(&site, &image(), Ok(&Signatures::default())).await;
        let (decision, rollout, detail) = settled(&site, id).await;
        assert_eq!((decision, rollout), (TriggerDecision::Unsigned, None));
        let expected = "the policy \"signed\" requires a signature: it has no signature";
        assert_eq!(detail.as_deref(), Some(expected));
        // Who signs it and asks again has the registry asked again, too.
        site.advance(1);
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        tell_signatures(&site, &image(), Ok(&good())).await;
        let (decision, rollout, _) = settled(&site, id).await;
        assert_eq!(decision, TriggerDecision::Rollout);
        assert!(rollout.is_some());
        let key = windlass_core::signatures::PublicKey::read(TRUSTED).unwrap();
        assert_eq!(
            noted(&site, "signed_by").await.as_deref(),
            Some(key.fingerprint())
        );
        assert_eq!(noted(&site, "vouched_for").await, None);
    }
}

#[tokio::test]
async fn who_vouches_for_an_unsigned_image_ships_it_in_their_name() {
    for site in running().await {
        guarded(&site, "*", &[OTHER]).await;
        let refused = place(&site, &by_hand(&image())).await;
        waits(&site, refused).await;
        tell_signatures(&site, &image(), Ok(&good())).await;
        let (decision, _, detail) = settled(&site, refused).await;
        assert_eq!(decision, TriggerDecision::Unsigned);
        let why = "it has one signature, none by a key of the policy";
        assert!(detail.unwrap().ends_with(why));
        let vouched = NewTrigger {
            allow_unsigned: true,
            ..by_hand(&image())
        };
        let id = place(&site, &vouched).await;
        let (decision, ..) = settled(&site, id).await;
        assert_eq!(decision, TriggerDecision::Rollout);
        assert_eq!(noted(&site, "signed_by").await, None);
        assert!(noted(&site, "vouched_for").await.unwrap().ends_with(why));
        assert_eq!(noted(&site, "by").await.as_deref(), Some("operator:ann"));
        // Why they did it stands in the event of the command.
        let mut read = site.test.store.read().await.unwrap();
        let (reason,): (i64,) = read
            .sql(
                "SELECT COUNT(*) FROM events WHERE type = 'operator.command_given' \
                 AND data ->> 'reason' = 'a hot fix' AND actor = 'operator:ann'",
            )
            .one()
            .await
            .unwrap();
        assert_eq!(reason, 2);
    }
}

#[tokio::test]
async fn what_no_policy_wants_signed_is_not_asked_about() {
    for site in running().await {
        // The policy is about other tags.
        guarded(&site, ">=2", &[TRUSTED]).await;
        let id = place(&site, &by_hand(&image())).await;
        let (decision, ..) = settled(&site, id).await;
        assert_eq!(decision, TriggerDecision::Rollout);
        assert_eq!(noted(&site, "signed_by").await, None);
    }
}

#[tokio::test]
async fn it_goes_on_waiting_where_nobody_else_wants_the_signature_any_more() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        let pushed = site.push(&image()).await;
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        tell_signatures(&site, &image(), Err("away")).await;
        // The version that waited beside it is replaced.
        let next = format!("{SIGNED}:1.1.0@sha256:{}", "cd".repeat(32));
        site.push(&next).await;
        assert_eq!(site.decision(pushed).await.0, "replaced");
        assert!(known(&site).await.next_signature_at.is_some());
        // Even where nobody asked any more, it is asked again.
        site.sql("UPDATE image_facts SET next_signature_at = NULL")
            .await;
        tell_signatures(&site, &image(), Ok(&good())).await;
        let (decision, ..) = settled(&site, id).await;
        assert_eq!(decision, TriggerDecision::Rollout);
    }
}

#[tokio::test]
async fn a_question_that_was_under_way_when_it_was_asked_for_does_not_count() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        site.push(&image()).await;
        asked(&site, &image(), About::Signatures).await;
        for attempts in [0, 1, 20] {
            site.sql(&format!(
                "UPDATE image_facts SET signature_attempts = {attempts}"
            ))
            .await;
            let begun = asked(&site, &image(), About::Signatures).await;
            site.advance(1);
            let id = place(&site, &by_hand(&image())).await;
            waits(&site, id).await;
            assert!(known(&site).await.signature_attempts <= 1);
            let mut tx = site.test.store.begin().await.unwrap();
            let none = Signatures::default();
            let noted = image_facts::learn_signatures(&mut tx, &begun, &none, None).await;
            assert!(!noted.unwrap());
            site.deps.commit(tx).await.unwrap();
            passes(&site).await;
            waits(&site, id).await;
            tell_signatures(&site, &image(), Ok(&none)).await;
            let (decision, ..) = settled(&site, id).await;
            assert_eq!(decision, TriggerDecision::Unsigned);
        }
    }
}

#[tokio::test]
async fn while_it_waits_nothing_is_written() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        passes(&site).await;
        let mut read = site.test.store.read().await.unwrap();
        // What changes when others commit something: the file, or the row.
        let sql = match site.test.store.kind() {
            Kind::Sqlite => "PRAGMA data_version",
            Kind::Postgres => "SELECT CAST(CAST(xmin AS TEXT) AS BIGINT) FROM image_triggers",
        };
        let (before,): (i64,) = read.sql(sql).one().await.unwrap();
        passes(&site).await;
        let (after,): (i64,) = read.sql(sql).one().await.unwrap();
        assert_eq!(before, after, "{sql}");
        drop(read);
        // A policy that wants nothing any more lets it go on, and nobody looks for signatures after that.
        tell_signatures(&site, &image(), Err("away")).await;
        site.sql("DELETE FROM image_update_policies").await;
        let (decision, ..) = settled(&site, id).await;
        assert_eq!(decision, TriggerDecision::Rollout);
        assert_eq!(known(&site).await.next_signature_at, None);
    }
}

#[tokio::test]
async fn how_long_signatures_are_looked_for_after_a_push_stays_as_it_was() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        // Of what was never pushed they are looked for once.
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        assert_eq!(known(&site).await.signatures_until, None);
        // Somebody pushes it under a tag while that goes on, and asks for it by hand once more.
        site.advance(60);
        site.push(&image()).await;
        let until = async || known(&site).await.signatures_until;
        eventually("the version waits", PATIENCE, async || {
            until().await.is_some()
        })
        .await;
        let first = until().await;
        assert_eq!(
            first,
            Some(site.test.store.clock().now() + TimeDelta::hours(24))
        );
        site.advance(60);
        let again = place(&site, &by_hand(&image())).await;
        waits(&site, again).await;
        assert_eq!(until().await, first);
        tell_signatures(&site, &image(), Ok(&Signatures::default())).await;
        assert_eq!(settled(&site, again).await.0, TriggerDecision::Unsigned);
        // The version still waits, so it is looked for further.
        assert!(known(&site).await.next_signature_at.is_some());
    }
}
