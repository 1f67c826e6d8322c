//! Where new ids come from.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// A source of ids (UUIDv7).
#[derive(Debug, Clone, Default)]
pub enum Ids {
    /// Time and chance.
    #[default]
    Random,
    /// The store's time, a number and what is drawn from a seed: the same again for the same seed.
    Seeded {
        /// What they are drawn from.
        seed: u64,
        /// How many there are.
        count: Arc<AtomicU64>,
    },
}

impl Ids {
    /// Ids that are the same again for the same seed and times.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded {
            seed,
            count: Arc::default(),
        }
    }

    /// A new one.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Uuid {
        match self {
            Self::Random => Uuid::now_v7(),
            Self::Seeded { seed, count } => {
                let count = count.fetch_add(1, Ordering::Relaxed);
                let mut text = [0_u8; 16];
                text[..8].copy_from_slice(&seed.to_be_bytes());
                text[8..].copy_from_slice(&count.to_be_bytes());
                let drawn = Sha256::digest(text);
                let mut random = [0_u8; 10];
                random.copy_from_slice(&drawn[..10]);
                // Twelve bits that rise, as UUIDv7 suggests, so that ids of one moment are in order.
                let [.., high, low] = count.to_be_bytes();
                (random[0], random[1]) = (high, low);
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
            }
        }
    }
}
