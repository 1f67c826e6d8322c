//! The way to the server: become known to it, then ask it for the target, for as long as the agent runs.
//!
//! Nothing here touches a container. What is not known or cannot be reached is asked for again; the
//! loop goes on with the last target meanwhile.

mod pace;
mod provision;

use crate::backoff::Backoff;
use crate::config::ServerSection;
use crate::facts::Facts;
use crate::identity::Identity;
use crate::standing::Standing;
use crate::state::StateDir;
use crate::target::Target;
use chrono::{DateTime, TimeDelta, Utc};
use pace::{Answer, next_poll};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use windlass_client::{Client, Error, Poll};

/// The first wait after a failure, at most.
const FIRST: Duration = Duration::from_secs(5);

/// What the server said last of the target.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Offer {
    /// Nothing since the agent started.
    #[default]
    None,
    /// A target.
    Target(Arc<Target>),
    /// Something that is no target for this device, and why.
    NoTarget(String),
}

/// What tasks that talk to the server share.
#[derive(Debug)]
pub struct Line {
    /// Calls without a device.
    pub client: Client,
    /// Who the device is.
    pub identity: Identity,
    /// How it stands.
    pub standing: watch::Sender<Standing>,
    /// Rung when the server says that it does not know this device.
    pub unknown: Notify,
}

impl Line {
    /// A line that has not been used.
    #[must_use]
    pub fn new(client: Client, identity: Identity) -> Self {
        Self {
            client,
            identity,
            standing: watch::Sender::new(Standing::default()),
            unknown: Notify::new(),
        }
    }

    /// Whether the device may talk to the server.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.standing.borrow().confirmed
    }

    /// Writes down that a call went wrong, and how long it is waited.
    pub fn went_wrong(&self, message: &str, wait: Duration) {
        let now = Utc::now();
        let known = self
            .standing
            .borrow()
            .trouble
            .as_ref()
            .map(|t| t.message.clone());
        if known.as_deref() == Some(message) {
            tracing::debug!(error = message, wait_seconds = wait.as_secs(), "still");
        } else {
            tracing::warn!(
                error = message,
                wait_seconds = wait.as_secs(),
                "the server cannot be used; it is tried again"
            );
        }
        self.standing
            .send_modify(|s| s.went_wrong(message.to_owned(), now, after(now, wait)));
    }

    /// Writes down that the server answered.
    pub fn went_well(&self) {
        let mended = self.standing.borrow().trouble.is_some();
        if mended {
            tracing::info!("the server answers again");
        }
        self.standing.send_modify(|s| s.went_well(Utc::now()));
    }
}

/// A time so much later.
pub(crate) fn after(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait)
        .ok()
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(now)
}

/// An error with what is behind it.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// How long the server asked to be left alone.
pub(crate) fn asked(error: &Error) -> Option<Duration> {
    match error {
        Error::Problem { retry_after, .. } => retry_after.map(Duration::from_secs),
        Error::Address(_)
        | Error::Transport(_)
        | Error::Unexpected { .. }
        | Error::Broken
        | Error::Encode(_) => None,
    }
}

/// The task that polls.
#[derive(Debug)]
pub struct Link {
    /// What it shares.
    pub line: Arc<Line>,
    /// Settings.
    pub config: ServerSection,
    /// What the device says of itself.
    pub facts: Facts,
    /// Where it keeps that it is registered.
    pub state: StateDir,
    /// Where targets go.
    pub offers: watch::Sender<Offer>,
}

impl Link {
    /// Becomes known and polls, until shutdown.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let work = async {
            loop {
                self.provision().await;
                self.line.standing.send_modify(|s| s.confirmed = true);
                self.poll().await;
                self.line.standing.send_modify(|s| s.confirmed = false);
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Polls until the server says that it does not know this device.
    async fn poll(&self) {
        let identity = &self.line.identity;
        let device = self.line.client.device(identity.uuid, &identity.key);
        let longest = Duration::from_secs(self.config.longest_backoff_seconds);
        let mut backoff = Backoff::new(FIRST.min(longest), longest);
        let mut etag: Option<String> = None;
        let mut changed_before = false;
        loop {
            let wait = pace::wait_seconds(self.config.wait_seconds, etag.is_some());
            let asked_at = Instant::now();
            let answer = tokio::select! {
                answer = device.poll_paced(etag.as_deref(), wait) => answer,
                () = self.line.unknown.notified() => return,
            };
            let pause = match answer {
                Ok(paced) => {
                    backoff.reset();
                    self.line.went_well();
                    let answer = match paced.poll {
                        Poll::Unchanged => Answer::Unchanged,
                        Poll::Target { etag: new, body } => {
                            etag = Some(new).filter(|etag| !etag.is_empty());
                            self.offer(&body)
                        }
                    };
                    let pause = next_poll(
                        answer,
                        changed_before,
                        asked_at.elapsed(),
                        wait,
                        paced.interval,
                        self.config.poll_seconds,
                    );
                    changed_before = answer == Answer::Changed;
                    pause
                }
                Err(error) => {
                    let unknown = matches!(error.status(), Some(401 | 404));
                    let pause = if error.status() == Some(403) {
                        backoff.next(Some(longest))
                    } else {
                        backoff.next(asked(&error))
                    };
                    self.line.went_wrong(&told(&error), pause);
                    if unknown {
                        tokio::time::sleep(pause).await;
                        return;
                    }
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Hands on what an answer says.
    fn offer(&self, body: &Value) -> Answer {
        let offer = match Target::read(body, self.line.identity.uuid, Utc::now()) {
            Ok(target) => Offer::Target(Arc::new(target)),
            Err(error) => {
                tracing::error!(%error, "the last target stays in force");
                Offer::NoTarget(error.to_string())
            }
        };
        let same = match (&offer, &*self.offers.borrow()) {
            (Offer::Target(new), Offer::Target(old)) => new.says_as(old),
            (new, old) => new == old,
        };
        if same {
            return Answer::Unchanged;
        }
        self.offers.send_replace(offer);
        Answer::Changed
    }
}
