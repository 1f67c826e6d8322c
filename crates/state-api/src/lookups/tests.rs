use super::*;
use prometheus::HistogramOpts;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_testkit::eventually;

fn device(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(n))
}

/// A store whose statements take as long as a test wants. Of each device it says which version the store had
/// when the statement began; the device 404 is not there, and with the device 500 a statement fails.
struct Slow {
    version: AtomicI64,
    asked: Mutex<Vec<usize>>,
    let_go: tokio::sync::Semaphore,
}

impl Slow {
    fn new(free: usize) -> Arc<Self> {
        Arc::new(Self {
            version: AtomicI64::new(1),
            asked: Mutex::default(),
            let_go: tokio::sync::Semaphore::new(free),
        })
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.lock().unwrap().clone()
    }
}

impl Ask for Arc<Slow> {
    type Found = i64;

    async fn ask(&self, devices: &[DeviceId]) -> Result<BTreeMap<DeviceId, i64>, Error> {
        let version = self.version.load(Ordering::SeqCst);
        self.asked.lock().unwrap().push(devices.len());
        self.let_go.acquire().await.unwrap().forget();
        assert!(!devices.contains(&device(666)), "a fault of the program");
        if devices.contains(&device(500)) {
            return Err(Error::Corrupt {
                column: "x",
                value: "y".to_owned(),
            });
        }
        let there = devices.iter().filter(|asked| **asked != device(404));
        Ok(there.map(|device| (*device, version)).collect())
    }
}

fn lookups(slow: &Arc<Slow>) -> Arc<Lookups<Arc<Slow>>> {
    let sizes = Histogram::with_opts(HistogramOpts::new("x", "x")).unwrap();
    Arc::new(Lookups::new(Arc::clone(slow), sizes))
}

/// Takes every place: one statement after the other begins and does not end.
async fn busy(
    lookups: &Arc<Lookups<Arc<Slow>>>,
    slow: &Slow,
) -> JoinSet<Result<Option<i64>, Problem>> {
    let (before, mut asking) = (slow.asked().len(), JoinSet::new());
    for n in 0..MOST {
        let lookups = Arc::clone(lookups);
        asking.spawn(async move { lookups.get(device(n as u128)).await });
        begun(slow, before + n + 1).await;
    }
    asking
}

/// Asks for these devices at once, and waits until they stand in the queue or their statements run.
async fn ask(
    lookups: &Arc<Lookups<Arc<Slow>>>,
    devices: impl Iterator<Item = u128>,
) -> JoinSet<Result<Option<i64>, Problem>> {
    let mut asking = JoinSet::new();
    for n in devices {
        let lookups = Arc::clone(lookups);
        asking.spawn(async move { lookups.get(device(n)).await });
        tokio::task::yield_now().await;
    }
    asking
}

/// Waits until so many statements have begun.
async fn begun(slow: &Slow, statements: usize) {
    eventually("statements begin", Duration::from_secs(10), async || {
        slow.asked().len() == statements
    })
    .await;
}

#[tokio::test]
async fn a_lone_lookup_waits_for_nobody_and_those_that_come_meanwhile_go_together() {
    let slow = Slow::new(0);
    let lookups = lookups(&slow);
    let mut first = busy(&lookups, &slow).await;
    let rest = ask(&lookups, (0..100).chain(50..100)).await;
    assert_eq!(slow.asked(), vec![1; MOST], "places are taken");
    slow.let_go.add_permits(1);
    begun(&slow, MOST + 1).await;
    assert_eq!(slow.asked()[MOST], 100, "each device once");
    slow.let_go.add_permits(100);
    for answer in rest.join_all().await {
        assert_eq!(answer.unwrap(), Some(1));
    }
    while let Some(answer) = first.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), Some(1));
    }
    // All places are free again.
    lookups.get(device(1)).await.unwrap();
    assert_eq!(lookups.shared.queue().running, 0);
}

#[tokio::test]
async fn an_answer_is_as_new_as_its_question() {
    let slow = Slow::new(0);
    let lookups = lookups(&slow);
    let old = busy(&lookups, &slow).await;
    // A change is committed, and the one who was woken by it asks while older statements still run.
    slow.version.store(2, Ordering::SeqCst);
    let woken = ask(&lookups, 0..1).await;
    slow.let_go.add_permits(100);
    for answer in woken.join_all().await {
        assert_eq!(answer.unwrap(), Some(2));
    }
    for answer in old.join_all().await {
        assert_eq!(answer.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn who_is_not_there_is_told_so_and_a_failure_is_told_to_all_of_its_statement() {
    let slow = Slow::new(0);
    let lookups = lookups(&slow);
    let first = busy(&lookups, &slow).await;
    let some = ask(&lookups, [404, 5].into_iter()).await;
    slow.let_go.add_permits(MOST + 1);
    let mut answers: Vec<_> = some
        .join_all()
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [None, Some(1)]);
    first.join_all().await;
    let first = busy(&lookups, &slow).await;
    let failing = ask(&lookups, [500, 6, 7].into_iter()).await;
    slow.let_go.add_permits(100);
    for answer in failing.join_all().await {
        assert!(matches!(answer, Err(Problem::Internal(_))), "{answer:?}");
    }
    first.join_all().await;
    assert_eq!(lookups.get(device(6)).await.unwrap(), Some(1));
}

#[tokio::test]
async fn who_has_left_is_not_asked_for() {
    let slow = Slow::new(0);
    let lookups = lookups(&slow);
    let first = busy(&lookups, &slow).await;
    let mut gone = ask(&lookups, 10..20).await;
    gone.shutdown().await;
    let stayed = ask(&lookups, 20..23).await;
    slow.let_go.add_permits(100);
    stayed.join_all().await;
    first.join_all().await;
    assert_eq!(slow.asked().last(), Some(&3));
}

#[tokio::test]
async fn a_statement_that_panics_gives_its_place_back() {
    let slow = Slow::new(1000);
    let lookups = lookups(&slow);
    for _ in 0..2 * MOST {
        let answer = lookups.get(device(666)).await;
        assert!(matches!(answer, Err(Problem::Unavailable(None))));
    }
    assert_eq!(lookups.get(device(1)).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_store_that_says_nothing_more_costs_patience_and_no_place_for_ever() {
    let slow = Slow::new(0);
    let mut lookups = lookups(&slow);
    let shared = Arc::get_mut(&mut lookups).and_then(|l| Arc::get_mut(&mut l.shared));
    shared.unwrap().patience = Duration::from_millis(20);
    for _ in 0..2 * MOST {
        let answer = lookups.get(device(1)).await;
        assert!(matches!(answer, Err(Problem::Unavailable(None))));
    }
    slow.let_go.add_permits(100);
    eventually("a place is free", Duration::from_secs(10), async || {
        matches!(lookups.get(device(1)).await, Ok(Some(1)))
    })
    .await;
}
