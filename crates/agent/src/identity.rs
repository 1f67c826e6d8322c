//! Who the device is: a uuid and a key, made once and never again.

use crate::state::{self, StateDir, StateError};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use windlass_types::ids::DeviceId;

/// Who a device is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its uuid (v4).
    pub uuid: DeviceId,
    /// Its key: 32 random bytes as 64 hex digits.
    pub key: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The identity is gone while other state is there: a new one would make another device of this
    /// machine, and strand the old one.
    #[error(
        "{} is gone, but other state of this device is there; put it back, or empty the directory to make a new device of this machine",
        .0.display()
    )]
    Lost(std::path::PathBuf),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl Identity {
    /// The identity of a state directory; made, and durable before this returns, where there is none.
    ///
    /// # Errors
    /// [`IdentityError`]; a broken or lost identity is never replaced by a new one.
    pub fn of(state: &StateDir, now: DateTime<Utc>) -> Result<Self, IdentityError> {
        if let Some(kept) = state.read::<Self>(state::IDENTITY)? {
            if let Some(reason) = kept.recovered {
                tracing::warn!(%reason, "the identity was broken; its copy is used");
                state.write(state::IDENTITY, &kept.value)?;
            }
            return Ok(kept.value);
        }
        for other in [state::REGISTERED, state::TARGET, state::MEMORY] {
            if state.file(other).exists() {
                return Err(IdentityError::Lost(state.file(state::IDENTITY)));
            }
        }
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|error| IdentityError::Random(error.to_string()))?;
        let made = Self {
            uuid: DeviceId::from(Uuid::new_v4()),
            key: hex::encode(key),
            made_at: now,
        };
        // Twice: the second write keeps the first as the copy before.
        state.write(state::IDENTITY, &made)?;
        state.write(state::IDENTITY, &made)?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn it_is_made_once_and_looks_as_the_protocol_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("new")).unwrap();
        let made = Identity::of(&state, now()).unwrap();
        assert_eq!(made.key.len(), 64);
        assert!(made.key.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(made.uuid.0.get_version_num(), 4);
        assert_eq!(Identity::of(&state, now()).unwrap(), made);
        assert!(!format!("{made:?}").contains(&made.key));
    }

    #[test]
    fn a_broken_file_is_mended_from_its_copy_and_never_replaced_by_a_new_identity() {
        for garbage in [&b""[..], b"{\"uuid\":", b"{}"] {
            let folder = tempfile::tempdir().unwrap();
            let state = StateDir::open(folder.path()).unwrap();
            let made = Identity::of(&state, now()).unwrap();
            for _ in 0..2 {
                std::fs::write(state.file(state::IDENTITY), garbage).unwrap();
                assert_eq!(Identity::of(&state, now()).unwrap(), made);
            }
            for name in ["identity.json", "identity.json.previous"] {
                std::fs::write(state.file(name), garbage).unwrap();
            }
            Identity::of(&state, now()).unwrap_err();
        }
    }

    #[test]
    fn one_that_is_gone_beside_other_state_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.write(state::TARGET, &1).unwrap();
        let error = Identity::of(&state, now()).unwrap_err();
        assert!(matches!(error, IdentityError::Lost(_)), "{error}");
    }
}
