//! The task that reports: when something changed, and now and then. Only the newest state is sent as the
//! present; what could not be sent in its time becomes history.

use crate::backoff::{Backoff, about};
use crate::config::ReportSection;
use crate::facts::{Facts, Ticks, load};
use crate::history::History;
use crate::link::{Line, asked, told};
use crate::picture::Picture;
use crate::report::{News, as_history};
use chrono::Utc;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use windlass_client::DeviceClient;

/// The first wait after a failure, at most.
const FIRST: Duration = Duration::from_secs(5);
/// How long the last report may take when the agent ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// The task.
#[derive(Debug)]
pub struct Reporter {
    /// What it shares.
    pub line: Arc<Line>,
    /// Settings.
    pub config: ReportSection,
    /// The longest wait after failures.
    pub longest: Duration,
    /// What the device says of itself.
    pub facts: Facts,
    /// How it stands.
    pub pictures: watch::Receiver<Arc<Picture>>,
    /// Where history is kept.
    pub history: PathBuf,
    /// The disk whose load is told.
    pub storage: PathBuf,
}

/// A report that was made and is not known to have been taken.
struct Pending {
    news: News,
    body: Value,
}

impl Reporter {
    /// Reports until shutdown; what is true then is told before it ends, where the server answers at once.
    pub async fn run(self, shutdown: &CancellationToken) {
        let identity = &self.line.identity;
        let device = self.line.client.device(identity.uuid, &identity.key);
        let mut history = History::open(self.history.clone(), self.config.queue);
        self.tell_history(&history);
        let mut sent: Option<News> = None;
        let mut ticks = Ticks::read();
        let work = async {
            let mut pending: Option<Pending> = None;
            let longest = self.longest;
            let mut backoff = Backoff::new(FIRST.min(longest), longest);
            loop {
                self.confirmed(&mut pending, &mut history, &mut ticks, sent.as_ref())
                    .await;
                if pending.is_none() {
                    self.due(sent.as_ref()).await;
                }
                self.refresh(&mut pending, &mut history, &mut ticks);
                let Some(report) = &pending else { continue };
                match device.report(&report.body).await {
                    Ok(()) => {
                        backoff.reset();
                        sent = pending.take().map(|report| report.news);
                        let now = Utc::now();
                        self.line.standing.send_modify(|s| {
                            s.answered_at = Some(now);
                            s.reported_at = Some(now);
                        });
                        self.replay(&device, &mut history).await;
                    }
                    Err(error) => {
                        if matches!(error.status(), Some(401 | 404)) {
                            self.line.unknown.notify_one();
                        }
                        let wait = backoff.next(asked(&error));
                        tracing::warn!(error = told(&error), "a report was not taken");
                        let until = Instant::now() + wait;
                        self.watch_until(until, &mut pending, &mut history, &mut ticks)
                            .await;
                    }
                }
            }
        };
        if shutdown.run_until_cancelled(work).await.is_none() {
            let news = News::of(&self.pictures.borrow().clone(), &self.facts);
            if self.line.is_confirmed() && sent.as_ref() != Some(&news) {
                let last = self.body(&news, None);
                let told = tokio::time::timeout(FAREWELL, device.report(&last)).await;
                if !matches!(told, Ok(Ok(()))) {
                    history.push(&as_history(last));
                }
            }
        }
    }

    /// Returns when the server knows the device; what becomes true before that is kept as when the server is
    /// away.
    async fn confirmed(
        &self,
        pending: &mut Option<Pending>,
        history: &mut History,
        ticks: &mut Option<Ticks>,
        sent: Option<&News>,
    ) {
        let mut standing = self.line.standing.subscribe();
        let mut pictures = self.pictures.clone();
        while !standing.borrow_and_update().confirmed {
            let news = News::of(&pictures.borrow_and_update().clone(), &self.facts);
            if sent != Some(&news) {
                self.refresh(pending, history, ticks);
            }
            // The sender of the first lives in the line; without the loop nothing changes any more.
            tokio::select! {
                _ = standing.changed() => {}
                Ok(()) = pictures.changed() => {
                    sleep(Duration::from_millis(self.config.gather_ms)).await;
                }
            }
        }
    }

    /// Returns when there is something to tell that the server does not know, or it is time.
    async fn due(&self, sent: Option<&News>) {
        let mut pictures = self.pictures.clone();
        let latest = Instant::now() + about(Duration::from_secs(self.config.every_seconds));
        loop {
            let news = News::of(&pictures.borrow_and_update().clone(), &self.facts);
            if sent != Some(&news) {
                // What changes together is told together.
                sleep(Duration::from_millis(self.config.gather_ms)).await;
                return;
            }
            match timeout_at(latest, pictures.changed()).await {
                Ok(Ok(())) => {}
                // Nothing changes any more: the loop has ended.
                Ok(Err(_)) => sleep_until(latest).await,
                Err(_) => return,
            }
        }
    }

    /// Waits, and keeps what becomes true meanwhile: a report that was overtaken is history.
    async fn watch_until(
        &self,
        until: Instant,
        pending: &mut Option<Pending>,
        history: &mut History,
        ticks: &mut Option<Ticks>,
    ) {
        let mut pictures = self.pictures.clone();
        pictures.mark_unchanged();
        loop {
            match timeout_at(until, pictures.changed()).await {
                Ok(Ok(())) => {
                    sleep(Duration::from_millis(self.config.gather_ms)).await;
                    pictures.mark_unchanged();
                    self.refresh(pending, history, ticks);
                }
                Ok(Err(_)) => sleep_until(until).await,
                Err(_) => return,
            }
        }
    }

    /// Makes the report of what is true now, where another is pending that one becomes history.
    fn refresh(
        &self,
        pending: &mut Option<Pending>,
        history: &mut History,
        ticks: &mut Option<Ticks>,
    ) {
        let news = News::of(&self.pictures.borrow().clone(), &self.facts);
        if pending.as_ref().is_some_and(|report| report.news == news) {
            return;
        }
        let body = self.body(&news, ticks.as_ref().copied());
        *ticks = Ticks::read();
        if let Some(overtaken) = pending.replace(Pending { news, body }) {
            history.push(&as_history(overtaken.body));
            self.tell_history(history);
        }
    }

    fn body(&self, news: &News, ticks: Option<Ticks>) -> Value {
        news.report(
            self.line.identity.uuid,
            Uuid::now_v7(),
            Utc::now(),
            load(ticks, &self.storage),
        )
    }

    /// Sends what was kept, oldest first, until the server does not take one.
    async fn replay(&self, device: &DeviceClient, history: &mut History) {
        while let Some(report) = history.first() {
            match device.report(&report).await {
                Ok(()) => history.sent(),
                // One that will never be taken must not keep the others.
                Err(error) if matches!(error.status(), Some(400 | 403 | 413 | 422)) => {
                    tracing::warn!(error = told(&error), "a report of the past is dropped");
                    history.sent();
                }
                Err(_) => break,
            }
            // Slower than a server that came back to many devices would have it.
            sleep(about(Duration::from_millis(250))).await;
        }
        self.tell_history(history);
    }

    fn tell_history(&self, history: &History) {
        let waiting = history.len();
        self.line.standing.send_if_modified(|standing| {
            let changed = standing.history != waiting;
            standing.history = waiting;
            changed
        });
    }
}
