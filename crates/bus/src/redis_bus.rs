//! Pub/sub that comes back by itself.
//!
//! One task publishes, one listens. The listener sends itself a heartbeat over Redis; when it hears
//! nothing for a while, the link is taken for dead and built again, which also catches a peer that
//! swallows packets. Whatever was published meanwhile is lost, so each new subscription rings
//! [`Ring::Resync`]: everyone reads the store.

use crate::{Ring, State, ring};
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use windlass_types::event::Event;

/// Batches of events that wait for Redis at most. Beyond it they are not published: scans find the work.
const OUTBOX: usize = 256;
/// Messages of Redis that are taken together at most.
const TOGETHER: usize = 1024;
/// How often the listener sends itself a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long without one until the link counts as dead.
const SILENCE: Duration = Duration::from_secs(3);
/// The longest wait between two tries to connect.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// How long Redis may take to answer a publish.
const RESPONSE: Duration = Duration::from_millis(500);

/// Why a bus could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("the Redis address is not valid; expected redis://host:port or redis+unix:///path")]
    Url(#[source] redis::RedisError),
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[:password@]host:port[/db]`.
    pub url: String,
    /// Events go to the channel `<prefix>.<type>`.
    pub prefix: String,
}

impl RedisOptions {
    /// This address and the usual channels, `windlass.events.<type>`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "windlass.events".to_owned(),
        }
    }
}

/// The bus between processes.
#[derive(Debug, Clone)]
pub struct RedisBus {
    rings: broadcast::Sender<Ring>,
    outbox: mpsc::Sender<Vec<Event>>,
    listening: Arc<AtomicBool>,
}

impl RedisBus {
    pub(crate) fn start(
        options: &RedisOptions,
        rings: broadcast::Sender<Ring>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let client = Client::open(options.url.as_str()).map_err(Error::Url)?;
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let listening = Arc::new(AtomicBool::new(false));
        let publisher = publish_all(client.clone(), options.prefix.clone(), waiting);
        let listener = listen(
            client,
            options.prefix.clone(),
            rings.clone(),
            Arc::clone(&listening),
        );
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.run_until_cancelled(publisher).await }
        });
        tokio::spawn(async move { shutdown.run_until_cancelled(listener).await });
        Ok(Self {
            rings,
            outbox,
            listening,
        })
    }

    pub(crate) fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        // Parts in this process need not wait for the way over Redis.
        ring(&self.rings, events.iter().map(|event| event.kind));
        if self.outbox.try_send(events).is_err() {
            tracing::debug!("Redis is slow or away; events were not published");
        }
    }

    pub(crate) const fn rings(&self) -> &broadcast::Sender<Ring> {
        &self.rings
    }

    pub(crate) fn state(&self) -> State {
        if self.listening.load(Ordering::Relaxed) {
            State::Connected
        } else {
            State::Disconnected
        }
    }
}

/// Publishes what was committed. A batch that cannot be delivered is dropped: it is in the log.
async fn publish_all(client: Client, prefix: String, mut waiting: mpsc::Receiver<Vec<Event>>) {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(usize::MAX)
        .set_max_delay(MAX_BACKOFF)
        .set_connection_timeout(Some(RESPONSE))
        .set_response_timeout(Some(RESPONSE));
    let manager = loop {
        match timeout(
            MAX_BACKOFF,
            ConnectionManager::new_with_config(client.clone(), config.clone()),
        )
        .await
        {
            Ok(Ok(manager)) => break manager,
            Ok(Err(_)) | Err(_) => {
                // What waits is old by the time Redis is there; listeners resync then.
                while waiting.try_recv().is_ok() {}
                sleep(MAX_BACKOFF).await;
            }
        }
    };
    while let Some(events) = waiting.recv().await {
        let mut pipe = redis::pipe();
        for event in &events {
            match serde_json::to_string(event) {
                Ok(text) => {
                    pipe.publish(format!("{prefix}.{}", event.kind), text)
                        .ignore();
                }
                Err(error) => tracing::error!(%error, "an event could not be written as JSON"),
            }
        }
        let mut connection = manager.clone();
        let sent = timeout(RESPONSE * 2, pipe.query_async::<()>(&mut connection)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(events = events.len(), "events were not published on Redis");
        }
    }
}

/// Listens until the task is dropped, building the subscription again each time it ends.
async fn listen(
    client: Client,
    prefix: String,
    rings: broadcast::Sender<Ring>,
    listening: Arc<AtomicBool>,
) {
    let mut backoff = Duration::from_millis(50);
    loop {
        if let Err(error) = listen_once(&client, &prefix, &rings, &listening, &mut backoff).await {
            tracing::debug!(%error, "the subscription on Redis ended");
        }
        if listening.swap(false, Ordering::Relaxed) {
            tracing::warn!("Redis does not answer; work is found by scanning until it does");
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

async fn listen_once(
    client: &Client,
    prefix: &str,
    rings: &broadcast::Sender<Ring>,
    listening: &AtomicBool,
    backoff: &mut Duration,
) -> Result<(), redis::RedisError> {
    let timed_out = || redis::RedisError::from((redis::ErrorKind::Io, "no answer in time"));
    let connect = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.psubscribe(format!("{prefix}.*")).await?;
        let heart = client.get_multiplexed_async_connection().await?;
        Ok::<_, redis::RedisError>((subscription, heart))
    };
    let (subscription, mut heart) = timeout(SILENCE, connect)
        .await
        .map_err(|_elapsed| timed_out())??;
    // What has come meanwhile is taken together.
    let mut messages = subscription.into_on_message().ready_chunks(TOGETHER);
    let channel = format!("{prefix}.heartbeat");
    let mut beat = tokio::time::interval(HEARTBEAT);
    let mut silent_at = Instant::now() + SILENCE;
    loop {
        tokio::select! {
            () = sleep_until(silent_at) => return Err(timed_out()),
            message = messages.next() => {
                let Some(messages) = message else { return Err(timed_out()) };
                silent_at = Instant::now() + SILENCE;
                if !listening.swap(true, Ordering::Relaxed) {
                    *backoff = Duration::from_millis(50);
                    tracing::info!("listening on Redis");
                    rings.send(Ring::Resync).ok();
                }
                ring(rings, messages.iter().filter_map(|message| {
                    let kind = message.get_channel_name().strip_prefix(prefix)?;
                    kind.trim_start_matches('.').parse().ok()
                }));
            }
            _ = beat.tick() => {
                timeout(RESPONSE, heart.publish::<_, _, ()>(&channel, ""))
                    .await
                    .map_err(|_elapsed| timed_out())??;
            }
        }
    }
}
