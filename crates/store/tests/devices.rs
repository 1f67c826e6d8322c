//! Devices, their registration, reports, presence and logs, on both databases.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::{TimeDelta, Utc};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_store::devices::{self, DeviceFilter};
use windlass_store::provisioning::{self, NewDevice, Registration, Revocation};
use windlass_store::reports::{self, Taken, Versions};
use windlass_store::{
    Clock, ConstraintKind, Error, Session, Store, api_keys, logs, presence, targets,
};
use windlass_testkit::stores;
use windlass_types::api::DevicePatch;
use windlass_types::device::ProvisioningKey;
use windlass_types::ids::{DeviceId, ProvisioningKeyId, StateId};
use windlass_types::observation::Observation;
use windlass_types::target::TargetState;

const STATE: StateId = StateId(Uuid::from_u128(7));

/// A key of fleet `f` for this many devices.
async fn key(store: &Store, max_devices: i64) -> ProvisioningKeyId {
    let mut tx = store.begin().await.unwrap();
    devices::ensure_fleet(&mut tx, &"f".parse().unwrap())
        .await
        .unwrap();
    targets::ensure_states(&mut tx, &BTreeMap::from([(STATE, TargetState::default())]))
        .await
        .unwrap();
    let key = ProvisioningKey {
        id: ProvisioningKeyId(Uuid::now_v7()),
        key: None,
        fleet_id: "f".parse().unwrap(),
        max_devices,
        devices: 0,
        description: String::new(),
        expires_at: tx.now() + TimeDelta::days(1),
        revoked_at: None,
        created_at: tx.now(),
    };
    provisioning::create(&mut tx, &key, key.id.0.as_bytes())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    key.id
}

fn new_device(uuid: Uuid) -> NewDevice {
    NewDevice {
        uuid: DeviceId(uuid),
        name: "d".to_owned(),
        device_type: "standalone".to_owned(),
        key_hash: uuid.as_bytes().to_vec(),
        mac_address: None,
        os_version: None,
        time_zone: None,
        agent_version: None,
        application_id: None,
        shuffle: 1,
    }
}

async fn register(store: &Store, key: ProvisioningKeyId, device: &NewDevice) -> Registration {
    let mut tx = store.begin().await.unwrap();
    let registration = provisioning::register(&mut tx, key, device, STATE)
        .await
        .unwrap();
    if matches!(registration, Registration::Made(_)) {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    registration
}

async fn some_devices(store: &Store, count: u128) -> Vec<DeviceId> {
    let key = key(store, 1000).await;
    let mut made = Vec::new();
    for n in 1..=count {
        let device = new_device(Uuid::from_u128(n));
        assert!(matches!(
            register(store, key, &device).await,
            Registration::Made(_)
        ));
        made.push(device.uuid);
    }
    made
}

async fn session(store: &Store) -> Session {
    store.read().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_registers_no_more_devices_than_it_may_however_many_try_at_once() {
    for test in stores().await {
        let key = key(&test.store, 5).await;
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let store = test.store.clone();
            racers.spawn(async move { register(&store, key, &new_device(Uuid::new_v4())).await });
        }
        let outcomes = racers.join_all().await;
        let made = outcomes
            .iter()
            .filter(|o| matches!(o, Registration::Made(_)))
            .count();
        let refused = outcomes
            .iter()
            .filter(|o| matches!(o, Registration::NotAllowed))
            .count();
        assert_eq!((made, refused), (5, 15), "{:?}", test.store.kind());
        let mut read = session(&test.store).await;
        let keys = provisioning::list(&mut read, None, None, 10).await.unwrap();
        assert_eq!(keys[0].devices, 5);
        let all = devices::list(&mut read, &DeviceFilter::default(), None, 100)
            .await
            .unwrap();
        assert_eq!(all.len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_that_registers_many_times_at_once_is_made_once_and_takes_one_place() {
    for test in stores().await {
        let key = key(&test.store, 5).await;
        let device = new_device(Uuid::new_v4());
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (store, device) = (test.store.clone(), device.clone());
            racers.spawn(async move { register(&store, key, &device).await });
        }
        let outcomes = racers.join_all().await;
        let made = outcomes
            .iter()
            .filter(|o| matches!(o, Registration::Made(_)))
            .count();
        assert_eq!(made, 1, "{outcomes:?}");
        let mut read = session(&test.store).await;
        let keys = provisioning::list(&mut read, Some(&"f".parse().unwrap()), None, 10)
            .await
            .unwrap();
        assert_eq!(keys[0].devices, 1);
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_or_has_expired_registers_nobody() {
    let clock = Clock::manual(Utc::now());
    for test in windlass_testkit::stores_with(clock.clone()).await {
        let (revoked, expired) = (key(&test.store, 5).await, key(&test.store, 5).await);
        let mut tx = test.store.begin().await.unwrap();
        for expected in [Revocation::Now, Revocation::Before] {
            let done = provisioning::revoke(&mut tx, revoked).await.unwrap();
            assert_eq!(done, expected);
        }
        let unknown = ProvisioningKeyId(Uuid::now_v7());
        let done = provisioning::revoke(&mut tx, unknown).await.unwrap();
        assert_eq!(done, Revocation::Unknown);
        tx.commit().await.unwrap();
        let device = new_device(Uuid::new_v4());
        assert_eq!(
            register(&test.store, revoked, &device).await,
            Registration::NotAllowed
        );
        clock.advance(TimeDelta::days(2));
        assert_eq!(
            register(&test.store, expired, &device).await,
            Registration::NotAllowed
        );
    }
}

#[tokio::test]
async fn another_devices_key_cannot_be_taken() {
    for test in stores().await {
        let key = key(&test.store, 5).await;
        let one = new_device(Uuid::new_v4());
        let other = NewDevice {
            uuid: DeviceId(Uuid::new_v4()),
            ..one.clone()
        };
        assert!(matches!(
            register(&test.store, key, &one).await,
            Registration::Made(_)
        ));
        assert_eq!(
            register(&test.store, key, &other).await,
            Registration::Taken
        );
    }
}

#[tokio::test]
async fn devices_are_listed_page_by_page_and_by_fleet_tags_and_switch() {
    for test in stores().await {
        let all = some_devices(&test.store, 5).await;
        let mut tx = test.store.begin().await.unwrap();
        let patch = DevicePatch {
            fleet: Some("other".parse().unwrap()),
            tags: Some(
                [("site", "a"), ("ring", "1")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            ),
            enabled: Some(false),
            ..DevicePatch::default()
        };
        assert!(devices::update(&mut tx, all[1], &patch).await.unwrap());
        let tag = |value: &str| BTreeMap::from([("site".to_owned(), value.to_owned())]);
        let only_tags = DevicePatch {
            tags: Some(tag("a")),
            ..DevicePatch::default()
        };
        assert!(devices::update(&mut tx, all[3], &only_tags).await.unwrap());
        let unknown = DeviceId(Uuid::new_v4());
        assert!(!devices::update(&mut tx, unknown, &patch).await.unwrap());
        tx.commit().await.unwrap();
        let mut read = session(&test.store).await;
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = devices::list(&mut read, &DeviceFilter::default(), after, 2)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.uuid);
            pages.extend(page.iter().map(|d| d.uuid));
        }
        assert_eq!(pages, all);
        for (filter, expected) in [
            (
                DeviceFilter {
                    fleet: Some("other".parse().unwrap()),
                    ..DeviceFilter::default()
                },
                vec![all[1]],
            ),
            (
                DeviceFilter {
                    tags: tag("a"),
                    ..DeviceFilter::default()
                },
                vec![all[1], all[3]],
            ),
            (
                DeviceFilter {
                    tags: tag("a"),
                    enabled: Some(true),
                    ..DeviceFilter::default()
                },
                vec![all[3]],
            ),
            (
                DeviceFilter {
                    tags: tag("b"),
                    ..DeviceFilter::default()
                },
                vec![],
            ),
        ] {
            let found = devices::list(&mut read, &filter, None, 10).await.unwrap();
            let found: Vec<_> = found.iter().map(|d| d.uuid).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
        let one = devices::get(&mut read, all[1]).await.unwrap().unwrap();
        assert_eq!(
            (one.tags.len(), one.enabled, one.name.as_str()),
            (2, false, "d")
        );
        let fleets = devices::fleets(&mut read, None, 10).await.unwrap();
        let counts: Vec<_> = fleets.iter().map(|f| (f.id.as_str(), f.devices)).collect();
        assert_eq!(counts, [("f", 4), ("other", 1)]);
    }
}

#[tokio::test]
async fn credentials_come_page_by_page_and_by_device() {
    for test in stores().await {
        let all = some_devices(&test.store, 3).await;
        let mut read = session(&test.store).await;
        let first = devices::credentials_page(&mut read, None, 2).await.unwrap();
        let rest = devices::credentials_page(&mut read, Some(first[1].device), 2)
            .await
            .unwrap();
        assert_eq!(first[0].device, all[0]);
        assert_eq!((first.len(), rest.len()), (2, 1));
        assert_eq!((rest[0].version, rest[0].enabled), (1, true));
        let unknown = DeviceId(Uuid::new_v4());
        let found = devices::credentials(&mut read, &[unknown, all[2]])
            .await
            .unwrap();
        assert_eq!(found, rest);
        let asked = [unknown, all[0], all[2]];
        let mut targets = devices::targets_of(&mut read, &asked).await.unwrap();
        targets.sort_unstable();
        let mut expected = vec![(all[0], 1, STATE), (all[2], 1, STATE)];
        expected.sort_unstable();
        assert_eq!(targets, expected);
        assert_eq!(devices::targets_of(&mut read, &[]).await.unwrap(), vec![]);
    }
}

fn taken(device: DeviceId, revision: Option<i64>, n: i64) -> Taken {
    Taken {
        device,
        revision,
        report: (&json!({"version": n})).into(),
        report_id: None,
        said_time_zone: None,
        observation: Observation {
            version_received: Some(n),
            ..Observation::default()
        },
    }
}

#[tokio::test]
async fn reports_and_versions_are_stored_in_one_statement_each() {
    for test in stores().await {
        let all = some_devices(&test.store, 3).await;
        for n in [1, 2] {
            let mut tx = test.store.begin().await.unwrap();
            let unknown = DeviceId(Uuid::new_v4());
            let before = reports::before(&mut tx, &[all[2], unknown, all[0], all[0]])
                .await
                .unwrap();
            assert_eq!(before.keys().copied().collect::<Vec<_>>(), [all[0], all[2]]);
            let seen = before[&all[0]].observation.version_received;
            assert_eq!(seen, (n == 2).then_some(1));
            let revision = before[&all[0]].revision;
            assert_eq!(revision, (n == 2).then_some(1));
            let both = vec![taken(all[2], revision, n), taken(all[0], revision, n)];
            let overtaken = reports::store(&mut tx, both).await.unwrap();
            assert_eq!(overtaken, [].into());
            let versions = |device, agent: Option<&str>| Versions {
                agent: agent.map(str::to_owned),
                ..Versions::same(device)
            };
            let agent = (n == 1).then_some("1.0.84");
            reports::set_versions(&mut tx, &[versions(all[0], agent), versions(all[2], None)])
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        let mut read = session(&test.store).await;
        let state = reports::get(&mut read, all[2]).await.unwrap().unwrap();
        assert_eq!(state.report, Some(json!({"version": 2})));
        assert!(reports::get(&mut read, all[1]).await.unwrap().is_none());
        // What was not said anew stays.
        let device = devices::get(&mut read, all[0]).await.unwrap().unwrap();
        assert_eq!(device.agent_version.as_deref(), Some("1.0.84"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_take_in_reports_of_one_device_see_each_others_work() {
    for test in stores().await {
        let device = some_devices(&test.store, 1).await[0];
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let store = test.store.clone();
            racers.spawn(async move {
                loop {
                    let mut tx = store.begin().await.unwrap();
                    let known = reports::before(&mut tx, &[device]).await.unwrap();
                    let known = &known[&device];
                    let seen = known.observation.version_received.unwrap_or(0);
                    let next = vec![taken(device, known.revision, seen + 1)];
                    if reports::store(&mut tx, next).await.unwrap().is_empty() {
                        tx.commit().await.unwrap();
                        return;
                    }
                }
            });
        }
        racers.join_all().await;
        let mut read = session(&test.store).await;
        let state = reports::get(&mut read, device).await.unwrap().unwrap();
        assert_eq!(state.observation.version_received, Some(20));
    }
}

#[tokio::test]
async fn what_another_has_written_since_it_was_read_is_left_alone_and_told() {
    for test in stores().await {
        let all = some_devices(&test.store, 3).await;
        let write = async |taken| {
            let mut tx = test.store.begin().await.unwrap();
            let overtaken = reports::store(&mut tx, taken).await.unwrap();
            tx.commit().await.unwrap();
            overtaken
        };
        let first = vec![taken(all[0], None, 1), taken(all[1], None, 1)];
        assert_eq!(write(first).await, [].into());
        let again = vec![
            taken(all[0], Some(1), 2),
            taken(all[1], None, 2),
            taken(all[2], None, 2),
        ];
        assert_eq!(write(again).await, [all[1]].into());
        assert_eq!(
            write(vec![taken(all[0], Some(1), 3)]).await,
            [all[0]].into()
        );
        let mut read = session(&test.store).await;
        for (device, version) in [(all[0], 2), (all[1], 1), (all[2], 2)] {
            let state = reports::get(&mut read, device).await.unwrap().unwrap();
            assert_eq!(state.observation.version_received, Some(version));
        }
        drop(read);
        // A device that is gone: one that had reported counts as overtaken, the first report of one is refused.
        let mut tx = test.store.begin().await.unwrap();
        for device in [all[0], all[1]] {
            devices::delete(&mut tx, device, "test", "gone")
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(
            write(vec![taken(all[0], Some(2), 4)]).await,
            [all[0]].into()
        );
        let mut tx = test.store.begin().await.unwrap();
        let refused = match reports::store(&mut tx, vec![taken(all[1], None, 4)]).await {
            Err(error) => error,
            Ok(_) => panic!("there is no such device"),
        };
        assert!(
            matches!(refused, Error::Constraint(ConstraintKind::Reference, _)),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn presence_is_never_made_older() {
    for test in stores().await {
        let all = some_devices(&test.store, 2).await;
        let now = test.store.clock().now();
        let earlier = now - TimeDelta::milliseconds(1500);
        for times in [
            vec![(all[0], earlier), (all[1], now)],
            vec![(all[1], earlier), (all[0], now), (all[0], earlier)],
            vec![],
        ] {
            let mut tx = test.store.begin().await.unwrap();
            presence::seen(&mut tx, &times).await.unwrap();
            tx.commit().await.unwrap();
        }
        let mut read = session(&test.store).await;
        for device in all {
            assert_eq!(
                presence::last_seen(&mut read, device).await.unwrap(),
                Some(now)
            );
            let shown = devices::get(&mut read, device).await.unwrap().unwrap();
            assert_eq!(shown.last_seen_at, Some(now));
        }
    }
}

#[tokio::test]
async fn logs_are_listed_latest_first_and_deleted_when_they_are_old() {
    let clock = Clock::manual(Utc::now());
    for test in windlass_testkit::stores_with(clock.clone()).await {
        let device = some_devices(&test.store, 1).await[0];
        for message in ["one", "two", "three"] {
            let mut tx = test.store.begin().await.unwrap();
            let log = logs::NewLog {
                logged_at: tx.now(),
                level: "info".to_owned(),
                message: message.to_owned(),
                service_name: Some("web".to_owned()),
                container_id: None,
                is_stderr: false,
                source: Some(json!({"type": "container"})),
            };
            logs::insert(&mut tx, device, &[log]).await.unwrap();
            tx.commit().await.unwrap();
            clock.advance(TimeDelta::hours(1));
        }
        let mut tx = test.store.begin().await.unwrap();
        let page = logs::list(&mut tx, device, None, 2).await.unwrap();
        let texts: Vec<_> = page.iter().map(|log| log.message.as_str()).collect();
        assert_eq!(texts, ["three", "two"]);
        let rest = logs::list(&mut tx, device, Some(page[1].id), 2)
            .await
            .unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].source, Some(json!({"type": "container"})));
        let old = tx.now() - TimeDelta::minutes(90);
        assert_eq!(logs::delete_before(&mut tx, old, 1).await.unwrap(), 1);
        assert_eq!(logs::delete_before(&mut tx, old, 9).await.unwrap(), 1);
        assert_eq!(logs::list(&mut tx, device, None, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_programs_that_start_at_once_one_makes_the_first_operator_key() {
    for test in stores().await {
        let mut racers = tokio::task::JoinSet::new();
        for n in 0..8_u8 {
            let store = test.store.clone();
            racers.spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let made = api_keys::create_first(&mut tx, Uuid::now_v7(), "admin", &[n])
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                made.then_some(n)
            });
        }
        let made: Vec<u8> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        let mut read = session(&test.store).await;
        let name = api_keys::find(&mut read, &made).await.unwrap();
        assert_eq!(name.as_deref(), Some("admin"));
        assert_eq!(api_keys::find(&mut read, &[200]).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_polls_and_reports_ask_is_found_by_an_index() {
    let test = windlass_testkit::postgres().await;
    let all = some_devices(&test.store, 3).await;
    let mut tx = test.store.begin().await.unwrap();
    // With so few rows PostgreSQL would read them all; forbidden to, it does so only where there is
    // no other way.
    tx.sql("SET LOCAL enable_seqscan = off")
        .execute()
        .await
        .unwrap();
    let before = whole_reads(&mut tx).await;
    devices::targets_of(&mut tx, &all).await.unwrap();
    devices::credentials(&mut tx, &all).await.unwrap();
    devices::credentials_page(&mut tx, Some(all[0]), 2)
        .await
        .unwrap();
    devices::by_key(&mut tx, b"k").await.unwrap();
    devices::get(&mut tx, all[0]).await.unwrap();
    let cursor = windlass_types::event::Cursor { tx: 1, seq: 1 };
    devices::changes_after(&mut tx, cursor, 10).await.unwrap();
    provisioning::find(&mut tx, b"k").await.unwrap();
    provisioning::registered(&mut tx, all[0]).await.unwrap();
    reports::before(&mut tx, &all).await.unwrap();
    for revision in [None, Some(1)] {
        let state = vec![taken(all[0], revision, 1)];
        let overtaken = reports::store(&mut tx, state).await.unwrap();
        assert_eq!(overtaken, [].into());
    }
    let versions = [Versions::same(all[0])];
    reports::set_versions(&mut tx, &versions).await.unwrap();
    let seen = [(all[0], tx.now())];
    presence::seen(&mut tx, &seen).await.unwrap();
    logs::list(&mut tx, all[0], Some(9), 5).await.unwrap();
    let now = tx.now();
    logs::delete_before(&mut tx, now, 5).await.unwrap();
    api_keys::find(&mut tx, b"k").await.unwrap();
    assert_eq!(whole_reads(&mut tx).await, before);
    // The check can fail: for this there is no index.
    tx.sql("SELECT 1 FROM devices WHERE name = 'd'")
        .execute()
        .await
        .unwrap();
    assert_ne!(whole_reads(&mut tx).await, before);
}

/// How often this connection has read each table from end to end.
async fn whole_reads(tx: &mut Session) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = tx
        .sql("SELECT relname::text, seq_scan FROM pg_stat_xact_user_tables WHERE seq_scan > 0")
        .all()
        .await
        .unwrap();
    rows.into_iter().collect()
}
