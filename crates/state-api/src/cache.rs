//! Devices in memory: what a poll that changes nothing is answered from, without the database.
//!
//! An entry takes 48 bytes and its key's place another 32, 187 with the room that hash maps keep free at
//! worst. Nothing is kept for a
//! device that waits for a change but while it waits. See docs/adr/0009-device-cache-and-report-groups.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use windlass_service::keys::{KeyHash, equal};
use windlass_store::devices::Credentials;
use windlass_types::ids::DeviceId;

/// Locks that devices are spread over; many more than threads that poll.
const SHARDS: usize = 64;
/// How long a deletion is remembered: longer than a request may take.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Half of the keyed hash: 128 bits are as far beyond guessing as 256.
const KEPT: usize = 16;
/// Ticks of the time at which a device was seen, in milliseconds: 32 bits of them last 13 years.
const TICK_MS: u128 = 100;

struct Entry {
    version: i64,
    hash: [u8; KEPT],
    /// Ticks since the cache was made; 0 while the device has not been seen.
    seen: AtomicU32,
    enabled: bool,
}

#[derive(Default)]
struct Shard {
    devices: RwLock<HashMap<DeviceId, Entry>>,
    /// Devices by their key's hash, spread by that: for requests that show a key before they name a
    /// device. What stands here is checked against the entry.
    owners: RwLock<HashMap<[u8; KEPT], DeviceId>>,
    waiting: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    /// Devices that were deleted a moment ago.
    gone: Mutex<HashMap<DeviceId, Instant>>,
}

/// What the cache says of a device and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The key is the device's; this is its target's version.
    Yes(i64),
    /// The key is the device's, but it may not poll or report.
    Disabled,
    /// The key is not the device's.
    WrongKey,
    /// The cache does not know the device.
    Unknown,
}

/// Every device by its uuid.
pub(crate) struct Cache {
    shards: Vec<Shard>,
    began: Instant,
    closed: AtomicBool,
}

impl Cache {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Shard::default)
                .take(SHARDS)
                .collect(),
            began: Instant::now(),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether this key is this device's; a device that shows its key and may use it has been seen.
    pub(crate) fn check(&self, device: DeviceId, key: &KeyHash) -> Known {
        let devices = self.read(device);
        let Some(entry) = devices.get(&device) else {
            return Known::Unknown;
        };
        if !equal(&entry.hash, &kept(key)) {
            Known::WrongKey
        } else if !entry.enabled {
            Known::Disabled
        } else {
            entry.seen.store(self.tick(), Ordering::Relaxed);
            Known::Yes(entry.version)
        }
    }

    /// The device whose key this is.
    pub(crate) fn owner(&self, key: &KeyHash) -> Option<DeviceId> {
        let key = kept(key);
        let device = *read(self.owners(&key)).get(&key)?;
        let devices = self.read(device);
        let same = equal(&devices.get(&device)?.hash, &key);
        same.then_some(device)
    }

    /// A device's version and whether it is enabled.
    pub(crate) fn state(&self, device: DeviceId) -> Option<(i64, bool)> {
        let devices = self.read(device);
        let entry = devices.get(&device)?;
        Some((entry.version, entry.enabled))
    }

    /// Adds a device that is not there; what is there is newer than what a request read, and so is
    /// that it was deleted.
    pub(crate) fn add(&self, known: &Credentials) {
        let gone = self.gone(known.device);
        if gone.contains_key(&known.device) {
            return;
        }
        self.own(known);
        self.write(known.device)
            .entry(known.device)
            .or_insert_with(|| Entry {
                version: known.version,
                hash: kept(&known.key_hash),
                seen: AtomicU32::new(0),
                enabled: known.enabled,
            });
    }

    /// Adds a device that was registered this moment, be it again.
    pub(crate) fn register(&self, known: &Credentials) {
        self.gone(known.device).remove(&known.device);
        self.add(known);
    }

    /// Forgets a device that was deleted, and wakes who waits for it. What a request read of it
    /// before does not bring it back.
    pub(crate) fn remove(&self, device: DeviceId) {
        let mut gone = self.gone(device);
        let now = Instant::now();
        gone.retain(|_, since| now.duration_since(*since) < REMEMBERED);
        gone.insert(device, now);
        let entry = self.write(device).remove(&device);
        drop(gone);
        if let Some(entry) = entry {
            let mut owners = self
                .owners(&entry.hash)
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if owners.get(&entry.hash) == Some(&device) {
                owners.remove(&entry.hash);
            }
        }
        self.wake(device);
    }

    /// Takes over what the store says of a device, for whoever follows the event log.
    pub(crate) fn put(&self, known: &Credentials) {
        self.gone(known.device).remove(&known.device);
        self.own(known);
        let changed = {
            let mut devices = self.write(known.device);
            let entry = devices.entry(known.device).or_insert_with(|| Entry {
                version: 0,
                hash: [0; KEPT],
                seen: AtomicU32::new(0),
                enabled: known.enabled,
            });
            let changed = known.version > entry.version || known.enabled != entry.enabled;
            entry.version = entry.version.max(known.version);
            entry.hash = kept(&known.key_hash);
            entry.enabled = known.enabled;
            changed
        };
        if changed {
            self.wake(known.device);
        }
    }

    fn own(&self, known: &Credentials) {
        let key = kept(&known.key_hash);
        self.owners(&key)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, known.device);
    }

    /// Raises a device's version; never lowers it. Returns whether the device is there.
    pub(crate) fn raise(&self, device: DeviceId, version: i64) -> bool {
        let raised = {
            let mut devices = self.write(device);
            let Some(entry) = devices.get_mut(&device) else {
                return false;
            };
            let raised = version > entry.version;
            entry.version = entry.version.max(version);
            raised
        };
        if raised {
            self.wake(device);
        }
        true
    }

    /// How many devices are in it.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| read(&shard.devices).len())
            .sum()
    }

    /// Joins those who wait for a change of this device. Join first, then look at the version.
    pub(crate) fn join(self: &Arc<Self>, device: DeviceId) -> Waiter {
        let notify = Arc::clone(self.waiting(device).entry(device).or_default());
        Waiter {
            cache: Arc::clone(self),
            device,
            notify,
        }
    }

    fn wake(&self, device: DeviceId) {
        if let Some(notify) = self.waiting(device).get(&device) {
            notify.notify_waiters();
        }
    }

    /// How many devices wait.
    pub(crate) fn waiters(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(&shard.waiting).len())
            .sum()
    }

    /// Lets everyone who waits go, and nobody wait any more: the process ends.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            lock(&shard.waiting)
                .values()
                .for_each(|n| n.notify_waiters());
        }
    }

    /// Whether the process ends.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The devices seen in about this time, with how long ago; one that waits is seen now.
    pub(crate) fn seen_within(&self, time: Duration) -> Vec<(DeviceId, Duration)> {
        let now = self.tick();
        let from = now.saturating_sub(ticks(time)).max(1);
        let mut seen = Vec::new();
        for shard in &self.shards {
            let waiting: Vec<DeviceId> = lock(&shard.waiting).keys().copied().collect();
            let devices = read(&shard.devices);
            for device in waiting {
                if let Some(entry) = devices.get(&device) {
                    entry.seen.store(now, Ordering::Relaxed);
                }
            }
            seen.extend(devices.iter().filter_map(|(device, entry)| {
                let at = entry.seen.load(Ordering::Relaxed);
                (at >= from).then(|| (*device, duration(now.saturating_sub(at))))
            }));
        }
        seen
    }

    /// Never 0, which means not seen.
    fn tick(&self) -> u32 {
        ticks(self.began.elapsed()).saturating_add(1)
    }

    fn owners(&self, key: &[u8; KEPT]) -> &RwLock<HashMap<[u8; KEPT], DeviceId>> {
        &self.shards[usize::from(key[0]) % SHARDS].owners
    }

    fn shard(&self, device: DeviceId) -> &Shard {
        // The last byte of every kind of uuid is random. There is always a shard: see `new`.
        let index = usize::from(device.0.as_bytes()[15]) % SHARDS;
        &self.shards[index]
    }

    fn read(&self, device: DeviceId) -> RwLockReadGuard<'_, HashMap<DeviceId, Entry>> {
        read(&self.shard(device).devices)
    }

    fn write(&self, device: DeviceId) -> RwLockWriteGuard<'_, HashMap<DeviceId, Entry>> {
        self.shard(device)
            .devices
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Instant>> {
        lock(&self.shard(device).gone)
    }

    fn waiting(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Arc<Notify>>> {
        lock(&self.shard(device).waiting)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kept(hash: &[u8]) -> [u8; KEPT] {
    let mut kept = [0; KEPT];
    for (slot, byte) in kept.iter_mut().zip(hash) {
        *slot = *byte;
    }
    kept
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK_MS).unwrap_or(u32::MAX)
}

fn duration(ticks: u32) -> Duration {
    Duration::from_millis(u64::from(ticks) * 100)
}

/// A place among those who wait for a device; left when dropped.
pub(crate) struct Waiter {
    cache: Arc<Cache>,
    device: DeviceId,
    notify: Arc<Notify>,
}

impl Waiter {
    /// Wakes everyone who waits for the device when it changes.
    pub(crate) fn notify(&self) -> &Notify {
        &self.notify
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.cache.waiting(self.device);
        // The map's and ours: nobody else waits. Others join under the same lock.
        if Arc::strong_count(&self.notify) == 2 {
            waiting.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    fn known(n: u128, version: i64) -> Credentials {
        Credentials {
            device: device(n),
            key_hash: vec![9; 32],
            version,
            enabled: true,
        }
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<(DeviceId, Entry)>() <= 48);
    }

    #[test]
    fn a_version_is_never_lowered() {
        let cache = Cache::new();
        cache.put(&known(1, 5));
        cache.put(&known(1, 3));
        assert!(cache.raise(device(1), 4));
        assert_eq!(cache.check(device(1), &[9; 32]), Known::Yes(5));
        assert!(!cache.raise(device(2), 4));
        assert_eq!(cache.check(device(2), &[9; 32]), Known::Unknown);
    }

    #[test]
    fn what_a_request_read_does_not_replace_what_the_log_said() {
        let cache = Cache::new();
        cache.put(&Credentials {
            enabled: false,
            ..known(1, 2)
        });
        cache.add(&known(1, 1));
        assert_eq!(cache.check(device(1), &[9; 32]), Known::Disabled);
    }

    #[test]
    fn a_key_names_its_device_until_it_is_another() {
        let cache = Cache::new();
        cache.put(&known(1, 1));
        assert_eq!(cache.owner(&[9; 32]), Some(device(1)));
        assert_eq!(cache.owner(&[8; 32]), None);
        cache.put(&Credentials {
            key_hash: vec![8; 32],
            ..known(1, 1)
        });
        assert_eq!(cache.owner(&[8; 32]), Some(device(1)));
        assert_eq!(cache.owner(&[9; 32]), None);
    }

    #[test]
    fn a_deleted_device_is_not_brought_back_by_what_was_read_before() {
        let cache = Cache::new();
        cache.put(&known(1, 5));
        cache.remove(device(1));
        assert_eq!(cache.check(device(1), &[9; 32]), Known::Unknown);
        assert_eq!(cache.owner(&[9; 32]), None);
        cache.add(&known(1, 5));
        assert_eq!(cache.check(device(1), &[9; 32]), Known::Unknown);
        cache.register(&known(1, 1));
        assert_eq!(cache.check(device(1), &[9; 32]), Known::Yes(1));
        assert_eq!(cache.owner(&[9; 32]), Some(device(1)));
    }

    #[test]
    fn only_the_right_key_makes_a_device_seen() {
        let cache = Cache::new();
        cache.put(&known(1, 1));
        assert_eq!(cache.check(device(1), &[8; 32]), Known::WrongKey);
        assert!(cache.seen_within(Duration::from_secs(60)).is_empty());
        cache.check(device(1), &[9; 32]);
        let seen = cache.seen_within(Duration::from_secs(60));
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0, device(1));
    }

    #[test]
    fn a_device_that_waits_is_seen_and_leaves_nothing_behind() {
        let cache = Arc::new(Cache::new());
        cache.put(&known(1, 1));
        let (one, two) = (cache.join(device(1)), cache.join(device(1)));
        assert_eq!(cache.seen_within(Duration::from_secs(60)).len(), 1);
        drop(one);
        assert_eq!(cache.waiters(), 1);
        drop(two);
        assert_eq!(cache.waiters(), 0);
    }

    #[tokio::test]
    async fn a_change_wakes_those_who_wait_for_that_device_only() {
        let cache = Arc::new(Cache::new());
        cache.put(&known(1, 1));
        cache.put(&known(2, 1));
        let (one, two) = (cache.join(device(1)), cache.join(device(2)));
        let mut first = std::pin::pin!(one.notify().notified());
        let mut second = std::pin::pin!(two.notify().notified());
        assert!(!first.as_mut().enable() && !second.as_mut().enable());
        cache.raise(device(1), 1);
        assert!(!first.as_mut().enable(), "the version was not raised");
        cache.raise(device(1), 2);
        assert!(first.as_mut().enable());
        assert!(!second.as_mut().enable());
        cache.close();
        assert!(second.as_mut().enable());
    }
}
