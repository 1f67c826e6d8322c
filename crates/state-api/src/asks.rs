//! What is looked up of devices in the store, for many at once: see [`crate::lookups`].

use crate::bodies::Bodies;
use crate::cache::Cache;
use crate::lookups::Ask;
use std::collections::BTreeMap;
use std::sync::Arc;
use windlass_store::{Error, Store, devices};
use windlass_types::ids::DeviceId;

/// Targets: the version, and the fields of the state as text.
pub(crate) struct Targets {
    /// Where they are.
    pub(crate) store: Store,
    /// Texts that were made before.
    pub(crate) bodies: Bodies,
}

impl Ask for Targets {
    type Found = (i64, Arc<str>);

    async fn ask(&self, asked: &[DeviceId]) -> Result<BTreeMap<DeviceId, Self::Found>, Error> {
        let mut session = self.store.read().await?;
        let found = devices::targets_of(&mut session, asked).await?;
        let states = found.iter().map(|(.., state)| *state);
        let texts = self.bodies.get(&mut session, states).await?;
        Ok(found
            .into_iter()
            .filter_map(|(device, version, state)| {
                Some((device, (version, Arc::clone(texts.get(&state)?))))
            })
            .collect())
    }
}

/// Devices that are not in memory: what is found is added to it.
pub(crate) struct Strangers {
    /// Where they are.
    pub(crate) store: Store,
    /// The memory.
    pub(crate) cache: Arc<Cache>,
}

impl Ask for Strangers {
    type Found = ();

    async fn ask(&self, asked: &[DeviceId]) -> Result<BTreeMap<DeviceId, ()>, Error> {
        let mut session = self.store.read().await?;
        let found = devices::credentials(&mut session, asked).await?;
        found.iter().for_each(|known| self.cache.add(known));
        Ok(found.into_iter().map(|known| (known.device, ())).collect())
    }
}
