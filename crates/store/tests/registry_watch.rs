//! The watch over registries: who looks, who may ask, and what counts as missed.
#![allow(clippy::unwrap_used, reason = "tests are to fail loudly")]

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_store::registry_budgets::{self, Limit, Spend, Until};
use windlass_store::registry_watch::{self, Known, Looked};
use windlass_store::{Clock, Store, images};
use windlass_testkit::{stores, stores_with};
use windlass_types::delivery::{PushKind, SeenVersion};
use windlass_types::ids::{CorrelationId, ImageVersionId};
use windlass_types::image::{Digest, Repository};

fn repository(name: &str) -> Repository {
    format!("r.io/{name}").parse().unwrap()
}

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
        .parse()
        .unwrap()
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

async fn spend(store: &Store, background: bool, counted: bool, most: i64) -> Option<i64> {
    let mut tx = store.begin().await.unwrap();
    let spend = Spend {
        background,
        counted,
        most,
    };
    let now = tx.now();
    let spent = registry_budgets::spend(&mut tx, "r.io", spend)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    spent.err().map(|until| (until - now).num_seconds())
}

#[tokio::test]
async fn all_replicas_together_spend_no_more_than_a_minutes_budget() {
    for test in stores().await {
        let mut asking = JoinSet::new();
        for _ in 0..40 {
            let store = test.store.clone();
            asking.spawn(async move { spend(&store, false, true, 25).await });
        }
        let answers = asking.join_all().await;
        let let_through = answers.iter().filter(|wait| wait.is_none()).count();
        assert_eq!(let_through, 25);
        assert!(answers.iter().flatten().all(|wait| (0..=60).contains(wait)));
    }
}

#[tokio::test]
async fn a_registry_is_left_alone_until_the_time_it_told() {
    for test in stores_with(Clock::manual(start())).await {
        let store = &test.store;
        assert_eq!(spend(store, true, true, 100).await, None);
        let mut tx = store.begin().await.unwrap();
        let now = tx.now();
        let at = |seconds| Some(now + TimeDelta::seconds(seconds));
        let until = Until {
            all: at(5),
            counted: at(10),
            background: at(20),
            background_counted: at(40),
        };
        let limit = Limit {
            limit: Some(100),
            remaining: Some(7),
            window_seconds: None,
        };
        registry_budgets::told(&mut tx, "r.io", limit, until)
            .await
            .unwrap();
        // An earlier end does not shorten it.
        let earlier = Until {
            all: at(1),
            ..Until::default()
        };
        registry_budgets::told(&mut tx, "r.io", Limit::default(), earlier)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for (seconds, free) in [
            (0, [false, false, false, false]),
            (6, [true, false, false, false]),
            (5, [true, true, false, false]),
            (10, [true, true, true, false]),
            (20, [true, true, true, true]),
        ] {
            store.clock().advance(TimeDelta::seconds(seconds));
            let may = [
                spend(store, false, false, 100).await.is_none(),
                spend(store, false, true, 100).await.is_none(),
                spend(store, true, false, 100).await.is_none(),
                spend(store, true, true, 100).await.is_none(),
            ];
            assert_eq!(may, free, "{seconds} s later");
        }
        let mut session = store.read().await.unwrap();
        let shown = registry_budgets::list(&mut session).await.unwrap();
        assert_eq!((shown[0].limit, shown[0].remaining), (Some(100), Some(7)));
        assert_eq!(shown[0].held_until, None);
    }
}

#[tokio::test]
async fn a_registry_whose_trouble_is_over_is_asked_again_at_once() {
    for test in stores_with(Clock::manual(start())).await {
        let store = &test.store;
        spend(store, true, true, 100).await;
        let mut tx = store.begin().await.unwrap();
        for expected in 1..=3 {
            let failures = registry_budgets::answered(&mut tx, "r.io", true)
                .await
                .unwrap();
            assert_eq!(failures, expected);
        }
        let until = Until {
            background: Some(tx.now() + TimeDelta::minutes(10)),
            ..Until::default()
        };
        registry_budgets::told(&mut tx, "r.io", Limit::default(), until)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(spend(store, true, true, 100).await, Some(600));
        let mut tx = store.begin().await.unwrap();
        assert_eq!(
            registry_budgets::answered(&mut tx, "r.io", false)
                .await
                .unwrap(),
            0
        );
        tx.commit().await.unwrap();
        assert_eq!(spend(store, true, true, 100).await, None);
    }
}

async fn keep(store: &Store, names: &[&str]) -> bool {
    let mut tx = store.begin().await.unwrap();
    let now = tx.now();
    let wanted: BTreeMap<Repository, DateTime<Utc>> =
        names.iter().map(|name| (repository(name), now)).collect();
    let changed = registry_watch::keep(&mut tx, &wanted).await.unwrap();
    tx.commit().await.unwrap();
    changed
}

async fn claim(store: &Store, limit: i64) -> Vec<registry_watch::Claimed> {
    let mut tx = store.begin().await.unwrap();
    let until = tx.now() + TimeDelta::minutes(5);
    let claimed = registry_watch::claim(&mut tx, limit, until).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

async fn looked(store: &Store, claimed: &registry_watch::Claimed, error: Option<&str>) -> bool {
    let mut tx = store.begin().await.unwrap();
    let look = Looked {
        tags: error.is_none().then_some(3),
        error: error.map(str::to_owned),
        next: tx.now() + TimeDelta::minutes(1),
    };
    let done = registry_watch::looked(&mut tx, claimed, &look)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    done
}

#[tokio::test]
async fn each_repository_is_one_replicas_to_look_at() {
    for test in stores().await {
        let names: Vec<String> = (0..30).map(|n| format!("app{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(keep(&test.store, &names).await);
        assert!(!keep(&test.store, &names).await);
        let mut claiming = JoinSet::new();
        for _ in 0..6 {
            let store = test.store.clone();
            claiming.spawn(async move {
                let mut all = Vec::new();
                loop {
                    let claimed = claim(&store, 4).await;
                    if claimed.is_empty() {
                        return all;
                    }
                    all.extend(claimed);
                }
            });
        }
        let all: Vec<_> = claiming.join_all().await.into_iter().flatten().collect();
        let different: BTreeSet<_> = all.iter().map(|one| one.repository.clone()).collect();
        assert_eq!((all.len(), different.len()), (30, 30));
    }
}

#[tokio::test]
async fn a_look_that_took_too_long_is_somebody_elses() {
    for test in stores_with(Clock::manual(start())).await {
        let store = &test.store;
        keep(store, &["app", "other"]).await;
        keep(store, &["app"]).await;
        let slow = claim(store, 10).await;
        assert_eq!(slow.len(), 1, "what is not wanted is not looked at");
        store.clock().advance(TimeDelta::minutes(6));
        let quick = claim(store, 10).await;
        assert!(looked(store, &quick[0], None).await);
        assert!(!looked(store, &slow[0], Some("slow")).await);
        let mut session = store.read().await.unwrap();
        let shown = registry_watch::list(&mut session, None, 10).await.unwrap();
        assert_eq!(shown.len(), 1);
        assert_eq!((shown[0].error.as_deref(), shown[0].tags), (None, Some(3)));
        drop(session);
        store.clock().advance(TimeDelta::minutes(2));
        let again = claim(store, 10).await;
        assert!(again[0].listed_at.is_some());
        assert!(looked(store, &again[0], Some("away")).await);
        store.clock().advance(TimeDelta::minutes(2));
        assert_eq!(claim(store, 10).await[0].failures, 1);
    }
}

#[tokio::test]
async fn tags_are_remembered_as_they_were_seen() {
    for test in stores().await {
        keep(&test.store, &["app"]).await;
        let app = repository("app");
        let one = Known {
            digest: Some(digest(1)),
            doubtful: None,
            gone_at: None,
        };
        let mut tags: BTreeMap<String, Known> = (0..1100)
            .map(|n| (format!("v{n}"), Known::default()))
            .collect();
        tags.insert("latest".to_owned(), one.clone());
        let mut tx = test.store.begin().await.unwrap();
        registry_watch::remember(&mut tx, &app, &tags)
            .await
            .unwrap();
        let moved = Known {
            digest: Some(digest(2)),
            doubtful: Some(digest(1)),
            gone_at: Some(tx.now()),
        };
        let change = [("latest".to_owned(), moved.clone())].into();
        registry_watch::remember(&mut tx, &app, &change)
            .await
            .unwrap();
        tags.insert("latest".to_owned(), moved);
        assert_eq!(registry_watch::known(&mut tx, &app).await.unwrap(), tags);
        tx.commit().await.unwrap();
    }
}

async fn found(store: &Store, tag: &str, endpoint: Option<&str>) -> ImageVersionId {
    let mut tx = store.begin().await.unwrap();
    let version = SeenVersion {
        id: ImageVersionId(Uuid::now_v7()),
        repository: repository("app"),
        tag: tag.to_owned(),
        digest: Some(digest(1)),
        kind: PushKind::New,
        actor: None,
        pushed_at: None,
        seen_at: tx.now(),
        delivery_id: None,
        correlation_id: CorrelationId(Uuid::now_v7()),
        replaced_at: None,
        resolve_attempts: 0,
        resolve_error: None,
    };
    assert!(images::insert(&mut tx, &version, None).await.unwrap());
    let settle_at = tx.now() + TimeDelta::minutes(2);
    registry_watch::found(
        &mut tx,
        version.id,
        &version.repository,
        endpoint,
        settle_at,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    version.id
}

#[tokio::test]
async fn a_webhook_is_missed_only_where_one_should_have_come_and_did_not() {
    for test in stores_with(Clock::manual(start())).await {
        let store = &test.store;
        let told_at = store.clock().now();
        keep(store, &["app"]).await;
        found(store, "nobody-tells", None).await;
        found(store, "missed", Some("main")).await;
        let late = found(store, "late", Some("main")).await;
        let settle = async || {
            let mut tx = store.begin().await.unwrap();
            let missed = registry_watch::settle(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
            missed
        };
        assert_eq!(settle().await, []);
        let mut tx = store.begin().await.unwrap();
        registry_watch::told(&mut tx, late).await.unwrap();
        tx.commit().await.unwrap();
        store.clock().advance(TimeDelta::minutes(3));
        assert_eq!(settle().await, [(repository("app"), "main".to_owned())]);
        assert_eq!(settle().await, []);
        let mut session = store.read().await.unwrap();
        let shown = registry_watch::list(&mut session, None, 10).await.unwrap();
        assert_eq!((shown[0].found, shown[0].missed), (3, 1));
        assert_eq!(shown[0].missed_by.as_deref(), Some("main"));
        // The late one shows that webhooks come.
        assert_eq!(shown[0].webhook_at, Some(told_at));
    }
}

#[tokio::test]
async fn what_something_was_started_from_is_known_where_nothing_else_is() {
    for test in stores_with(Clock::manual(start())).await {
        let store = &test.store;
        let mut tx = store.begin().await.unwrap();
        let (app, tag) = (repository("app"), "stable");
        // What was seen first stays.
        for (named, is_new) in [(digest(1), true), (digest(2), false)] {
            let seeded = registry_watch::seed(&mut tx, &app, tag, &named).await;
            assert_eq!(seeded.unwrap(), is_new);
        }
        let known = registry_watch::known(&mut tx, &app).await.unwrap();
        assert_eq!(known[tag].digest, Some(digest(1)));
        tx.commit().await.unwrap();
        // Nobody looks at it because of that.
        let mut session = store.read().await.unwrap();
        let shown = registry_watch::list(&mut session, None, 10).await.unwrap();
        assert_eq!(shown, []);
    }
}
