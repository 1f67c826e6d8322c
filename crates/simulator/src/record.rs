//! What a device saw and ran, for tests and the demo to look at.

use std::collections::BTreeMap;
use windlass_types::ids::DeviceId;

/// A container that a target made a device start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The service's name.
    pub service: String,
    /// Its image, as the target names it.
    pub image: String,
    /// The target's version.
    pub version: i64,
}

/// What a service runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its image.
    pub image: String,
    /// The engine's word for its state.
    pub status: &'static str,
}

/// A device at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The device.
    pub uuid: DeviceId,
    /// Its name.
    pub name: String,
    /// Whether it is registered and has exchanged its key.
    pub provisioned: bool,
    /// Whether it polls and reports.
    pub online: bool,
    /// The target version it received last.
    pub version: i64,
    /// Every target version it received, in order.
    pub versions: Vec<i64>,
    /// What it runs, by service name; absent services are absent.
    pub running: BTreeMap<String, Running>,
    /// Every container that a target made it start, in order. Restarts of a crash loop are not here.
    pub started: Vec<Started>,
    /// Polls answered with a target.
    pub targets: u64,
    /// Polls answered 304.
    pub not_modified: u64,
    /// Reports answered 2xx.
    pub reports: u64,
    /// Requests that failed or were refused.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<String>,
}

impl Snapshot {
    pub(crate) fn new(uuid: DeviceId, name: &str) -> Self {
        Self {
            uuid,
            name: name.to_owned(),
            provisioned: false,
            online: false,
            version: 0,
            versions: Vec::new(),
            running: BTreeMap::new(),
            started: Vec::new(),
            targets: 0,
            not_modified: 0,
            reports: 0,
            errors: 0,
            last_error: None,
        }
    }

    /// Whether this service runs an image whose reference has this part.
    #[must_use]
    pub fn runs(&self, service: &str, image: &str) -> bool {
        self.running
            .get(service)
            .is_some_and(|running| running.status == "running" && running.image.contains(image))
    }

    /// The images this service was started on, in order.
    #[must_use]
    pub fn images_of(&self, service: &str) -> Vec<&str> {
        self.started
            .iter()
            .filter(|started| started.service == service)
            .map(|started| started.image.as_str())
            .collect()
    }
}
