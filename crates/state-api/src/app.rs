//! What the handlers of the service share.

use crate::asks::{Strangers, Targets};
use crate::auth::OperatorKeys;
use crate::bodies::Bodies;
use crate::cache::Cache;
use crate::limit::AddressLimit;
use crate::lookups::Lookups;
use crate::metrics::Metrics;
use crate::report_writer::ReportWriter;
use std::sync::Arc;
use tokio::sync::Semaphore;
use windlass_service::config::{Config, StateApiSection};
use windlass_service::keys::Pepper;
use windlass_service::{Deps, StartError};

/// Requests that may look for the owner of an unknown key in the store at once: a few, so that a fleet that
/// comes back before the cache is filled leaves the store room for everything else.
const LOOKUPS: usize = 4;

/// Registrations and key exchanges that ask the store at once; the others wait for their turn.
const PROVISIONING: usize = 8;

/// The state of the service, one for the process: `web::Data<App>`.
pub(crate) struct App {
    /// Store, bus, metrics, shutdown.
    pub(crate) deps: Deps,
    /// The settings of this service.
    pub(crate) config: StateApiSection,
    /// What keys are hashed with.
    pub(crate) pepper: Pepper,
    /// Who is an operator.
    pub(crate) operators: OperatorKeys,
    /// Devices in memory.
    pub(crate) cache: Arc<Cache>,
    /// Targets in the store.
    pub(crate) targets: Lookups<Targets>,
    /// Devices in the store that are not in memory.
    pub(crate) strangers: Lookups<Strangers>,
    /// Where reports are handed in.
    pub(crate) reports: ReportWriter,
    /// How often one address may be refused, or register a new device.
    pub(crate) provisioning_limit: AddressLimit,
    /// Room for what devices send.
    pub(crate) room: Arc<Semaphore>,
    /// Whose turn it is to register or to exchange keys.
    pub(crate) provisioning: Semaphore,
    /// Whose turn it is to look for the owner of an unknown key in the store.
    pub(crate) lookups: Semaphore,
    /// What the device side counts.
    pub(crate) metrics: Metrics,
}

impl App {
    /// From what the configuration says.
    ///
    /// # Errors
    /// [`StartError`] where the store does not answer or a setting cannot be used.
    pub(crate) async fn open(config: &Config, deps: &Deps) -> Result<Self, StartError> {
        let pepper = Pepper::load(&deps.store).await?;
        let settings = config.state_api.clone();
        let metrics = Metrics::new(&deps.metrics)
            .map_err(|error| StartError::Part(format!("a metric is wrong: {error}")))?;
        let cache = Arc::new(Cache::new());
        let targets = Targets {
            store: deps.store.clone(),
            bodies: Bodies::default(),
        };
        let strangers = Strangers {
            store: deps.store.clone(),
            cache: Arc::clone(&cache),
        };
        Ok(Self {
            operators: OperatorKeys::new(&pepper, settings.api_key.as_deref()),
            cache,
            targets: Lookups::new(targets, metrics.lookups("target")),
            strangers: Lookups::new(strangers, metrics.lookups("credentials")),
            reports: ReportWriter::start(
                deps,
                &metrics,
                settings.report_group,
                settings.report_queue,
            ),
            provisioning_limit: AddressLimit::per_minute(settings.provisioning_per_minute),
            room: crate::device::room(),
            provisioning: Semaphore::new(PROVISIONING),
            lookups: Semaphore::new(LOOKUPS),
            deps: deps.clone(),
            config: settings,
            pepper,
            metrics,
        })
    }
}
