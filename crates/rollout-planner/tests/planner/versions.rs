//! Which version ships, and what it waits for before it does.

use crate::site::{PATIENCE, Site, running, sites};
use chrono::TimeDelta;
use serde_json::{Value, json};
use windlass_store::image_facts::{self, About, Ask};
use windlass_store::{holds, policies, views};
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::api::{ImageVersion, WaitReason};
use windlass_types::event::EventType;
use windlass_types::ids::{HoldId, ImageVersionId, PolicyId};
use windlass_types::image::ImageReference;
use windlass_types::oci::ImageFacts;
use windlass_types::rollout::{DeviceStatus, RolloutStatus};
use windlass_types::signature::{FoundSignature, SignatureFormat, Signatures};

pub(crate) const TRUSTED: &str = include_str!("../../../core/src/signatures/samples/trusted.pub");
pub(crate) const OTHER: &str = include_str!("../../../core/src/signatures/samples/other.pub");
pub(crate) const PAYLOAD: &str = include_str!("../../../core/src/signatures/samples/simple.json");
pub(crate) const SIGNATURE: &str = include_str!("../../../core/src/signatures/samples/simple.sig");
/// What the sample is a signature of.
pub(crate) const SIGNED: &str = "registry.example:5000/shop/till";

fn app(tag: &str, digit: char) -> String {
    format!("r.io/demo/app:{tag}@{}", digest(digit))
}

fn semver() -> Value {
    json!({"tag": {"type": "semver", "range": "*"}, "strategy": "auto"})
}

async fn version(site: &Site, id: ImageVersionId) -> ImageVersion {
    let mut read = site.test.store.read().await.unwrap();
    let all = views::image_versions(&mut read, None, None, 100)
        .await
        .unwrap();
    all.into_iter().find(|version| version.id == id).unwrap()
}

/// Waits until a version waits for this.
async fn waits(site: &Site, id: ImageVersionId, reason: WaitReason) -> ImageVersion {
    eventually(&format!("it waits: {reason}"), PATIENCE, async || {
        let version = version(site, id).await;
        version.waits.iter().any(|wait| wait.reason == reason)
    })
    .await;
    version(site, id).await
}

/// The question about an image that is due, once it is.
pub(crate) async fn asked(site: &Site, image: &str, about: About) -> Ask {
    let image: ImageReference = image.parse().unwrap();
    let mut found = None;
    eventually("the registry is to be asked", PATIENCE, async || {
        let mut tx = site.test.store.begin().await.unwrap();
        let again = tx.now();
        let asks = image_facts::take(&mut tx, 100, again).await.unwrap();
        tx.commit().await.unwrap();
        found = asks.into_iter().find(|ask| {
            ask.about == about
                && ask.repository == *image.repository()
                && Some(&ask.digest) == image.digest()
        });
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Plays the registry: tells what an image is.
async fn tell(site: &Site, image: &str, facts: &ImageFacts) {
    let ask = asked(site, image, About::Facts).await;
    let mut tx = site.test.store.begin().await.unwrap();
    assert!(image_facts::learn(&mut tx, &ask, facts).await.unwrap());
    site.deps.commit(tx).await.unwrap();
}

/// Plays the registry: tells what signatures there are, or why it does not.
pub(crate) async fn tell_signatures(site: &Site, image: &str, found: Result<&Signatures, &str>) {
    let ask = asked(site, image, About::Signatures).await;
    let mut tx = site.test.store.begin().await.unwrap();
    let again = Some(tx.now());
    let changed = match found {
        Ok(found) => image_facts::learn_signatures(&mut tx, &ask, found, again).await,
        Err(error) => image_facts::in_vain(&mut tx, &ask, error, again).await,
    };
    assert!(changed.unwrap());
    site.deps.commit(tx).await.unwrap();
}

fn runs_on(platforms: &str) -> ImageFacts {
    ImageFacts {
        platforms: windlass_core::platforms::read(platforms),
        ..ImageFacts::default()
    }
}

async fn hold(site: &Site, held: holds::Held, seconds: Option<i64>) -> HoldId {
    let mut tx = site.test.store.begin().await.unwrap();
    let hold = holds::NewHold {
        id: HoldId(uuid::Uuid::now_v7()),
        held,
        reason: "inventory week".to_owned(),
        ends_at: seconds.map(|seconds| tx.now() + TimeDelta::seconds(seconds)),
        actor: "operator:ann".to_owned(),
    };
    holds::create(&mut tx, &hold).await.unwrap();
    site.deps.commit(tx).await.unwrap();
    hold.id
}

#[tokio::test]
async fn an_older_push_inside_the_rule_ships_to_nobody_and_says_why() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:1.2.0"]).await;
        site.policy("stable", semver()).await;
        let newest = site.rollout(&app("1.3.0", 'a')).await;
        site.reaches(newest, RolloutStatus::InProgress, 1).await;
        // While it is under way, and when it is done.
        for (digit, status) in [
            ('b', RolloutStatus::InProgress),
            ('c', RolloutStatus::Completed),
        ] {
            if status == RolloutStatus::Completed {
                site.judge(newest, DeviceStatus::Completed, 10).await;
            }
            site.reaches(newest, status, 1).await;
            let older = site.push(&app("1.2.9", digit)).await;
            let (decision, detail, _) = site.decision(older).await;
            assert_eq!(decision, "below_newest", "{detail}");
            assert!(detail.contains("1.3.0 is newer"), "{detail}");
            assert!(site.targets(&app("1.2.9", digit)).await.is_empty());
        }
        assert_eq!(site.read(newest).await.status, RolloutStatus::Completed);
        // The same, where it is not this policy that has shipped what runs.
        fleet::add(
            &site.test.store,
            "north",
            10..12,
            &["r.io/demo/web:2026.10.1"],
        )
        .await;
        let dated = json!({"image": "r.io/demo/web", "tag": {"type": "calendar"}, "priority": 1});
        site.policy("dated", dated).await;
        let older = site
            .push(&format!("r.io/demo/web:2026.9.30@{}", digest('d')))
            .await;
        let (decision, detail, _) = site.decision(older).await;
        assert_eq!(decision, "downgrade", "{detail}");
    }
}

#[tokio::test]
async fn of_what_was_pushed_together_the_newest_ships() {
    for mut site in sites().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:build-9"]).await;
        let tag = json!({"type": "regex", "pattern": r"^build-(\d+)$", "extract": "$1", "order": "numeric"});
        site.policy("builds", json!({"tag": tag, "strategy": "auto"}))
            .await;
        let mut pushed = Vec::new();
        for (number, digit) in [("10", 'a'), ("102", 'b'), ("99", 'c'), ("11", 'd')] {
            pushed.push(site.push(&app(&format!("build-{number}"), digit)).await);
        }
        site.start().await;
        let mut decided = Vec::new();
        for id in pushed {
            decided.push(site.decision(id).await.0);
        }
        assert_eq!(
            decided,
            ["below_newest", "rollout", "below_newest", "below_newest"]
        );
        assert_eq!(site.told(EventType::RolloutCreated).await, 1);
        // Planning again makes nothing more of it.
        site.sql("UPDATE image_versions SET plan_after = NULL")
            .await;
        site.start().await;
        assert_eq!(site.told(EventType::RolloutCreated).await, 1);
    }
}

#[tokio::test]
async fn what_was_given_up_is_no_newest() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:1.2.0"]).await;
        site.policy(
            "stable",
            json!({"tag": {"type": "semver", "range": "*"}, "strategy": "manual"}),
        )
        .await;
        let bad = site.rollout(&app("1.3.0", 'a')).await;
        site.ordered(bad, windlass_types::rollout::CommandKind::Cancel)
            .await;
        site.reaches(bad, RolloutStatus::Cancelled, 0).await;
        site.rollout(&app("1.2.9", 'b')).await;
    }
}

#[tokio::test]
async fn a_policy_waits_for_an_age_while_another_ships() {
    for site in running().await {
        fleet::add(&site.test.store, "early", 0..2, &["r.io/demo/app:1.0.0"]).await;
        fleet::add(&site.test.store, "late", 10..13, &["r.io/demo/app:1.0.0"]).await;
        let early = json!({"tag": {"type": "semver", "range": "*"}, "priority": 1, "filters": {"fleets": ["early"]}});
        site.policy("early", early).await;
        let late = site
            .policy(
                "late",
                json!({"tag": {"type": "semver", "range": "*"}, "min_age_seconds": 3600}),
            )
            .await;
        let id = site.push(&app("1.1.0", 'a')).await;
        let (decision, _, _) = site.decision(id).await;
        assert_eq!(decision, "rollout");
        let seen = waits(&site, id, WaitReason::TooYoung).await;
        let wait = &seen.waits[0];
        assert_eq!((wait.policy_id, seen.waits.len()), (late, 1));
        assert_eq!(wait.until, Some(seen.seen_at + TimeDelta::hours(1)));
        assert_eq!(site.told(EventType::UpdateWaits).await, 1);
        // A policy that comes meanwhile is for what is pushed from then on.
        site.policy(
            "afterwards",
            json!({"filters": {"fleets": ["nobody"]}, "priority": 9}),
        )
        .await;
        site.advance(3599);
        assert_eq!(version(&site, id).await.plans.len(), 1);
        site.advance(2);
        eventually("the other ships too", PATIENCE, async || {
            version(&site, id).await.plans.len() == 2
        })
        .await;
        let done = version(&site, id).await;
        assert!(done.waits.is_empty(), "{done:?}");
        let all: Vec<(i64, Option<PolicyId>, bool)> = done
            .plans
            .iter()
            .map(|p| (p.position, p.policy_id, p.rollout_id.is_some()))
            .collect();
        assert_eq!(all[1], (1, Some(late), true), "{all:?}");
        let devices = site
            .read(done.plans[1].rollout_id.unwrap())
            .await
            .total_devices;
        assert_eq!(devices, 3, "the early ones are not its own");
    }
}

#[tokio::test]
async fn what_is_held_waits_until_the_end_or_until_that_is_lifted() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:1.0.0"]).await;
        let policy = site.policy("stable", semver()).await;
        let one = hold(&site, holds::Held::Policy(policy), None).await;
        let id = site.push(&app("1.1.0", 'a')).await;
        let held = waits(&site, id, WaitReason::Held).await;
        let detail = &held.waits[0].detail;
        assert_eq!(
            detail,
            "the policy \"stable\" is held by operator:ann: inventory week"
        );
        assert_eq!(held.waits[0].until, None);
        // Of two the longer one counts, and ends.
        hold(
            &site,
            holds::Held::Repository("r.io/demo/app".parse().unwrap()),
            Some(600),
        )
        .await;
        let mut tx = site.test.store.begin().await.unwrap();
        let lifted = holds::lift(&mut tx, one, "operator:bob", "counted")
            .await
            .unwrap();
        assert!(matches!(lifted, holds::Lifted::Done(_)));
        let again = holds::lift(&mut tx, one, "operator:bob", "counted")
            .await
            .unwrap();
        assert!(matches!(again, holds::Lifted::Over(_)));
        site.deps.commit(tx).await.unwrap();
        eventually("it is told until when", PATIENCE, async || {
            let version = version(&site, id).await;
            version
                .waits
                .first()
                .is_some_and(|wait| wait.until.is_some())
        })
        .await;
        assert!(version(&site, id).await.plans.is_empty());
        site.advance(601);
        assert_eq!(site.decision(id).await.0, "rollout");
    }
}

#[tokio::test]
async fn a_policy_that_is_gone_or_takes_the_tag_no_more_waits_for_nothing() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:1.0.0"]).await;
        let mut young = semver();
        young["min_age_seconds"] = json!(3600);
        let policy = site.policy("stable", young).await;
        let first = site.push(&app("1.1.0", 'a')).await;
        waits(&site, first, WaitReason::TooYoung).await;
        let replaced = site.push(&app("1.1.0", 'b')).await;
        assert_eq!(site.decision(first).await.0, "replaced");
        waits(&site, replaced, WaitReason::TooYoung).await;
        let mut tx = site.test.store.begin().await.unwrap();
        policies::delete(&mut tx, policy, None, "operator:ann")
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        let (decision, detail, _) = site.decision(replaced).await;
        assert_eq!(decision, "no_policy", "{detail}");
        assert!(version(&site, replaced).await.waits.is_empty());
    }
}

#[tokio::test]
async fn what_is_not_signed_by_a_key_of_the_policy_never_ships() {
    let image = format!("{SIGNED}:1.1.0@sha256:{}", "ab".repeat(32));
    let signed = |payload: &str| Signatures {
        found: vec![FoundSignature {
            format: SignatureFormat::SimpleSigning,
            payload: base64(payload),
            signature: SIGNATURE.to_owned(),
        }],
        unreadable: Vec::new(),
    };
    for site in running().await {
        fleet::add(
            &site.test.store,
            "north",
            0..2,
            &[&format!("{SIGNED}:1.0.0")],
        )
        .await;
        let rule = json!({"image": SIGNED, "tag": {"type": "semver", "range": "*"},
            "signature": {"require": true, "keys": [OTHER, TRUSTED]}});
        site.policy("signed", rule).await;
        let id = site.push(&image).await;
        waits(&site, id, WaitReason::SignatureUnknown).await;
        tell_signatures(&site, &image, Err("the registry of it does not answer")).await;
        eventually("it says why", PATIENCE, async || {
            version(&site, id).await.waits[0]
                .detail
                .contains("does not answer")
        })
        .await;
        tell_signatures(&site, &image, Ok(&Signatures::default())).await;
        let unsigned = waits(&site, id, WaitReason::Unsigned).await;
        assert_eq!(
            unsigned.waits[0].until,
            Some(unsigned.seen_at + TimeDelta::hours(24))
        );
        tell_signatures(&site, &image, Ok(&signed(&PAYLOAD.replace("42", "43")))).await;
        waits(&site, id, WaitReason::WrongSignature).await;
        // A registry that is away afterwards takes back nothing that was known.
        tell_signatures(&site, &image, Err("away")).await;
        assert!(version(&site, id).await.plans.is_empty());
        tell_signatures(&site, &image, Ok(&signed(PAYLOAD))).await;
        assert_eq!(site.decision(id).await.0, "rollout");
        let mut read = site.test.store.read().await.unwrap();
        let (by,): (Option<String>,) = read
            .sql("SELECT data ->> 'signed_by' FROM events WHERE type = 'image.rollout_created'")
            .one()
            .await
            .unwrap();
        let key = windlass_core::signatures::PublicKey::read(TRUSTED).unwrap();
        assert_eq!(by.as_deref(), Some(key.fingerprint()));
        let (left,): (i64,) = read
            .sql("SELECT COUNT(*) FROM image_facts WHERE next_signature_at IS NOT NULL")
            .one()
            .await
            .unwrap();
        assert_eq!(left, 0, "nobody looks for signatures any more");
    }
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_the_policy_pauses_what_only_it_has_signed() {
    let image = format!("{SIGNED}:1.1.0@sha256:{}", "ab".repeat(32));
    for site in running().await {
        fleet::add(
            &site.test.store,
            "north",
            0..4,
            &[&format!("{SIGNED}:1.0.0")],
        )
        .await;
        let mut rule = json!({"name": "signed", "image": SIGNED, "tag": {"type": "semver", "range": "*"},
            "batches": [{"count": 1}], "strategy": "staged", "batch_delay_seconds": 0, "signature": {"keys": [TRUSTED]}});
        let policy = site.policy("signed", rule.clone()).await;
        let id = site.push(&image).await;
        let good = Signatures {
            found: vec![FoundSignature {
                format: SignatureFormat::SimpleSigning,
                payload: base64(PAYLOAD),
                signature: SIGNATURE.to_owned(),
            }],
            unreadable: Vec::new(),
        };
        tell_signatures(&site, &image, Ok(&good)).await;
        let rollout = site.decision(id).await.2.unwrap();
        site.reaches(rollout, RolloutStatus::InProgress, 1).await;
        rule["signature"]["keys"] = json!([OTHER]);
        let mut tx = site.test.store.begin().await.unwrap();
        let spec = serde_json::from_value(rule).unwrap();
        policies::update(&mut tx, policy, None, &spec, "operator:ann")
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        site.judge(rollout, DeviceStatus::Completed, 10).await;
        let paused = site.reaches(rollout, RolloutStatus::Paused, 1).await;
        assert_eq!(
            paused.status_reason,
            Some(windlass_types::rollout::StatusReason::Unsigned)
        );
        let resumed = site
            .ordered(rollout, windlass_types::rollout::CommandKind::Resume)
            .await;
        assert_eq!(
            resumed.outcome,
            windlass_types::rollout::CommandOutcome::Refused,
            "{resumed:?}"
        );
        assert!(
            resumed
                .detail
                .unwrap()
                .contains("none by a key of the policy")
        );
    }
}

#[tokio::test]
async fn without_a_signature_in_time_it_is_decided_and_a_lower_one_ships_meanwhile() {
    let image = |tag: &str, pair: &str| format!("{SIGNED}:{tag}@sha256:{}", pair.repeat(32));
    let unsigned = image("2.0.0", "cd");
    for site in running().await {
        fleet::add(
            &site.test.store,
            "north",
            0..2,
            &[&format!("{SIGNED}:1.0.0")],
        )
        .await;
        let rule = json!({"image": SIGNED, "tag": {"type": "semver", "range": "*"},
            "signature": {"keys": [TRUSTED]}});
        site.policy("signed", rule).await;
        let id = site.push(&unsigned).await;
        tell_signatures(&site, &unsigned, Ok(&Signatures::default())).await;
        waits(&site, id, WaitReason::Unsigned).await;
        // What waits does not keep back what is ready.
        let lower = image("1.1.0", "ab");
        let ready = site.push(&lower).await;
        let good = Signatures {
            found: vec![FoundSignature {
                format: SignatureFormat::SimpleSigning,
                payload: base64(PAYLOAD),
                signature: SIGNATURE.to_owned(),
            }],
            unreadable: Vec::new(),
        };
        tell_signatures(&site, &lower, Ok(&good)).await;
        assert_eq!(site.decision(ready).await.0, "rollout");
        site.advance(24 * 3600 + 1);
        let (decision, detail, _) = site.decision(id).await;
        assert_eq!(decision, "unsigned", "{detail}");
        assert!(detail.contains("none came within 24 hours"), "{detail}");
    }
}

#[tokio::test]
async fn devices_that_cannot_run_an_image_are_left_out_and_unknown_ones_go() {
    for site in running().await {
        let store = &site.test.store;
        let devices = fleet::add(store, "north", 0..5, &["r.io/demo/app:1.0.0"]).await;
        for (device, platform) in devices.iter().zip([
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64/v8",
            "linux/arm64",
        ]) {
            site.sql(&format!(
                "UPDATE devices SET platform = '{platform}' WHERE uuid = {}",
                literal(&site, device.0)
            ))
            .await;
        }
        // An operator knows better than the device.
        fleet::tag(store, devices[3], "platform", "linux/arm/v6").await;
        site.policy("stable", semver()).await;
        let image = app("1.1.0", 'a');
        let id = site.push(&image).await;
        waits(&site, id, WaitReason::PlatformsUnknown).await;
        tell(&site, &image, &runs_on("linux/amd64,linux/arm/v6")).await;
        let (decision, detail, rollout) = site.decision(id).await;
        assert_eq!(decision, "rollout", "{detail}");
        let mut read = store.read().await.unwrap();
        let skipped: Vec<(uuid::Uuid, String)> = read
            .sql("SELECT device_uuid, reason FROM device_rollout_status WHERE rollout_id = $1 AND status = 'skipped'")
            .bind(rollout.unwrap().0)
            .all()
            .await
            .unwrap();
        assert_eq!(skipped, [(devices[2].0, "other_platform".to_owned())]);
        drop(read);
        // Of the known ones none runs it.
        let none = app("1.2.0", 'b');
        let id = site.push(&none).await;
        tell(&site, &none, &runs_on("windows/amd64")).await;
        let (decision, detail, rollout) = site.decision(id).await;
        assert_eq!(decision, "rollout", "the unknown one goes: {detail}");
        let counted = site.counts(rollout.unwrap()).await;
        let skipped: i64 = counted
            .iter()
            .filter(|(_, status, _)| status == "skipped")
            .map(|(_, _, n)| n)
            .sum();
        assert_eq!(skipped, 4, "{counted:?}");
        // A registry that is away is not waited for without end.
        let away = app("1.3.0", 'c');
        let id = site.push(&away).await;
        for _ in 0..3 {
            let ask = asked(&site, &away, About::Facts).await;
            let mut tx = store.begin().await.unwrap();
            let again = Some(tx.now());
            assert!(
                image_facts::in_vain(&mut tx, &ask, "no connection", again)
                    .await
                    .unwrap()
            );
            site.deps.commit(tx).await.unwrap();
        }
        assert_eq!(site.decision(id).await.0, "rollout", "what is known ships");
    }
}

#[tokio::test]
async fn by_build_date_the_last_built_ships_whatever_its_tag_and_time_of_pushing() {
    let built = |minutes: i64| ImageFacts {
        created: Some(
            chrono::DateTime::UNIX_EPOCH + TimeDelta::days(19_999) + TimeDelta::minutes(minutes),
        ),
        ..ImageFacts::default()
    };
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:old"]).await;
        site.policy(
            "latest",
            json!({"tag": {"type": "newest"}, "strategy": "auto"}),
        )
        .await;
        let first = app("zebra", 'a');
        let id = site.push(&first).await;
        waits(&site, id, WaitReason::BuildDateUnknown).await;
        tell(&site, &first, &built(10)).await;
        let (decision, detail, rollout) = site.decision(id).await;
        assert_eq!(decision, "rollout", "{detail}");
        let rollout = rollout.unwrap();
        site.reaches(rollout, RolloutStatus::InProgress, 1).await;
        site.judge(rollout, DeviceStatus::Completed, 10).await;
        site.reaches(rollout, RolloutStatus::Completed, 1).await;
        let older = app("aardvark", 'b');
        let id = site.push(&older).await;
        tell(&site, &older, &built(5)).await;
        let (decision, detail, _) = site.decision(id).await;
        assert_eq!(decision, "below_newest", "{detail}");
        // Built reproducibly: then it is as old as it was seen.
        let undated = app("bear", 'c');
        let id = site.push(&undated).await;
        let epoch = ImageFacts {
            created: Some(chrono::DateTime::UNIX_EPOCH),
            ..ImageFacts::default()
        };
        tell(&site, &undated, &epoch).await;
        assert_eq!(site.decision(id).await.0, "rollout");
    }
}

#[tokio::test]
async fn what_is_no_image_is_left_alone() {
    for site in running().await {
        let devices = fleet::add(&site.test.store, "north", 0..1, &["r.io/demo/app:1.0.0"]).await;
        fleet::tag(&site.test.store, devices[0], "platform", "linux/amd64").await;
        site.policy("stable", semver()).await;
        let chart = app("1.1.0", 'a');
        let id = site.push(&chart).await;
        let artifact = ImageFacts {
            artifact: true,
            ..ImageFacts::default()
        };
        tell(&site, &chart, &artifact).await;
        assert_eq!(site.decision(id).await.0, "not_an_image");
    }
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A uuid as a literal of the site's database.
fn literal(site: &Site, id: uuid::Uuid) -> String {
    match site.test.store.kind() {
        windlass_store::Kind::Postgres => format!("'{id}'"),
        windlass_store::Kind::Sqlite => format!("X'{}'", id.simple()),
    }
}
