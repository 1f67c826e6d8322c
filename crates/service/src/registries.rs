//! Asking registries as the configuration says, within budgets that all replicas share.

use crate::config::RegistrySection;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use windlass_registry::{Budget, Credentials, Leave, Options, Refused, Registry, Told};
use windlass_store::registry_budgets::{self, Limit, Spend, Until};
use windlass_store::{Result, Store};

/// How long nothing is asked where the store does not tell whether it may be.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Of the requests of a minute the watch leaves this share for what ships: a fifth.
const RESERVE: i64 = 5;

/// A client for every registry. Clones of it share tokens and what is known of each registry.
///
/// # Errors
/// [`windlass_registry::Error::Setup`] where TLS cannot be set up.
pub fn client(
    section: &RegistrySection,
    store: &Store,
) -> std::result::Result<Registry, windlass_registry::Error> {
    let budget = StoreBudget(Arc::new(Rows {
        store: store.clone(),
        per_minute: section.requests_per_minute.into(),
        troubled: Mutex::default(),
    }));
    Ok(Registry::new(options(section))?.with_budget(Arc::new(budget)))
}

fn options(section: &RegistrySection) -> Options {
    let credentials = section.users.iter().filter_map(|(host, user)| {
        let password = section.passwords.get(host)?.clone();
        let user = user.clone();
        Some((host.clone(), Credentials { user, password }))
    });
    Options {
        http_hosts: section.http_hosts.iter().cloned().collect(),
        credentials: credentials.collect(),
        docker_config: section.docker_config.clone(),
        credential_helpers: section.credential_helpers.iter().cloned().collect(),
        ca_files: section.ca_files.clone(),
        timeout: Some(Duration::from_secs(section.timeout_seconds)),
        ..Options::default()
    }
}

/// The budgets in the store. What is done there is done by tasks of their own: a question that its asker
/// does not wait for at the moment must not hold a row that others wait for.
#[derive(Debug)]
struct StoreBudget(Arc<Rows>);

#[derive(Debug)]
struct Rows {
    store: Store,
    per_minute: i64,
    /// Registries that did not answer last: only of these is it worth a write that they do.
    troubled: Mutex<BTreeSet<String>>,
}

impl Rows {
    async fn spend(
        &self,
        registry: &str,
        leave: Leave,
    ) -> Result<std::result::Result<(), Duration>> {
        let most = if leave.background {
            (self.per_minute - self.per_minute / RESERVE).max(1)
        } else {
            self.per_minute
        };
        let mut tx = self.store.begin().await?;
        let spend = Spend {
            background: leave.background,
            counted: leave.counted,
            most,
        };
        let now = tx.now();
        let spent = registry_budgets::spend(&mut tx, registry, spend).await?;
        tx.commit().await?;
        Ok(spent.map_err(|until| {
            let wait = until.signed_duration_since(now).to_std();
            wait.unwrap_or_default().max(Duration::from_millis(100))
        }))
    }

    async fn note(&self, registry: &str, told: Told) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let failures = registry_budgets::answered(&mut tx, registry, told.failed).await?;
        let pauses = told.pauses(u32::try_from(failures).unwrap_or(u32::MAX), jitter());
        let now = tx.now();
        let at = |pause: Option<Duration>| {
            let pause = chrono::TimeDelta::from_std(pause?).ok()?;
            now.checked_add_signed(pause)
        };
        let until = Until {
            all: at(pauses.all),
            counted: at(pauses.counted),
            background: at(pauses.background),
            background_counted: at(pauses.background_counted),
        };
        let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        let limit = Limit {
            limit: number(told.rate.limit),
            remaining: number(told.rate.remaining),
            window_seconds: number(told.rate.window.map(|window| window.as_secs())),
        };
        registry_budgets::told(&mut tx, registry, limit, until).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes whether a registry is in trouble; whether that is news.
    fn is_news(&self, registry: &str, failed: bool) -> bool {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            troubled.insert(registry.to_owned());
            true
        } else {
            troubled.remove(registry)
        }
    }
}

impl Budget for StoreBudget {
    fn leave<'a>(
        &'a self,
        registry: &'a str,
        leave: Leave,
    ) -> BoxFuture<'a, std::result::Result<(), Refused>> {
        let (rows, host) = (Arc::clone(&self.0), registry.to_owned());
        Box::pin(async move {
            let spending = tokio::spawn(async move { rows.spend(&host, leave).await });
            let unknown = |error: &dyn std::fmt::Display| {
                tracing::warn!(%error, registry, "a registry's budget cannot be read");
                Err(Refused {
                    reason: "its budget cannot be read".to_owned(),
                    wait: UNKNOWN,
                })
            };
            match spending.await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(wait))) => Err(Refused {
                    reason:
                        "its budget is used up, or it asked for fewer requests, or it does not \
                             answer"
                            .to_owned(),
                    wait,
                }),
                Ok(Err(error)) => unknown(&error),
                Err(error) => unknown(&error),
            }
        })
    }

    fn told<'a>(&'a self, registry: &'a str, told: Told) -> BoxFuture<'a, ()> {
        let (rows, host) = (Arc::clone(&self.0), registry.to_owned());
        Box::pin(async move {
            let news = rows.is_news(registry, told.failed);
            if !news && !told.limited && told.rate == windlass_registry::Rate::default() {
                return;
            }
            let noting = tokio::spawn(async move { rows.note(&host, told).await });
            // Where it was not noted, the next answer tells the same.
            match noting.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, registry, "what a registry told of its limit was not noted");
                }
                Err(error) => {
                    tracing::warn!(%error, registry, "what a registry told of its limit was not noted");
                }
            }
        })
    }
}

/// A number from 0 to 1.
fn jitter() -> f64 {
    let mut byte = [0_u8];
    // Without randomness everybody waits as long as they may.
    getrandom::fill(&mut byte).map_or(1.0, |()| f64::from(byte[0]) / 255.0)
}
