//! Joins look-ups of single devices into statements for many.
//!
//! A poll that brings news is answered from the store, and a device that is not in memory is looked for there.
//! With a statement for each, the moment at which a rollout wakes ten thousand devices would be ten thousand
//! statements. A look-up goes at once while fewer than [`MOST`] statements run; those that come meanwhile go
//! together when one has ended. So a lone one waits for nobody, and groups grow by themselves.
//!
//! A look-up never joins a statement that has begun: what it is told is as new as its question.

use prometheus::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use windlass_service::Problem;
use windlass_service::problem::chain;
use windlass_store::Error;
use windlass_types::ids::DeviceId;

/// Statements that run at once for each kind of look-up: what devices ask leaves most connections to the store
/// to everything else.
const MOST: usize = 2;
/// Devices of one statement at most.
const GROUP: usize = 256;
/// How long a look-up may take with the wait for its turn. Devices that are told to come again do so.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be looked up of devices.
pub(crate) trait Ask: Send + Sync + 'static {
    /// What is found of each.
    type Found: Clone + Send + 'static;

    /// Asks the store for these devices, each once; those that are not there are left out.
    fn ask(
        &self,
        devices: &[DeviceId],
    ) -> impl Future<Output = Result<BTreeMap<DeviceId, Self::Found>, Error>> + Send;
}

/// Why nothing can be said now; it is in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Unavailable,
    Failed,
}

type Answer<F> = Result<Option<F>, Refused>;

struct Queue<F> {
    waiting: VecDeque<(DeviceId, oneshot::Sender<Answer<F>>)>,
    running: usize,
}

struct Shared<A: Ask> {
    ask: A,
    patience: Duration,
    sizes: Histogram,
    queue: Mutex<Queue<A::Found>>,
}

/// Look-ups of one kind.
pub(crate) struct Lookups<A: Ask> {
    shared: Arc<Shared<A>>,
    /// Where statements run: not where requests are answered, whose threads end first.
    home: Handle,
}

impl<A: Ask> Lookups<A> {
    /// Those that `ask` makes, on the runtime that this is called on; counts how many devices each is about.
    pub(crate) fn new(ask: A, sizes: Histogram) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            running: 0,
        };
        Self {
            shared: Arc::new(Shared {
                ask,
                patience: PATIENCE,
                sizes,
                queue: Mutex::new(queue),
            }),
            home: Handle::current(),
        }
    }

    /// What is found of this device; none where it is not there.
    ///
    /// # Errors
    /// 503 where the store does not answer in time, 500 where it fails otherwise.
    pub(crate) async fn get(&self, device: DeviceId) -> Result<Option<A::Found>, Problem> {
        let (told, answer) = oneshot::channel();
        if self.shared.join(device, told) {
            self.home.spawn(run(Runs {
                shared: Arc::clone(&self.shared),
                ended: false,
            }));
        }
        match timeout(self.shared.patience, answer).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(Refused::Failed))) => Err(Problem::internal(std::io::Error::other(
                "the device could not be looked up",
            ))),
            // Not in time, or the process ends.
            Ok(Ok(Err(Refused::Unavailable)) | Err(_)) | Err(_) => Err(Problem::Unavailable(None)),
        }
    }
}

impl<A: Ask> Shared<A> {
    fn queue(&self) -> MutexGuard<'_, Queue<A::Found>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; returns whether another statement may run for it.
    fn join(&self, device: DeviceId, told: oneshot::Sender<Answer<A::Found>>) -> bool {
        let mut queue = self.queue();
        queue.waiting.push_back((device, told));
        let room = queue.running < MOST;
        queue.running += usize::from(room);
        room
    }
}

/// Those who wait for each device of a group.
type Group<F> = BTreeMap<DeviceId, Vec<oneshot::Sender<Answer<F>>>>;

/// A place among the statements that run, given back however it ends.
struct Runs<A: Ask> {
    shared: Arc<Shared<A>>,
    ended: bool,
}

impl<A: Ask> Runs<A> {
    /// The next group, without those who have left. None where nobody waits; the place is given back under the
    /// same lock, or who joins in between would wait for a statement that never runs.
    fn next(&mut self) -> Option<Group<A::Found>> {
        let mut queue = self.shared.queue();
        let mut group = Group::new();
        while group.len() < GROUP {
            let Some((device, told)) = queue.waiting.pop_front() else {
                break;
            };
            if !told.is_closed() {
                group.entry(device).or_default().push(told);
            }
        }
        if group.is_empty() {
            queue.running -= 1;
            self.ended = true;
            return None;
        }
        Some(group)
    }
}

impl<A: Ask> Drop for Runs<A> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.queue().running -= 1;
        }
    }
}

async fn run<A: Ask>(mut runs: Runs<A>) {
    while let Some(group) = runs.next() {
        let devices: Vec<DeviceId> = group.keys().copied().collect();
        runs.shared.sizes.observe(devices.len() as f64);
        let outcome = found(&runs.shared, &devices).await;
        for (device, waiting) in group {
            let answer = match &outcome {
                Ok(found) => Ok(found.get(&device).cloned()),
                Err(refused) => Err(*refused),
            };
            for told in waiting {
                // Whoever has left meanwhile needs no answer.
                told.send(answer.clone()).ok();
            }
        }
    }
}

async fn found<A: Ask>(
    shared: &Shared<A>,
    devices: &[DeviceId],
) -> Result<BTreeMap<DeviceId, A::Found>, Refused> {
    // A connection on which nothing comes back any more is not to hold a place for ever.
    let Ok(outcome) = timeout(shared.patience, shared.ask.ask(devices)).await else {
        tracing::warn!(
            devices = devices.len(),
            "a look-up of devices took too long"
        );
        return Err(Refused::Unavailable);
    };
    outcome.map_err(|error| {
        tracing::warn!(
            devices = devices.len(),
            error = %chain(&error),
            "devices could not be looked up"
        );
        if error.is_transient() {
            Refused::Unavailable
        } else {
            Refused::Failed
        }
    })
}

#[cfg(test)]
mod tests;
