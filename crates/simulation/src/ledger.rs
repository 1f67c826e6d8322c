//! What the simulation itself keeps of what it saw: the rows as they were after the last
//! transaction, what each device proved, and the log's own story. Each transaction is held against the
//! laws as soon as it is there.

mod admission;
mod compare;
mod look;
mod rollback;

use crate::model::Model;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use windlass_types::event::Cursor;
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::rollout::{DeviceStatus, Rollout, RolloutStatus};
use windlass_types::target::{TargetSource, TargetState};

/// A device's target as stored.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) version: i64,
    pub(crate) state: StateId,
    pub(crate) source: TargetSource,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A device's row in a rollout as stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) status: DeviceStatus,
    pub(crate) batch: i64,
    pub(crate) verdict: Option<String>,
    pub(crate) admitted_at: Option<DateTime<Utc>>,
    pub(crate) check_at: Option<DateTime<Utc>>,
    pub(crate) deadline_at: Option<DateTime<Utc>>,
}

/// A service of a device.
type Service = (DeviceId, i64, i64);

/// The image of a service, and whether only a rollout put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Before {
    image: String,
    by_rollout: bool,
}

/// The image that a person gave a service last, while it still has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ByHand {
    image: String,
    version: i64,
    at: DateTime<Utc>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) model: Model,
    pub(crate) rollouts: BTreeMap<RolloutId, Rollout>,
    pub(crate) rows: BTreeMap<(RolloutId, DeviceId), Stored>,
    pub(crate) targets: BTreeMap<DeviceId, Target>,
    pub(crate) states: BTreeMap<StateId, TargetState>,
    /// The tags and the time zone of each device.
    pub(crate) devices: BTreeMap<DeviceId, Traits>,
    cursor: Cursor,
    looked_at: DateTime<Utc>,
    /// What each service proved healthy on, the latest last.
    proved: BTreeMap<Service, Vec<String>>,
    /// What each service had before a rollout moved it.
    before: BTreeMap<(RolloutId, Service), Before>,
    put_by: BTreeMap<Service, Before>,
    by_hand: BTreeMap<Service, ByHand>,
    /// The rollout that gave a service the image which it has.
    shipped_by: BTreeMap<Service, RolloutId>,
    /// When a device joined a rollout that was there before.
    joined: BTreeMap<(RolloutId, DeviceId), DateTime<Utc>>,
    /// The batches of which somebody was admitted.
    opened: BTreeSet<(RolloutId, i64)>,
    failed: BTreeMap<DeviceId, BTreeSet<String>>,
    /// Devices that were admitted and have not been silent since.
    under_way: BTreeSet<(RolloutId, DeviceId)>,
    admitted: BTreeMap<RolloutId, VecDeque<(DateTime<Utc>, i64)>>,
    /// The last events, for people.
    pub(crate) last: VecDeque<String>,
    pub(crate) events: u64,
}

/// What limits and windows ask of a device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traits {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Ledger {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self {
            model: Model::default(),
            rollouts: BTreeMap::new(),
            rows: BTreeMap::new(),
            targets: BTreeMap::new(),
            states: BTreeMap::new(),
            devices: BTreeMap::new(),
            cursor: Cursor::default(),
            looked_at: now,
            proved: BTreeMap::new(),
            before: BTreeMap::new(),
            put_by: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            shipped_by: BTreeMap::new(),
            joined: BTreeMap::new(),
            opened: BTreeSet::new(),
            failed: BTreeMap::new(),
            under_way: BTreeSet::new(),
            admitted: BTreeMap::new(),
            last: VecDeque::new(),
            events: 0,
        }
    }

    /// Devices that something is expected of.
    pub(crate) fn on_the_way(&self) -> BTreeSet<DeviceId> {
        self.rows
            .iter()
            .filter(|(_, row)| {
                row.status.is_in_flight()
                    || matches!(
                        row.status,
                        DeviceStatus::Unreachable | DeviceStatus::RollingBack
                    )
            })
            .map(|((_, device), _)| *device)
            .collect()
    }

    /// The digests that are in quarantine for a device.
    fn quarantined(&self, digest: &str, device: DeviceId) -> bool {
        // Devices without the tag are a class of their own: that of the empty value.
        let value_of = |key: &str| {
            let traits = self.devices.get(&device);
            traits
                .and_then(|t| t.tags.get(key))
                .map_or("", String::as_str)
        };
        self.model
            .quarantine
            .iter()
            .any(|(one, key, value)| one == digest && (key.is_empty() || value_of(key) == value))
    }
}

impl Ledger {
    /// Whether this image failed on the device or is in quarantine for it.
    pub(crate) fn is_bad(&self, image: &str, device: DeviceId) -> bool {
        digest_of(image).is_some_and(|digest| {
            self.failed
                .get(&device)
                .is_some_and(|failed| failed.contains(digest))
                || self.quarantined(digest, device)
        })
    }

    /// Whether nothing but the rollout itself keeps a device from taking its image.
    pub(crate) fn may_take(&self, device: DeviceId, rollout: &Rollout) -> bool {
        let image = rollout
            .digest
            .as_ref()
            .map_or_else(String::new, |digest| format!("@{digest}"));
        !self.is_bad(&image, device)
            && self
                .targets
                .get(&device)
                .is_some_and(|target| target.source != TargetSource::Operator)
    }

    /// Whether a service of the device has the image that this rollout gave it.
    pub(crate) fn has_from(&self, device: DeviceId, rollout: RolloutId) -> bool {
        self.shipped_by
            .iter()
            .any(|((one, _, _), by)| *one == device && *by == rollout)
    }

    /// The devices of a rollout whose turn has not come.
    pub(crate) fn pending(&self, rollout: RolloutId) -> impl Iterator<Item = DeviceId> + '_ {
        self.rows
            .iter()
            .filter(move |((id, _), row)| *id == rollout && row.status == DeviceStatus::Pending)
            .map(|((_, device), _)| *device)
    }

    /// How many devices of a rollout are on their way.
    pub(crate) fn in_flight(&self, rollout: RolloutId) -> i64 {
        let mine = self
            .rows
            .iter()
            .filter(|((id, _), row)| *id == rollout && row.status.is_in_flight());
        i64::try_from(mine.count()).unwrap_or(i64::MAX)
    }
}

/// Whether a rollout with this status goes on by itself.
pub(crate) const fn goes_on(status: RolloutStatus) -> bool {
    matches!(
        status,
        RolloutStatus::Pending | RolloutStatus::Scheduled | RolloutStatus::InProgress
    )
}

fn digest_of(image: &str) -> Option<&str> {
    image.split_once('@').map(|(_, digest)| digest)
}
