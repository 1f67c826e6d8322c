//! What the handlers of the service share.

use crate::auth::OperatorKeys;
use crate::cache::Cache;
use std::sync::Arc;
use windlass_service::config::{Config, StateApiSection};
use windlass_service::keys::Pepper;
use windlass_service::{Deps, StartError};

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
}

impl App {
    /// From what the configuration says.
    ///
    /// # Errors
    /// [`StartError`] where the store does not answer or a setting cannot be used.
    pub(crate) async fn open(config: &Config, deps: &Deps) -> Result<Self, StartError> {
        let pepper = Pepper::load(&deps.store).await?;
        let operators = OperatorKeys::new(&pepper, config.state_api.api_key.as_deref());
        Ok(Self {
            deps: deps.clone(),
            config: config.state_api.clone(),
            pepper,
            operators,
            cache: Arc::new(Cache::new()),
        })
    }
}
