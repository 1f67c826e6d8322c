//! Whether a device is who it says, from memory where it can be.

use crate::app::App;
use crate::auth::DeviceKey;
use crate::cache::Known;
use std::time::Duration;
use windlass_service::Problem;
use windlass_store::devices;
use windlass_types::ids::DeviceId;

/// How long a request waits for its turn to ask the database whose key this is.
const TURN: Duration = Duration::from_secs(2);

/// The version of the device's target, where the key is the device's and it may use it.
///
/// # Errors
/// 401 for another key, 403 for a device that is switched off, 404 for an unknown one, 503 where
/// that cannot be told now.
pub(crate) async fn authenticate(
    app: &App,
    device: DeviceId,
    key: &DeviceKey,
) -> Result<i64, Problem> {
    match known(app, device, key).await? {
        Known::Yes(version) => Ok(version),
        Known::Disabled => Err(Problem::Forbidden(
            "this device has been switched off".to_owned(),
        )),
        Known::WrongKey => Err(wrong_key()),
        Known::Unknown => Err(unknown(device)),
    }
}

/// What is known of the device and the key; looks in the store for a device that is not in memory,
/// since another replica may have registered it a moment ago.
///
/// # Errors
/// 503 where the store does not answer in time.
pub(crate) async fn known(app: &App, device: DeviceId, key: &DeviceKey) -> Result<Known, Problem> {
    match app.cache.check(device, &key.0) {
        Known::Unknown => {}
        known @ (Known::Yes(_) | Known::Disabled | Known::WrongKey) => return Ok(known),
    }
    // Many together: while the cache is being filled, or when many ask for what is not there, the
    // database is not to be drowned in look-ups.
    app.strangers.get(device).await?;
    Ok(app.cache.check(device, &key.0))
}

/// Whose key this is; for requests that name their device in their body, which is not read for those
/// who are nobody.
///
/// # Errors
/// 401 for a key that is nobody's, 503 where the store does not answer in time.
pub(crate) async fn owner(app: &App, key: &DeviceKey) -> Result<DeviceId, Problem> {
    if let Some(device) = app.cache.owner(&key.0) {
        return Ok(device);
    }
    let turn = tokio::time::timeout(TURN, app.lookups.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(Problem::Unavailable(None));
    };
    if let Some(device) = app.cache.owner(&key.0) {
        return Ok(device);
    }
    let mut session = app.deps.store.read().await?;
    let device = devices::by_key(&mut session, &key.0)
        .await?
        .ok_or_else(wrong_key)?;
    for found in devices::credentials(&mut session, &[device]).await? {
        app.cache.add(&found);
    }
    Ok(device)
}

pub(crate) fn wrong_key() -> Problem {
    Problem::Unauthorized("this is not the device's key".to_owned())
}

pub(crate) fn unknown(device: DeviceId) -> Problem {
    Problem::NotFound(format!("no device {device} is registered"))
}
