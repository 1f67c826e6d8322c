//! Fleets of simulated devices in one process.

use crate::behaviour::Behaviour;
use crate::record::Snapshot;
use crate::task::{Device, live};
use crate::wire::Wire;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use windlass_types::ids::DeviceId;

/// Devices that register at the same time at most.
const DOORS: usize = 32;

/// A device to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Its uuid (v4).
    pub uuid: DeviceId,
    /// A name for people.
    pub name: String,
    /// Its key: 64 hex digits.
    pub key: String,
    /// What it registers with; decides its fleet. Empty for a device that is registered already.
    pub provisioning_key: String,
    /// What its waits and ids are drawn from.
    pub seed: u64,
    /// How it behaves.
    pub behaviour: Behaviour,
}

impl DeviceSpec {
    /// The `index`th device of a fleet drawn from this seed: the same uuid, key and waits each time.
    #[must_use]
    pub fn drawn(seed: u64, index: u64, name: impl Into<String>, provisioning_key: &str) -> Self {
        // Neighbouring seeds must not give neighbouring generators.
        let mut rng = fastrand::Rng::with_seed(
            seed ^ (index.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        let uuid = uuid::Builder::from_random_bytes(rng.u128(..).to_le_bytes()).into_uuid();
        let key = hex::encode([rng.u128(..).to_le_bytes(), rng.u128(..).to_le_bytes()].concat());
        Self {
            uuid: DeviceId(uuid),
            name: name.into(),
            key,
            provisioning_key: provisioning_key.to_owned(),
            seed: rng.u64(..),
            behaviour: Behaviour::healthy(crate::Style::Ours),
        }
    }

    /// With this behaviour.
    #[must_use]
    pub fn behaving(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }
}

/// Why a fleet cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The HTTP client cannot be made.
    #[error("the HTTP client of the simulated devices cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Running devices. Dropped, they stop.
#[derive(Debug)]
pub struct Simulator {
    devices: BTreeMap<DeviceId, Arc<Device>>,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts these devices against a server, such as `http://127.0.0.1:8080`. Returns at once; they
    /// register, and try again, on their own.
    ///
    /// # Errors
    /// [`SimulatorError::Client`] where no HTTP client can be made.
    pub fn start(server: &str, specs: Vec<DeviceSpec>) -> Result<Self, SimulatorError> {
        // One TLS provider for the whole process; a second install is no error.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(SimulatorError::Client)?;
        let wire = Wire {
            client,
            base: format!("{}/api/v1", server.trim_end_matches('/')),
        };
        let doors = Arc::new(Semaphore::new(DOORS));
        let mut tasks = JoinSet::new();
        let mut devices = BTreeMap::new();
        for spec in specs {
            let device = Arc::new(Device::new(spec));
            tasks.spawn(live(Arc::clone(&device), wire.clone(), Arc::clone(&doors)));
            devices.insert(device.spec.uuid, device);
        }
        Ok(Self { devices, tasks })
    }

    /// Every device's uuid.
    #[must_use]
    pub fn uuids(&self) -> Vec<DeviceId> {
        self.devices.keys().copied().collect()
    }

    /// Every device as it is now, by uuid.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.devices
            .values()
            .map(|device| device.look().clone())
            .collect()
    }

    /// One device as it is now.
    #[must_use]
    pub fn snapshot(&self, uuid: DeviceId) -> Option<Snapshot> {
        self.devices.get(&uuid).map(|device| device.look().clone())
    }

    /// How many devices run, of this service, an image whose reference has this part.
    #[must_use]
    pub fn count_running(&self, service: &str, image: &str) -> usize {
        self.devices
            .values()
            .filter(|device| device.look().runs(service, image))
            .count()
    }

    /// How many devices are provisioned.
    #[must_use]
    pub fn provisioned(&self) -> usize {
        self.devices
            .values()
            .filter(|device| device.look().provisioned)
            .count()
    }

    /// Makes a device silent; its containers go on.
    pub fn stop(&self, uuid: DeviceId) {
        self.switch(uuid, false);
    }

    /// Lets a stopped device poll and report again.
    pub fn resume(&self, uuid: DeviceId) {
        self.switch(uuid, true);
    }

    fn switch(&self, uuid: DeviceId, on: bool) {
        if let Some(device) = self.devices.get(&uuid) {
            device.running.send_replace(on);
        }
    }

    /// Ends every device and waits until they have ended.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_fleet_is_drawn_the_same_each_time_and_no_two_devices_are_alike() {
        let draw = |seed| -> Vec<DeviceSpec> {
            (0..1000)
                .map(|index| DeviceSpec::drawn(seed, index, "d", "key"))
                .collect()
        };
        let fleet = draw(1);
        assert_eq!(fleet, draw(1));
        let keys: BTreeSet<_> = fleet
            .iter()
            .chain(&draw(2))
            .map(|d| d.key.clone())
            .collect();
        assert_eq!(keys.len(), 2000);
        assert!(
            fleet
                .iter()
                .all(|d| d.uuid.0.get_version_num() == 4 && d.key.len() == 64)
        );
    }
}
