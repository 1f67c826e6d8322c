//! Rollouts by hand of what a policy wants signed.

use crate::decisions::{by_hand, place};
use crate::site::{PATIENCE, Site, running};
use crate::versions::{OTHER, PAYLOAD, SIGNATURE, SIGNED, TRUSTED, base64, tell_signatures};
use serde_json::json;
use windlass_store::triggers::{self, NewTrigger};
use windlass_testkit::eventually;
use windlass_testkit::fleet;
use windlass_types::api::TriggerDecision;
use windlass_types::ids::{RolloutId, TriggerId};
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
    eventually("it waits for the registry", PATIENCE, async || {
        let mut read = site.test.store.read().await.unwrap();
        let (trigger, _) = triggers::get(&mut read, id).await.unwrap().unwrap();
        assert_eq!(trigger.decision, None, "{trigger:?}");
        trigger
            .detail
            .is_some_and(|detail| detail.contains("asked for the signature"))
    })
    .await;
}

#[tokio::test]
async fn what_is_not_signed_as_a_policy_requires_ships_by_hand_to_nobody() {
    for site in running().await {
        guarded(&site, "*", &[TRUSTED]).await;
        let id = place(&site, &by_hand(&image())).await;
        waits(&site, id).await;
        tell_signatures(&site, &image(), Err("the registry does not answer")).await;
        waits(&site, id).await;
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
