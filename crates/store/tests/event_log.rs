//! The event log: no holes for its readers, one reader at a time moves a cursor, a restored log goes on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_store::{Store, events};
use windlass_testkit::{eventually, postgres, stores};
use windlass_types::event::{Cursor, EventType, NewEvent};
use windlass_types::ids::{CorrelationId, RolloutId};

const WRITERS: usize = 16;
const TRANSACTIONS: usize = 40;

fn event() -> NewEvent {
    NewEvent::new(EventType::StateChanged, "device")
}

/// A number below `limit`, different each time.
fn random(limit: u64) -> u64 {
    let (_, low) = Uuid::new_v4().as_u64_pair();
    low % limit
}

/// Transactions of one to three events that stay open for a random while before they commit; every
/// fifth one is given up. Returns the numbers of the committed events.
async fn write(store: Store) -> Vec<i64> {
    let mut committed = Vec::new();
    for _ in 0..TRANSACTIONS {
        let mut tx = store.begin().await.unwrap();
        let batch = vec![event(); usize::try_from(1 + random(3)).unwrap()];
        let places = events::append_all(&mut tx, batch).await.unwrap();
        // The random delay is what the test is about: events settle in another order than they are numbered.
        tokio::time::sleep(Duration::from_millis(random(20))).await;
        if random(5) == 0 {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            committed.extend(places.iter().map(|place| place.seq));
        }
    }
    committed
}

/// Follows the log as our consumers do.
async fn follow(store: Store, done: Arc<AtomicBool>) -> Vec<Cursor> {
    let (mut at, mut seen) = (Cursor::default(), Vec::new());
    loop {
        let last_round = done.load(Ordering::SeqCst);
        let mut session = store.read().await.unwrap();
        loop {
            let found = events::after(&mut session, at, 7).await.unwrap();
            let Some(last) = found.last() else { break };
            at = last.id;
            seen.extend(found.iter().map(|event| event.id));
        }
        drop(session);
        if last_round {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

/// Follows the log as one would at first think of: everything numbered above the last one seen.
async fn follow_naively(store: Store, done: Arc<AtomicBool>) -> Vec<i64> {
    let (mut at, mut seen) = (0, Vec::new());
    loop {
        let last_round = done.load(Ordering::SeqCst);
        let found: Vec<(i64,)> = store
            .read()
            .await
            .unwrap()
            .sql("SELECT seq FROM events WHERE seq > $1 ORDER BY seq")
            .bind(at)
            .all()
            .await
            .unwrap();
        at = found.last().map_or(at, |(seq,)| *seq);
        seen.extend(found.iter().map(|(seq,)| *seq));
        if last_round {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until everything committed is settled: a transaction that is open in any database of the
/// cluster, another test's too, holds all readers back.
async fn settled(store: &Store) {
    eventually("all is settled", Duration::from_secs(60), async || {
        let mut session = store.read().await.unwrap();
        let (all, shown): (i64, i64) = session
            .sql("SELECT (SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM settled_events)")
            .one()
            .await
            .unwrap();
        all == shown
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_sees_every_event_once_where_a_naive_one_loses_some() {
    let test = postgres().await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(test.store.clone(), Arc::clone(&done)));
    let naive = tokio::spawn(follow_naively(test.store.clone(), Arc::clone(&done)));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(test.store.clone()));
    }
    let mut committed: Vec<i64> = writers.join_all().await.concat();
    settled(&test.store).await;
    done.store(true, Ordering::SeqCst);
    let (seen, naive) = (reader.await.unwrap(), naive.await.unwrap());

    committed.sort_unstable();
    assert!(seen.is_sorted(), "the order of the log never goes back");
    let mut read: Vec<i64> = seen.iter().map(|place| place.seq).collect();
    read.sort_unstable();
    assert_eq!(read, committed, "every committed event once, nothing else");
    // Were this to hold for the naive reader too, the pair and the view would be needless.
    let naive: BTreeSet<i64> = naive.into_iter().collect();
    let lost = committed.iter().filter(|seq| !naive.contains(seq)).count();
    assert!(
        lost > 0,
        "the naive reader lost nothing: the test is too tame"
    );
    println!("{} events; the naive reader lost {lost}", committed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_either_database_see_every_event_once() {
    for test in stores().await {
        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(follow(test.store.clone(), Arc::clone(&done)));
        let mut writers = JoinSet::new();
        for _ in 0..3 {
            writers.spawn(write(test.store.clone()));
        }
        let mut committed: Vec<i64> = writers.join_all().await.concat();
        settled(&test.store).await;
        done.store(true, Ordering::SeqCst);
        let mut read: Vec<i64> = reader.await.unwrap().iter().map(|p| p.seq).collect();
        committed.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, committed, "{:?}", test.store.kind());
    }
}

#[tokio::test]
async fn an_event_is_hidden_while_an_older_transaction_is_open_and_shown_when_it_ends() {
    let test = postgres().await;
    let mut older = test.store.begin().await.unwrap();
    events::append(&mut older, event()).await.unwrap();
    let mut newer = test.store.begin().await.unwrap();
    events::append(&mut newer, event()).await.unwrap();
    newer.commit().await.unwrap();

    let mut session = test.store.read().await.unwrap();
    let early = events::after(&mut session, Cursor::default(), 10)
        .await
        .unwrap();
    assert_eq!(early, [], "the newer event would leave a hole behind it");
    assert!(events::unsettled_seconds(&mut session).await.unwrap() > 0.0);
    older.commit().await.unwrap();
    settled(&test.store).await;
    let both = events::after(&mut session, Cursor::default(), 10)
        .await
        .unwrap();
    assert_eq!(both.len(), 2);
}

#[tokio::test]
async fn events_come_back_as_they_were_appended_and_in_order() {
    for test in stores().await {
        let (rollout, correlation) = (RolloutId(Uuid::now_v7()), CorrelationId(Uuid::now_v7()));
        let mut tx = test.store.begin().await.unwrap();
        let first = NewEvent::new(EventType::RolloutCreated, "rollout-planner")
            .rollout(rollout, correlation)
            .subject(&"registry/app:v2")
            .data(serde_json::json!({"devices": 3, "text": "a \u{1F680} \"quoted\""}));
        let cause = events::append(&mut tx, first.clone()).await.unwrap();
        // More than one statement's worth.
        let many = vec![event().version(4).caused_by(Some(cause)); 1203];
        let places = events::append_all(&mut tx, many).await.unwrap();
        let published = tx.commit().await.unwrap();
        settled(&test.store).await;

        assert_eq!(places.len(), 1203);
        assert!(places.is_sorted());
        let mut session = test.store.read().await.unwrap();
        let read = events::after(&mut session, Cursor::default(), 5000)
            .await
            .unwrap();
        assert!(read == published, "what is published is what is read");
        assert_eq!(read[0].data, first.data);
        assert_eq!((read[5].version, read[5].causation), (Some(4), Some(cause)));
        let ours = events::of_rollout(&mut session, rollout, Cursor::default(), 10)
            .await
            .unwrap();
        assert_eq!(ours, published[..1]);
        let counts = events::count_by_type(&mut session, correlation)
            .await
            .unwrap();
        assert_eq!(counts, [(EventType::RolloutCreated, 1)]);
        assert_eq!(events::head(&mut session).await.unwrap(), read[1203].id);
    }
}

#[tokio::test]
async fn of_two_replicas_that_move_a_cursor_one_wins() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        let places = events::append_all(&mut tx, vec![event(), event()])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut from = Cursor::default();
        for to in places {
            let mut replicas = JoinSet::new();
            for _ in 0..4 {
                let store = test.store.clone();
                replicas.spawn(async move {
                    let mut tx = store.begin().await.unwrap();
                    let moved = events::advance(&mut tx, "reader", from, to).await.unwrap();
                    if moved {
                        tx.commit().await.unwrap();
                    } else {
                        tx.rollback().await.unwrap();
                    }
                    moved
                });
            }
            let winners = replicas
                .join_all()
                .await
                .into_iter()
                .filter(|won| *won)
                .count();
            assert_eq!(winners, 1, "{:?}", test.store.kind());
            let mut session = test.store.read().await.unwrap();
            assert_eq!(events::cursor(&mut session, "reader").await.unwrap(), to);
            from = to;
        }
    }
}

#[tokio::test]
async fn a_log_restored_into_a_new_cluster_is_read_on_from_each_cursor() {
    let test = postgres().await;
    let mut places = Vec::new();
    for _ in 0..10 {
        let mut tx = test.store.begin().await.unwrap();
        places.push(events::append(&mut tx, event()).await.unwrap());
        tx.commit().await.unwrap();
    }
    let mut tx = test.store.begin().await.unwrap();
    for (consumer, place) in [("half", places[4]), ("done", places[9])] {
        assert!(
            events::advance(&mut tx, consumer, Cursor::default(), place)
                .await
                .unwrap()
        );
    }
    tx.commit().await.unwrap();
    // What a dump of an older, busier cluster looks like in a new one: transaction ids far ahead.
    let mut tx = test.store.begin().await.unwrap();
    for sql in [
        "UPDATE events SET tx = tx + 1000000000000",
        "UPDATE event_cursors SET tx = tx + 1000000000000",
    ] {
        tx.sql(sql).execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut session = test.store.read().await.unwrap();
    let hidden = events::after(&mut session, Cursor::default(), 100)
        .await
        .unwrap();
    assert_eq!(hidden, [], "unsettled for ever, were nothing done");

    // Several programs start at once after the restore.
    let (a, b) = tokio::join!(test.open_again(), test.open_again());
    let mut tx = a.begin().await.unwrap();
    let fresh = events::append(&mut tx, event()).await.unwrap();
    tx.commit().await.unwrap();
    settled(&b).await;
    let mut session = b.read().await.unwrap();
    let mut remaining = async |consumer: &str| -> Vec<i64> {
        let place = events::cursor(&mut session, consumer).await.unwrap();
        let found = events::after(&mut session, place, 100).await.unwrap();
        found.iter().map(|event| event.id.seq).collect()
    };
    let expected: Vec<i64> = places[5..]
        .iter()
        .map(|p| p.seq)
        .chain([fresh.seq])
        .collect();
    assert_eq!(remaining("half").await, expected);
    assert_eq!(remaining("done").await, [fresh.seq]);
}

#[tokio::test]
async fn old_events_can_be_deleted() {
    for test in stores().await {
        let mut tx = test.store.begin().await.unwrap();
        events::append(&mut tx, event()).await.unwrap();
        tx.commit().await.unwrap();
        eventually("the clock moves on", Duration::from_secs(5), async || {
            let mut tx = test.store.begin().await.unwrap();
            let now = tx.now();
            let gone = events::delete_before(&mut tx, now).await.unwrap();
            tx.commit().await.unwrap();
            gone == 1
        })
        .await;
    }
}
