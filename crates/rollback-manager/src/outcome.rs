//! What became of ways back, for those who watch: devices that do not get back are told of loudly.

use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::LazyLock;
use windlass_types::ids::{DeviceId, RolloutId};

/// Nothing that the device could go back to is known to be good.
pub(crate) const NO_GOOD_IMAGE: &str = "no_good_image";
/// It was there all the time and did not get back.
pub(crate) const TIMED_OUT: &str = "rollback_timeout";
/// Its row or its target cannot be read, so nobody knows what to change.
pub(crate) const UNREADABLE: &str = "unreadable";

/// A fault in its name would show in the tests of the service as a whole.
static DEVICES: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let opts = Opts::new(
        "windlass_rollback_devices_total",
        "Devices whose way back came to an end, by how: rolled_back, or why it failed.",
    );
    IntCounterVec::new(opts, &["outcome"]).ok()
});

/// Shows the counts in this registry.
///
/// # Errors
/// Where the name is taken.
pub(crate) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    match &*DEVICES {
        Some(devices) => {
            for outcome in ["rolled_back", NO_GOOD_IMAGE, TIMED_OUT, UNREADABLE] {
                devices.with_label_values(&[outcome]).inc_by(0);
            }
            registry.register(Box::new(devices.clone()))
        }
        None => Ok(()),
    }
}

fn count(outcome: &str, devices: usize) {
    if let Some(counter) = &*DEVICES {
        let devices = u64::try_from(devices).unwrap_or(u64::MAX);
        counter.with_label_values(&[outcome]).inc_by(devices);
    }
}

/// How ways back ended in one transaction; told once it is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    rolled_back: usize,
    failed: Vec<(RolloutId, DeviceId, &'static str)>,
}

impl Ends {
    pub(crate) const fn rolled_back(&mut self) {
        self.rolled_back += 1;
    }

    pub(crate) fn failed(&mut self, rollout: RolloutId, device: DeviceId, reason: &'static str) {
        self.failed.push((rollout, device, reason));
    }

    /// Tells of them.
    pub(crate) fn tell(self) {
        count("rolled_back", self.rolled_back);
        for (rollout, device, reason) in self.failed {
            count(reason, 1);
            tracing::error!(
                rollout.id = %rollout,
                device.uuid = %device,
                reason,
                "a device did not get back to its last good image; somebody has to see to it"
            );
        }
    }
}
