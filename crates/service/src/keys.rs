//! Keys of devices and operators: made, hashed for storage, compared.
//!
//! A key is 256 random bits, so what is stored is a fast keyed hash of it, HMAC-SHA256 under a value
//! that the installation makes once (the pepper), not a password hash: a poll must cost microseconds,
//! and random bits cannot be guessed from a dictionary.

use crate::StartError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use windlass_store::{Store, settings};

/// A key as it is stored: HMAC-SHA256 under the pepper.
pub type KeyHash = [u8; 32];

/// Where the pepper stands among the settings.
const PEPPER: &str = "key_pepper";

/// What keys are hashed with. Clones share nothing secret with logs: it shows itself as `Pepper`.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper")
    }
}

impl Pepper {
    /// The installation's pepper; made by whoever asks first.
    ///
    /// # Errors
    /// [`StartError::Store`] where the store does not answer, [`StartError::Part`] where it holds
    /// something else under that name or the system gives no random bytes.
    pub async fn load(store: &Store) -> Result<Self, StartError> {
        let mut session = store.begin().await?;
        let text = settings::get_or_set(&mut session, PEPPER, &random_hex()?).await?;
        session.commit().await?;
        let unusable = || StartError::Part(format!("the setting {PEPPER} in the store is no key"));
        let bytes = hex::decode(text).ok().ok_or_else(unusable)?;
        if bytes.len() < 32 {
            return Err(unusable());
        }
        Self::new(&bytes).ok_or_else(unusable)
    }

    /// From its bytes.
    fn new(bytes: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(bytes).ok().map(Self)
    }

    /// A key as it is stored.
    #[must_use]
    pub fn hash(&self, key: &str) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(key.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// A new key: the prefix, which tells people what it is for, and 256 random bits in hex.
///
/// # Errors
/// [`StartError::Part`] where the system gives no random bytes.
pub fn generate(prefix: &str) -> Result<String, StartError> {
    Ok(format!("{prefix}{}", random_hex()?))
}

/// 32 random bytes in hex.
fn random_hex() -> Result<String, StartError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::Part(format!("the system gives no random bytes: {error}")))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_hash_alike_under_one_pepper_only() {
        let one = Pepper::new(&[1; 32]).unwrap();
        let other = Pepper::new(&[2; 32]).unwrap();
        assert!(equal(&one.hash("key"), &one.hash("key")));
        assert!(!equal(&one.hash("key"), &one.hash("kez")));
        assert!(!equal(&one.hash("key"), &other.hash("key")));
        assert!(!equal(b"short", b"longer"));
    }

    #[test]
    fn a_new_key_is_prefixed_and_like_no_other() {
        let (one, other) = (generate("x_").unwrap(), generate("x_").unwrap());
        assert!(one.starts_with("x_") && one.len() == 66);
        assert_ne!(one, other);
    }

    #[test]
    fn a_pepper_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", Pepper::new(&[7; 32]).unwrap()), "Pepper");
    }
}
