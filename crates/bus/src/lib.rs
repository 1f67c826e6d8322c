//! The bus: wake-ups, in one process or between many over Redis pub/sub.
//!
//! * Owns: the connection to Redis. The only crate that names it.
//! * Never: carries facts to our own consumers. A [`Ring`] says that something happened; what
//!   happened is read from the event log. A lost, doubled or late ring costs time, never truth.
//! * Woken by: [`Bus::publish`] after a commit.
//! * Test it with: `scripts/test -p windlass-bus` (a private Redis that the tests kill).

mod redis_bus;

use redis_bus::RedisBus;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use windlass_types::event::{Event, EventType};

pub use redis_bus::{Error, RedisOptions};

/// Rings kept for a subscriber that is busy; beyond them it is told to read everything again.
const BACKLOG: usize = 1024;

/// Something happened; read the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// An event of this type was committed.
    Event(EventType),
    /// Rings may have been lost: read everything.
    Resync,
}

/// How the bus stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Rings arrive.
    Connected,
    /// Redis does not answer; scans take over.
    Disconnected,
}

/// Wake-ups between the parts of Windlass. Clones share the connection.
#[derive(Debug, Clone)]
pub enum Bus {
    /// Inside one process.
    Local(broadcast::Sender<Ring>),
    /// Between processes.
    Redis(RedisBus),
}

impl Bus {
    /// A bus inside one process.
    #[must_use]
    pub fn local() -> Self {
        Self::Local(broadcast::channel(BACKLOG).0)
    }

    /// A bus over Redis. Returns at once; connects, and connects again, until `shutdown`.
    ///
    /// # Errors
    /// [`Error::Url`] for an address that is no Redis address.
    pub fn redis(options: &RedisOptions, shutdown: CancellationToken) -> Result<Self, Error> {
        Ok(Self::Redis(RedisBus::start(
            options,
            broadcast::channel(BACKLOG).0,
            shutdown,
        )?))
    }

    /// Tells everyone of events that were committed. Never fails and never waits for Redis.
    pub fn publish(&self, events: Vec<Event>) {
        match self {
            Self::Local(rings) => ring(rings, events.iter().map(|event| event.kind)),
            Self::Redis(bus) => bus.publish(events),
        }
    }

    /// Rings from now on. Subscribe first, then read the store, so that nothing falls between.
    #[must_use]
    pub fn subscribe(&self) -> Doorbell {
        let rings = match self {
            Self::Local(rings) => rings,
            Self::Redis(bus) => bus.rings(),
        };
        Doorbell {
            rings: rings.subscribe(),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Local(_) => State::Connected,
            Self::Redis(bus) => bus.state(),
        }
    }
}

/// Rings once for each type: a ring says that something happened, not how often, and every ring wakes every
/// loop of the process.
fn ring(rings: &broadcast::Sender<Ring>, kinds: impl Iterator<Item = EventType>) {
    let mut rung = Vec::new();
    for kind in kinds {
        if !rung.contains(&kind) {
            rung.push(kind);
            // No subscriber is no error.
            rings.send(Ring::Event(kind)).ok();
        }
    }
}

/// A subscription.
#[derive(Debug)]
pub struct Doorbell {
    rings: broadcast::Receiver<Ring>,
}

impl Doorbell {
    /// The next ring. Rings lost for want of room become one [`Ring::Resync`]. Pends for ever once
    /// the bus is gone.
    pub async fn next(&mut self) -> Ring {
        match self.rings.recv().await {
            Ok(ring) => ring,
            Err(broadcast::error::RecvError::Lagged(_)) => Ring::Resync,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next ring of one of these types, or a [`Ring::Resync`]; all that wait are taken together.
    pub async fn next_of(&mut self, wanted: &[EventType]) -> Ring {
        loop {
            let ring = self.next().await;
            let matches = match ring {
                Ring::Event(kind) => wanted.contains(&kind),
                Ring::Resync => true,
            };
            if matches {
                return ring;
            }
        }
    }

    /// Forgets the rings that wait; they are about to be answered by one reading of the store.
    pub fn drain(&mut self) {
        self.rings = self.rings.resubscribe();
    }
}
