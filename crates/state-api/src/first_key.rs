//! The installation's first operator key.

use uuid::Uuid;
use windlass_service::config::Config;
use windlass_service::keys::{Pepper, generate};
use windlass_service::{Deps, StartError};
use windlass_store::api_keys;

/// The name of the first key's holder in the audit trail.
const NAME: &str = "admin";

/// Makes the installation's first operator key where none was ever made and the configuration gives
/// none, and returns it: the only time that it can be shown. Of several programs that start at once,
/// one gets it.
///
/// # Errors
/// [`StartError`] where the store does not answer or the system gives no random bytes.
pub async fn ensure_operator_key(
    deps: &Deps,
    config: &Config,
) -> Result<Option<String>, StartError> {
    if config.state_api.api_key.is_some() {
        return Ok(None);
    }
    let pepper = Pepper::load(&deps.store).await?;
    let key = generate("wlo_")?;
    let mut session = deps.store.begin().await?;
    let made =
        api_keys::create_first(&mut session, Uuid::now_v7(), NAME, &pepper.hash(&key)).await?;
    deps.commit(session).await?;
    Ok(made.then_some(key))
}
