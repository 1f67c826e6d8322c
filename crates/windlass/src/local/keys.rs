//! The key with which target and policies are set: made once, kept beside the agent's identity.

use crate::exit::Failure;
use uuid::Uuid;
use windlass_agent::state::StateDir;
use windlass_service::Deps;
use windlass_service::keys::{Pepper, generate};
use windlass_store::api_keys;
use windlass_types::ids::OperatorKeyId;
use windlass_types::operator::OperatorKey;

/// The file.
const FILE: &str = "operator-key.json";
/// Its holder's name in the audit trail.
const NAME: &str = "watch-mode";

/// The key. The file comes first: a key that is only in the store could never be used.
pub(super) async fn operator(state: &StateDir, deps: &Deps) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
    let kept = state.read::<String>(FILE).map_err(|error| failed(&error))?;
    let key = match kept {
        Some(kept) => kept.value,
        None => {
            let key = generate("wlo_")?;
            state.write(FILE, &key).map_err(|error| failed(&error))?;
            key
        }
    };
    let pepper = Pepper::load(&deps.store).await?;
    let hash = pepper.hash(&key);
    let mut session = deps.store.begin().await.map_err(|error| failed(&error))?;
    let found = api_keys::find(&mut session, &hash).await;
    if found.map_err(|error| failed(&error))?.is_some() {
        return Ok(key);
    }
    // Names stand in the audit trail for ever: another folder's key has another one.
    let id = Uuid::now_v7();
    let short = id.simple().to_string();
    let names = [NAME.to_owned(), format!("{NAME}-{short}")];
    for name in names {
        let made = OperatorKey {
            id: OperatorKeyId(id),
            key: None,
            name,
            created_at: session.now(),
            revoked_at: None,
        };
        let made = api_keys::create(&mut session, &made, &hash).await;
        if made.map_err(|error| failed(&error))? {
            deps.commit(session).await.map_err(|error| failed(&error))?;
            return Ok(key);
        }
    }
    Err(Failure::failed(format!(
        "the key in {} was revoked; remove the file to have another one made",
        state.file(FILE).display()
    )))
}
