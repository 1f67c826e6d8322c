//! Image versions and deliveries: what concurrent and repeated writers are kept from.
#![allow(clippy::unwrap_used, reason = "tests are to fail loudly")]

use chrono::{TimeDelta, Utc};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_store::deliveries::{self, Expired, NewDelivery, Told};
use windlass_store::image_facts::{self, Which};
use windlass_store::images::{self, Learned, Wanted};
use windlass_store::{Clock, Session, Store, plans, policies};
use windlass_testkit::{fleet, stores, stores_with};
use windlass_types::delivery::{Decision, Push, PushKind, ReasonCode, SeenVersion};
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId, PolicyId};
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::ImageFacts;
use windlass_types::signature::Signatures;

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
        .parse()
        .unwrap()
}

fn version(tag: &str, named: Option<u8>) -> SeenVersion {
    SeenVersion {
        id: ImageVersionId(Uuid::now_v7()),
        repository: "r.io/demo/app".parse().unwrap(),
        tag: tag.to_owned(),
        digest: named.map(digest),
        kind: PushKind::New,
        actor: Some("maria".to_owned()),
        pushed_at: None,
        seen_at: Clock::System.now(),
        delivery_id: None,
        correlation_id: CorrelationId(Uuid::now_v7()),
        replaced_at: None,
        resolve_attempts: 0,
        resolve_error: None,
    }
}

async fn insert(store: &Store, version: &SeenVersion, replaces: Option<ImageVersionId>) -> bool {
    let mut tx = store.begin().await.unwrap();
    let done = images::insert(&mut tx, version, replaces).await.unwrap();
    if done {
        tx.commit().await.unwrap();
    }
    done
}

async fn plan(tx: &mut Session, version: ImageVersionId, decision: &'static str) {
    let now = tx.now();
    tx.sql("INSERT INTO image_plans (image_version_id, decision, decided_at) VALUES ($1, $2, $3)")
        .bind(version.0)
        .bind(decision)
        .bind(now)
        .execute()
        .await
        .unwrap();
}

fn delivery(key: &str) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(Uuid::now_v7()),
        endpoint: "ci".to_owned(),
        sender: "ghcr".to_owned(),
        sender_delivery_id: None,
        dedupe_key: key.to_owned(),
        headers: [("user-agent".to_owned(), "test".to_owned())].into(),
        body: b"{}".to_vec(),
        correlation_id: CorrelationId(Uuid::now_v7()),
    }
}

#[tokio::test]
async fn a_version_comes_back_as_it_was_written() {
    for test in stores().await {
        let written = version("v1", Some(1));
        assert!(insert(&test.store, &written, None).await);
        let mut session = test.store.read().await.unwrap();
        let read = images::by_ids(&mut session, &[written.id]).await.unwrap();
        assert_eq!(read, [written]);
        assert_eq!(images::by_ids(&mut session, &[]).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_tag_has_one_present_version_however_many_writers_there_are() {
    for test in stores().await {
        let mut first = JoinSet::new();
        for number in 0..8 {
            let store = test.store.clone();
            first.spawn(async move { insert(&store, &version("v1", Some(number)), None).await });
        }
        let made = first
            .join_all()
            .await
            .into_iter()
            .filter(|made| *made)
            .count();
        assert_eq!(made, 1);
        let mut session = test.store.read().await.unwrap();
        let repository = "r.io/demo/app".parse().unwrap();
        let present = images::comparable(&mut session, &repository, "v1", None)
            .await
            .unwrap();
        let present = present[0].id;
        let mut second = JoinSet::new();
        for number in 10..18 {
            let store = test.store.clone();
            second.spawn(async move {
                insert(&store, &version("v1", Some(number)), Some(present)).await
            });
        }
        let made = second
            .join_all()
            .await
            .into_iter()
            .filter(|made| *made)
            .count();
        assert_eq!(made, 1, "one of them replaces the present one");
    }
}

#[tokio::test]
async fn a_question_is_taken_by_one_replica_until_its_time_comes_again() {
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        for tag in ["a", "b", "c", "d", "e"] {
            assert!(insert(&test.store, &version(tag, None), None).await);
        }
        assert!(insert(&test.store, &version("known", Some(1)), None).await);
        let again = clock.now() + TimeDelta::seconds(60);
        let mut taking = JoinSet::new();
        for _ in 0..4 {
            let store = test.store.clone();
            taking.spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let taken = images::take_questions(&mut tx, 5, again).await.unwrap();
                tx.commit().await.unwrap();
                taken
            });
        }
        let taken: Vec<_> = taking.join_all().await.into_iter().flatten().collect();
        let tags: BTreeSet<_> = taken.iter().map(|question| question.tag.as_str()).collect();
        assert_eq!((taken.len(), tags.len()), (5, 5));
        let mut tx = test.store.begin().await.unwrap();
        assert_eq!(images::next_question(&mut tx).await.unwrap(), Some(again));
        assert_eq!(images::take_questions(&mut tx, 5, again).await.unwrap(), []);
        // A try in vain is noted once, whoever notes it.
        let later = again + TimeDelta::seconds(60);
        assert!(
            images::asked_in_vain(&mut tx, &taken[0], "why", later)
                .await
                .unwrap()
        );
        assert!(
            !images::asked_in_vain(&mut tx, &taken[0], "why", later)
                .await
                .unwrap()
        );
        let Wanted::Version(id) = taken[0].wanted else {
            unreachable!("there are no triggers");
        };
        let noted = images::by_ids(&mut tx, &[id]).await.unwrap();
        assert_eq!(noted[0].resolve_attempts, 1);
        assert_eq!(noted[0].resolve_error.as_deref(), Some("why"));
        images::hurry(&mut tx, id).await.unwrap();
        assert_eq!(
            images::next_question(&mut tx).await.unwrap(),
            Some(tx.now())
        );
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_digest_is_learned_once_and_never_for_a_version_that_was_replaced() {
    for test in stores().await {
        let (one, two) = (version("v1", None), version("v1", None));
        assert!(insert(&test.store, &one, None).await);
        assert!(insert(&test.store, &two, Some(one.id)).await);
        let mut tx = test.store.begin().await.unwrap();
        assert_eq!(
            images::learn(&mut tx, one.id, &digest(1)).await.unwrap(),
            Learned::Gone
        );
        let learned = images::learn(&mut tx, two.id, &digest(1)).await.unwrap();
        assert!(
            matches!(learned, Learned::Available(version) if version.digest == Some(digest(1)))
        );
        assert_eq!(
            images::learn(&mut tx, two.id, &digest(1)).await.unwrap(),
            Learned::Gone
        );
        assert_eq!(
            images::undecided(&mut tx, &[one.id, two.id]).await.unwrap(),
            1
        );
        plan(&mut tx, two.id, "no_policy").await;
        assert_eq!(
            images::undecided(&mut tx, &[one.id, two.id]).await.unwrap(),
            0
        );
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_tag_named_before_becomes_present_again_if_it_was_planned() {
    for test in stores().await {
        for (tag, decision, restored) in [
            ("a", Some("no_policy"), true),
            ("b", Some("replaced"), false),
            ("c", None, false),
        ] {
            let (before, after) = (version(tag, Some(1)), version(tag, None));
            assert!(insert(&test.store, &before, None).await);
            let mut tx = test.store.begin().await.unwrap();
            if let Some(decision) = decision {
                plan(&mut tx, before.id, decision).await;
            }
            tx.commit().await.unwrap();
            assert!(insert(&test.store, &after, Some(before.id)).await);
            let mut tx = test.store.begin().await.unwrap();
            let learned = images::learn(&mut tx, after.id, &digest(1)).await.unwrap();
            tx.commit().await.unwrap();
            let expected = if restored { before.id } else { after.id };
            assert_eq!(
                matches!(learned, Learned::NothingNew { present, .. } if present == before.id),
                restored,
                "{tag}: {learned:?}"
            );
            let mut session = test.store.read().await.unwrap();
            let present = images::comparable(&mut session, &before.repository, tag, None)
                .await
                .unwrap();
            assert_eq!(present.len(), 1);
            assert_eq!(present[0].id, expected, "{tag}");
        }
    }
}

#[tokio::test]
async fn a_delivery_is_stored_once_and_each_repetition_counted() {
    for test in stores().await {
        let mut receiving = JoinSet::new();
        for _ in 0..8 {
            let store = test.store.clone();
            receiving.spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let received = deliveries::receive(&mut tx, &delivery("same"))
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                received
            });
        }
        let received = receiving.join_all().await;
        let ids: BTreeSet<_> = received.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(received.iter().filter(|(_, first)| *first).count(), 1);
        let mut tx = test.store.begin().await.unwrap();
        let elsewhere = NewDelivery {
            endpoint: "lab".to_owned(),
            ..delivery("same")
        };
        assert!(deliveries::receive(&mut tx, &elsewhere).await.unwrap().1);
        let id = received[0].0;
        let ignored = (Decision::Ignored, Some(ReasonCode::Ping));
        deliveries::settle(&mut tx, id, ignored.0, ignored.1, &[])
            .await
            .unwrap();
        let stored = deliveries::get(&mut tx, id).await.unwrap().unwrap().detail;
        assert_eq!(stored.delivery.received_count, 8);
        assert_eq!(stored.delivery.outcome.reason_code, Some(ReasonCode::Ping));
        assert_eq!((stored.body_bytes, stored.body_kept), (2, true));
        // A reason is given exactly where a delivery is ignored.
        assert!(
            deliveries::settle(&mut tx, id, Decision::Accepted, ignored.1, &[])
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_digest_learned_later_shows_in_the_delivery() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        let new = delivery("one");
        deliveries::receive(&mut tx, &new).await.unwrap();
        let made = SeenVersion {
            delivery_id: Some(new.id),
            ..version("v1", None)
        };
        assert!(images::insert(&mut tx, &made, None).await.unwrap());
        let told = Told {
            push: Push {
                registry: "r.io".to_owned(),
                repository: "demo/app".to_owned(),
                tag: "v1".to_owned(),
                digest: None,
                kind: PushKind::New,
                actor: None,
                pushed_at: None,
            },
            image_version_id: Some(made.id),
        };
        deliveries::settle(&mut tx, new.id, Decision::Accepted, None, &[told])
            .await
            .unwrap();
        images::learn(&mut tx, made.id, &digest(5)).await.unwrap();
        let stored = deliveries::get(&mut tx, new.id).await.unwrap().unwrap();
        assert_eq!(stored.versions, [made.id]);
        let images = stored.detail.delivery.outcome.images;
        assert_eq!(images[0].digest, Some(digest(5)));
        // What a version came from stays, without its body.
        let after = tx.now() + TimeDelta::days(1);
        let expired = deliveries::expire(&mut tx, after, 10).await.unwrap();
        assert_eq!(
            expired,
            Expired {
                deleted: 0,
                emptied: 1
            }
        );
        assert_eq!(deliveries::body(&mut tx, new.id).await.unwrap(), None);
        let nothing = deliveries::expire(&mut tx, after, 10).await.unwrap();
        assert_eq!(nothing, Expired::default());
    }
}

#[tokio::test]
async fn platforms_are_found_once_each_however_many_devices_have_them() {
    for test in stores().await {
        let store = &test.store;
        let devices = fleet::add(store, "north", 0..9, &["r.io/demo/app:v1"]).await;
        let mut tx = store.begin().await.unwrap();
        assert!(image_facts::platforms(&mut tx).await.unwrap().is_empty());
        for (n, device) in devices.iter().enumerate().skip(1) {
            let platform = ["linux/amd64", "linux/arm64"][n % 2];
            tx.sql("UPDATE devices SET platform = $1 WHERE uuid = $2")
                .bind(platform.to_owned())
                .bind(device.0)
                .execute()
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        fleet::tag(store, devices[0], "platform", "linux/arm/v7").await;
        fleet::tag(store, devices[1], "platform", "linux/amd64").await;
        fleet::tag(store, devices[2], "other", "linux/386").await;
        let mut read = store.read().await.unwrap();
        let found = image_facts::platforms(&mut read).await.unwrap();
        assert_eq!(found, ["linux/amd64", "linux/arm/v7", "linux/arm64"]);
    }
}

/// Makes a rollout of a digest by hand; of one that a tag turned out to name where `known`.
async fn rollout(tx: &mut Session, of: &Digest, known: bool, status: &str) {
    let now = tx.now();
    let column = if known { "known_digest" } else { "digest" };
    let over = if status == "completed" { "$2" } else { "NULL" };
    tx.built(format!(
        "INSERT INTO image_rollouts (id, created_at, finished_at, repository, tag, {column}, strategy, rule, \
         filters, tag_rule, seed, status, batch_count, total_devices, correlation_id, created_by) \
         VALUES ($1, $2, {over}, 'r.io/demo/app', 't', $3, 'auto', '{{}}', '{{}}', '{{}}', 1, '{status}', 1, 1, \
         $1, 'x')"
    ))
    .bind(Uuid::now_v7())
    .bind(now)
    .bind(of.to_string())
    .execute()
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_known_of_an_image_is_forgotten_once_nobody_has_to_do_with_it_any_more() {
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        let store = &test.store;
        let repository: Repository = "r.io/demo/app".parse().unwrap();
        // Its tag named it until it moved; its tag names it.
        let old = version("v1", Some(1));
        assert!(insert(store, &old, None).await);
        assert!(insert(store, &version("v1", Some(2)), Some(old.id)).await);
        // Its tag will move later.
        let moves = version("v2", Some(8));
        assert!(insert(store, &moves, None).await);
        let run = format!("r.io/demo/app:v9@{}", digest(13));
        fleet::add(store, "north", 0..1, &[&run]).await;
        let mut tx = store.begin().await.unwrap();
        for n in 1..=14 {
            let of = digest(n);
            image_facts::want(&mut tx, &repository, &of, old.correlation_id, false)
                .await
                .unwrap();
        }
        let asks = image_facts::take(&mut tx, 100, clock.now()).await.unwrap();
        assert_eq!(asks.len(), 14);
        let told = ImageFacts::default();
        // Of the fourth it is still asked, of the twelfth it is told late.
        for ask in &asks {
            if ask.digest != digest(4) && ask.digest != digest(12) {
                assert!(image_facts::learn(&mut tx, ask, &told).await.unwrap());
            }
        }
        // Signatures of the fifth are looked for without end; of the seventh they were, until not long ago.
        let until = tx.now() + TimeDelta::days(2);
        for n in [5, 7] {
            image_facts::want_signatures(&mut tx, &repository, &digest(n), until, Which::First)
                .await
                .unwrap();
        }
        image_facts::stop_signatures(&mut tx, &repository, &digest(7))
            .await
            .unwrap();
        rollout(&mut tx, &digest(9), false, "in_progress").await;
        rollout(&mut tx, &digest(14), true, "in_progress").await;
        rollout(&mut tx, &digest(11), false, "completed").await;
        tx.commit().await.unwrap();
        let unused = async || -> Vec<u8> {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let mut read = store.read().await.unwrap();
                let before = read.now() - TimeDelta::days(30);
                let page = image_facts::unused(&mut read, before, after.as_ref(), 2).await;
                let page = page.unwrap();
                let digests = page.digests.get(&repository).cloned().unwrap_or_default();
                found.extend((1..=14).filter(|n| digests.contains(&digest(*n))));
                after = page.last;
                if after.is_none() {
                    return found;
                }
            }
        };
        assert!(unused().await.is_empty(), "all are young");
        clock.advance(TimeDelta::days(20));
        assert!(insert(store, &version("v2", Some(2)), Some(moves.id)).await);
        let mut tx = store.begin().await.unwrap();
        let late = asks.iter().find(|ask| ask.digest == digest(12)).unwrap();
        assert!(image_facts::learn(&mut tx, late, &told).await.unwrap());
        image_facts::hurry_signatures(&mut tx, &repository, &digest(6))
            .await
            .unwrap();
        for ask in image_facts::take(&mut tx, 100, clock.now()).await.unwrap() {
            if ask.digest == digest(6) {
                let none = Signatures::default();
                let noted = image_facts::learn_signatures(&mut tx, &ask, &none, None).await;
                assert!(noted.unwrap());
            }
        }
        rollout(&mut tx, &digest(10), false, "completed").await;
        tx.commit().await.unwrap();
        clock.advance(TimeDelta::days(11));
        // Looked through by two: what is to stay keeps nothing from being found.
        assert_eq!(unused().await, [1, 3, 11]);

        // Somebody asks about one of them just then.
        let mut tx = store.begin().await.unwrap();
        image_facts::hurry_signatures(&mut tx, &repository, &digest(3))
            .await
            .unwrap();
        let before = tx.now() - TimeDelta::days(30);
        let all: Vec<Digest> = (1..=14).map(digest).collect();
        let all = BTreeMap::from([(repository.clone(), all)]);
        let gone = image_facts::forget(&mut tx, before, &all).await.unwrap();
        tx.commit().await.unwrap();
        // What a device runs is left out before.
        assert_eq!(gone, 3);
        let mut session = store.read().await.unwrap();
        for n in 1..=14 {
            let known = image_facts::get(&mut session, &repository, &digest(n)).await;
            assert_eq!(known.unwrap().is_none(), [1, 11, 13].contains(&n), "{n}");
        }
    }
}

#[tokio::test]
async fn signatures_are_looked_for_while_a_rollout_is_paused_for_want_of_them() {
    for test in stores().await {
        let repository = "r.io/demo/app".parse().unwrap();
        let (of, correlation) = (digest(1), CorrelationId(Uuid::now_v7()));
        let mut tx = test.store.begin().await.unwrap();
        image_facts::want(&mut tx, &repository, &of, correlation, false)
            .await
            .unwrap();
        let until = tx.now();
        image_facts::want_signatures(&mut tx, &repository, &of, until, Which::First)
            .await
            .unwrap();
        rollout(&mut tx, &of, false, "paused").await;
        for (reason, looked_for) in [("'unsigned'", true), ("'operator'", false)] {
            tx.built(format!(
                "UPDATE image_rollouts SET status_reason = {reason}"
            ))
            .execute()
            .await
            .unwrap();
            image_facts::stop_signatures(&mut tx, &repository, &of)
                .await
                .unwrap();
            let known = image_facts::get(&mut tx, &repository, &of).await.unwrap();
            let next = known.unwrap().next_signature_at;
            assert_eq!(next.is_some(), looked_for, "{reason}");
        }
    }
}

#[tokio::test]
async fn what_was_passed_over_before_policy_and_target_were_there_is_planned_anew_once() {
    for test in stores_with(Clock::manual(Clock::System.now())).await {
        let store = &test.store;
        let device = fleet::add(store, "local", 0..1, &["r.io/demo/app:edge"]).await[0];
        let mut seen = Vec::new();
        for (at, (tag, decision)) in [
            ("edge", "no_policy"),
            ("stable", "no_devices"),
            ("bad", "quarantined"),
        ]
        .into_iter()
        .enumerate()
        {
            let version = version(tag, Some(u8::try_from(at).unwrap()));
            assert!(insert(store, &version, None).await);
            seen.push(version.id);
            let mut tx = store.begin().await.unwrap();
            assert!(
                plans::take_version(&mut tx, version.id)
                    .await
                    .unwrap()
                    .is_some()
            );
            plan(&mut tx, version.id, decision).await;
            tx.commit().await.unwrap();
        }
        let all = async || {
            let mut read = store.read().await.unwrap();
            let repository = "r.io/demo/app".parse().unwrap();
            let passed = plans::passed_over(&mut read, &repository, "p", device).await;
            passed.unwrap()
        };
        let passed = async || -> Vec<ImageVersionId> {
            let all = all().await;
            all.into_iter().map(|version| version.id).collect()
        };
        assert_eq!(passed().await, [], "there is no policy");
        store.clock().advance(TimeDelta::seconds(1));
        let spec = json!({"name": "p", "image": "r.io/demo/app", "strategy": "auto"});
        let mut tx = store.begin().await.unwrap();
        let spec = serde_json::from_value(spec).unwrap();
        let id = PolicyId(Uuid::now_v7());
        policies::create(&mut tx, id, &spec, "watch-mode")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(passed().await, seen[..2]);

        let first = all().await.remove(0);
        assert_eq!(first.policy, id);
        let mut tx = store.begin().await.unwrap();
        assert!(plans::reopen(&mut tx, &first).await.unwrap());
        assert!(!plans::reopen(&mut tx, &first).await.unwrap());
        tx.commit().await.unwrap();
        let mut read = store.read().await.unwrap();
        let open = plans::open_versions(&mut read, 3, None, 10).await.unwrap();
        assert_eq!(open, seen[..1]);
        drop(read);
        assert_eq!(passed().await, seen[1..2]);

        // Decided again, with the policy there, it is what it is.
        let mut tx = store.begin().await.unwrap();
        let taken = plans::take_version(&mut tx, seen[0]).await.unwrap();
        assert_eq!(taken.unwrap().only, Some(id), "it is for nobody else");
        let (before, position) = plans::decided(&mut tx, seen[0]).await.unwrap();
        assert_eq!((before.len(), position), (0, 0));
        plan(&mut tx, seen[0], "no_devices").await;
        tx.commit().await.unwrap();
        assert_eq!(passed().await, seen[1..2]);
    }
}
