//! The keys of token issuers, kept as long as they say.

use crate::fetch::Fetch;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use windlass_service::Problem;
use windlass_service::problem::chain;

/// How long keys are kept where the issuer does not say.
const USUAL: Duration = Duration::from_secs(3600);
/// And at most, whatever the issuer says: a key that was taken back is gone the day after.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Keys are fetched no oftener than this, whichever keys tokens name: anybody can name some.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys of a set at most.
const MOST: usize = 50;

/// An RSA key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    n: Vec<u8>,
    e: Vec<u8>,
}

impl Key {
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let (n, e) = (&self.n, &self.e);
        RsaPublicKeyComponents { n, e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Told>,
}

/// A key as a set has it; what is no RSA key for signing is passed over.
#[derive(Deserialize)]
struct Told {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Default)]
struct Kept {
    keys: HashMap<String, Key>,
    good_until: Option<Instant>,
    asked: Option<Instant>,
}

/// The keys of every issuer that is asked.
pub(crate) struct Keys {
    fetch: Arc<dyn Fetch>,
    /// By address; the configuration has a few.
    kept: Mutex<HashMap<Url, Arc<Mutex<Kept>>>>,
    pause: Duration,
}

impl Keys {
    pub(crate) fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self {
            fetch,
            kept: Mutex::default(),
            pause: PAUSE,
        }
    }

    /// The key of this name. Asks the issuer where its keys are too old or the name is not among them;
    /// where it does not answer, keys that it had are good for a day.
    ///
    /// # Errors
    /// [`Problem::Unavailable`] where there is nothing to verify with.
    pub(super) async fn get(&self, url: &Url, kid: &str) -> Result<Option<Key>, Problem> {
        let kept = Arc::clone(self.kept.lock().await.entry(url.clone()).or_default());
        // One asks, the others wait for the answer.
        let mut kept = kept.lock().await;
        let now = Instant::now();
        let fresh = kept.good_until.is_some_and(|until| now < until);
        if fresh && let Some(key) = kept.keys.get(kid) {
            return Ok(Some(key.clone()));
        }
        if kept
            .asked
            .is_none_or(|asked| now.duration_since(asked) >= self.pause)
        {
            kept.asked = Some(now);
            match self.fetch.get(url).await {
                Ok(fetched) => match read(&fetched.body) {
                    Some(keys) => {
                        let age = fetched.max_age.unwrap_or(USUAL).clamp(PAUSE, LONGEST);
                        kept.keys = keys;
                        kept.good_until = Some(now + age);
                    }
                    None => {
                        tracing::warn!(url = %url, "a token's issuer tells no keys");
                    }
                },
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the keys of a token's issuer cannot be fetched");
                }
            }
        }
        let usable = kept.good_until.is_some_and(|until| now < until + LONGEST);
        if usable {
            Ok(kept.keys.get(kid).cloned())
        } else {
            Err(Problem::Unavailable(None))
        }
    }
}

fn read(body: &[u8]) -> Option<HashMap<String, Key>> {
    let set: Set = serde_json::from_slice(body).ok()?;
    let keys = set.keys.into_iter().take(MOST).filter_map(|told| {
        let other = told.kty != "RSA"
            || told.usage.is_some_and(|usage| usage != "sig")
            || told.alg.is_some_and(|alg| alg != "RS256");
        if other {
            return None;
        }
        let number = |text: Option<String>| {
            let mut bytes = URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok()?;
            // Numbers have no zeros before them here.
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes.drain(..zeros);
            Some(bytes)
        };
        let (n, e) = (number(told.n)?, number(told.e)?);
        Some((told.kid?, Key { n, e }))
    });
    Some(keys.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{FetchError, Fetched};
    use futures_util::future::BoxFuture;
    use std::sync::Mutex as Lock;

    /// An issuer with these keys, that counts how often it is asked.
    #[derive(Default)]
    struct Issuer {
        answer: Lock<Option<(Vec<&'static str>, u64)>>,
        asked: Lock<usize>,
    }

    impl Issuer {
        fn tell(&self, kids: &[&'static str], seconds: u64) {
            *self.answer.lock().unwrap() = Some((kids.to_vec(), seconds));
        }
    }

    impl Fetch for Issuer {
        fn get<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<Fetched, FetchError>> {
            *self.asked.lock().unwrap() += 1;
            let answer = self.answer.lock().unwrap().clone();
            Box::pin(async move {
                let (kids, seconds) = answer.ok_or(FetchError::TooOften)?;
                let keys: Vec<_> = kids
                    .iter()
                    .map(|kid| serde_json::json!({"kid": kid, "kty": "RSA", "n": "AQAB", "e": "AQAB"}))
                    .collect();
                Ok(Fetched {
                    body: serde_json::json!({"keys": keys}).to_string().into_bytes(),
                    max_age: Some(Duration::from_secs(seconds)),
                })
            })
        }
    }

    #[tokio::test]
    async fn keys_are_asked_for_when_one_is_not_known_and_not_too_often() {
        let issuer = Arc::new(Issuer::default());
        let mut keys = Keys::new(Arc::clone(&issuer) as Arc<dyn Fetch>);
        let url: Url = "https://issuer.example/keys".parse().unwrap();
        issuer.tell(&["k1"], 3600);
        assert!(keys.get(&url, "k1").await.unwrap().is_some());
        assert!(keys.get(&url, "k1").await.unwrap().is_some());
        // The issuer changes its keys; a name that is not known asks once, then not for a while.
        issuer.tell(&["k2"], 3600);
        assert!(keys.get(&url, "k2").await.unwrap().is_none());
        assert_eq!(*issuer.asked.lock().unwrap(), 1);
        keys.pause = Duration::ZERO;
        assert!(keys.get(&url, "k2").await.unwrap().is_some());
        assert_eq!(*issuer.asked.lock().unwrap(), 2);
        assert!(
            keys.get(&url, "k1").await.unwrap().is_none(),
            "it was taken back"
        );
        // It does not answer: what it had is good all the same.
        *issuer.answer.lock().unwrap() = None;
        assert!(keys.get(&url, "k9").await.unwrap().is_none());
        assert!(keys.get(&url, "k2").await.unwrap().is_some());
    }
}
