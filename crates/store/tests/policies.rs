//! Policies on both databases.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use uuid::Uuid;
use windlass_store::Session;
use windlass_store::policies::{self, Changed};
use windlass_testkit::{fleet, stores};
use windlass_types::event::EventType;
use windlass_types::ids::PolicyId;
use windlass_types::policy::PolicySpec;

fn spec(name: &str, priority: i32, enabled: bool) -> PolicySpec {
    serde_json::from_value(json!({
        "name": name, "image": "r.io/demo/*", "strategy": "staged", "priority": priority,
        "enabled": enabled, "filters": {"fleets": ["north"], "tags": {"a": "b"}},
        "batches": [{"percent": 10}, {"count": 3}], "failure": {"max_failure_rate": 0.29},
    }))
    .unwrap()
}

fn id(number: u128) -> PolicyId {
    PolicyId(Uuid::from_u128(number))
}

async fn make(tx: &mut Session, number: u128, priority: i32, enabled: bool) {
    let spec = spec(&format!("p{number}"), priority, enabled);
    policies::create(tx, id(number), &spec, "operator:ann")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_policy_is_read_as_it_was_written() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        let spec = spec("apps", 7, true);
        let made = policies::create(&mut tx, id(1), &spec, "operator:ann")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut read = test.store.read().await.unwrap();
        assert_eq!(
            policies::get(&mut read, id(1)).await.unwrap(),
            Some(made.clone())
        );
        assert_eq!(
            policies::by_name(&mut read, "apps").await.unwrap(),
            Some(made.clone())
        );
        assert_eq!((made.version, made.spec), (1, spec));
        assert_eq!(policies::get(&mut read, id(2)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_change_is_guarded_by_the_version_that_was_read() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        make(&mut tx, 1, 0, true).await;
        let other = spec("renamed", 3, false);
        let actor = "operator:bob";
        let changed = policies::update(&mut tx, id(1), Some(1), &other, actor)
            .await
            .unwrap();
        let Changed::Done(policy) = changed else {
            panic!("{changed:?}")
        };
        assert_eq!((policy.version, &policy.spec), (2, &other));
        let stale = policies::update(&mut tx, id(1), Some(1), &other, actor)
            .await
            .unwrap();
        assert_eq!(stale, Changed::Stale(2));
        let any = policies::update(&mut tx, id(1), None, &other, actor)
            .await
            .unwrap();
        assert!(matches!(any, Changed::Done(policy) if policy.version == 3));
        let missing = policies::update(&mut tx, id(9), None, &other, actor)
            .await
            .unwrap();
        assert_eq!(missing, Changed::Missing);
        let stale = policies::delete(&mut tx, id(1), Some(2), actor)
            .await
            .unwrap();
        assert_eq!(stale, Changed::Stale(3));
        let done = policies::delete(&mut tx, id(1), Some(3), actor)
            .await
            .unwrap();
        assert_eq!(done, Changed::Done(()));
        let missing = policies::delete(&mut tx, id(1), None, actor).await.unwrap();
        assert_eq!(missing, Changed::Missing);
        tx.commit().await.unwrap();
        let told = fleet::told(&test.store).await;
        let told: Vec<_> = told
            .iter()
            .map(|(kind, actor)| (*kind, actor.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (EventType::PolicyCreated, "operator:ann"),
                (EventType::PolicyUpdated, actor),
                (EventType::PolicyUpdated, actor),
                (EventType::PolicyDeleted, actor),
            ]
        );
    }
}

#[tokio::test]
async fn a_name_is_given_once() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        make(&mut tx, 1, 0, true).await;
        tx.commit().await.unwrap();
        let mut tx = test.store.begin().await.unwrap();
        let again = policies::create(&mut tx, id(2), &spec("p1", 0, true), "x").await;
        assert!(again.unwrap_err().is_unique());
    }
}

#[tokio::test]
async fn policies_are_listed_page_by_page_and_asked_by_priority() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        for (number, priority, enabled) in [(1, 0, true), (2, 5, true), (3, 9, false), (4, 5, true)]
        {
            make(&mut tx, number, priority, enabled).await;
        }
        tx.commit().await.unwrap();
        let mut read = test.store.read().await.unwrap();
        let first = policies::list(&mut read, None, 3).await.unwrap();
        assert_eq!(
            first.items.iter().map(|p| p.id).collect::<Vec<_>>(),
            [id(1), id(2), id(3)]
        );
        let after = first.next.unwrap().parse().unwrap();
        let second = policies::list(&mut read, Some(after), 3).await.unwrap();
        assert_eq!(
            second.items.iter().map(|p| p.id).collect::<Vec<_>>(),
            [id(4)]
        );
        assert_eq!(second.next, None);
        let whole = policies::list(&mut read, None, 4).await.unwrap();
        assert_eq!(whole.next, None, "a full last page is the last");
        let asked = policies::enabled(&mut read).await.unwrap();
        assert_eq!(
            asked.iter().map(|p| p.id).collect::<Vec<_>>(),
            [id(2), id(4), id(1)]
        );
        let all = policies::all(&mut read).await.unwrap();
        assert_eq!(
            all.iter().map(|p| p.id).collect::<Vec<_>>(),
            [id(3), id(2), id(4), id(1)]
        );
    }
}
