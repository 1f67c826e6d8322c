//! Telling what happens: a line for each event that matters, bars where a person is watching.

use super::checks::Checks;
use crate::exit::Failure;
use crate::output::Out;
use crate::progress::{Board, counts};
use crate::times::{many, short_digests, short_head, short_image, short_tail};
use tokio::sync::mpsc;
use tokio::time::Instant;
use windlass_client::{Client, EventFilter};
use windlass_types::event::{Event, EventType};
use windlass_types::rollout::RolloutView;

pub(super) struct Story<'o> {
    out: &'o mut Out,
    board: Board,
    began: Instant,
    events: Option<mpsc::UnboundedReceiver<Event>>,
}

impl<'o> Story<'o> {
    pub(super) fn new(out: &'o mut Out) -> Self {
        let board = Board::new(out);
        Self {
            out,
            board,
            began: Instant::now(),
            events: None,
        }
    }

    /// Hears of every event from now on.
    pub(super) async fn listen(&mut self, client: &Client) -> Result<(), Failure> {
        let mut stream = client.events(EventFilter::default(), None).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Ends with the demo, or with the server.
            while let Ok(event) = stream.next().await {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        self.events = Some(receiver);
        Ok(())
    }

    /// One line, with the time since the beginning.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        let line = format!("{:>5.1}s  {text}", self.began.elapsed().as_secs_f64());
        self.board.say(&line, self.out)
    }

    /// Tells the events that came in, and how the rollout stands.
    pub(super) fn tell(&mut self, view: Option<&RolloutView>) -> Result<(), Failure> {
        let mut lines = Vec::new();
        if let Some(events) = &mut self.events {
            while let Ok(event) = events.try_recv() {
                lines.extend(line(&event, view));
            }
        }
        for line in lines {
            self.say(&line)?;
        }
        match view {
            Some(view) if self.out.draws() => self.board.show(view, self.out),
            _ => Ok(()),
        }
    }

    /// The bars stay as they are.
    pub(super) fn end(&mut self) {
        self.board.finish();
    }

    /// `kept`: the address and the key of a system that goes on running.
    pub(super) fn summary(
        &mut self,
        checks: &Checks,
        kept: Option<(&str, &str)>,
    ) -> Result<(), Failure> {
        self.end();
        let seconds = self.began.elapsed().as_secs_f64();
        if self.out.is_json() {
            self.out.json(&checks.json(seconds, kept))?;
        } else {
            self.out.line("")?;
            for (good, text) in checks.results() {
                self.out
                    .line(format!("  {} {text}", if *good { "✓" } else { "✗" }))?;
            }
            self.out.line("")?;
        }
        let wrong = checks.results().iter().filter(|(good, _)| !good).count();
        if wrong > 0 {
            return Err(Failure::failed(format!(
                "{wrong} of these are not as they should be"
            )));
        }
        if !self.out.is_json() {
            self.out.line(format!(
                "The demo ended as it should, after {seconds:.0} s."
            ))?;
        }
        Ok(())
    }

    /// Says how to look at what goes on running. As JSON it is part of the summary.
    pub(super) fn keep(&mut self, url: &str, key: &str) -> Result<(), Failure> {
        if self.out.is_json() {
            eprintln!("It goes on running at {url} until Ctrl-C.");
            return Ok(());
        }
        self.out
            .line("It goes on running until Ctrl-C. To look at it from another terminal:")?;
        self.out.line(format!(
            "  export WINDLASS_URL={url} WINDLASS_API_KEY={key}"
        ))?;
        self.out
            .line("  windlass status; windlass rollouts show latest; windlass quarantine")
    }
}

/// An event that matters here, in words.
fn line(event: &Event, view: Option<&RolloutView>) -> Option<String> {
    let rollout = event
        .rollout_id
        .map(|id| short_tail(id.0))
        .unwrap_or_default();
    let device = event
        .device_uuid
        .map(|id| short_head(id.0))
        .unwrap_or_default();
    let view = view.filter(|view| Some(view.rollout.id) == event.rollout_id);
    let detail = || detail(event);
    Some(match event.kind {
        EventType::RolloutCreated => {
            let scope = view.map(|view| {
                format!(
                    ": {} in {} batches",
                    many(view.rollout.total_devices, "device"),
                    view.rollout.batch_count
                )
            });
            format!("rollout {rollout} created{}", scope.unwrap_or_default())
        }
        EventType::RolloutBatchStarted => {
            let number = event.data.get("batch").and_then(serde_json::Value::as_i64);
            let size = view
                .zip(number)
                .and_then(|(view, n)| view.batches.iter().find(|batch| batch.batch == n))
                .map(|batch| format!(": to {}", many(batch.total, "device")));
            format!(
                "batch {} started{}",
                number.map_or_else(String::new, |n| n.to_string()),
                size.unwrap_or_default()
            )
        }
        EventType::RolloutBatchCompleted => {
            let number = event.data.get("batch").and_then(serde_json::Value::as_i64);
            let state = view
                .zip(number)
                .and_then(|(view, n)| view.batches.iter().find(|batch| batch.batch == n))
                .map(|batch| format!(": {}", counts(batch)));
            format!(
                "batch {} done{}",
                number.map_or_else(String::new, |n| n.to_string()),
                state.unwrap_or_default()
            )
        }
        EventType::RolloutPaused => {
            format!("rollout {rollout} paused by {}{}", event.actor, detail())
        }
        EventType::RolloutCompleted => format!("rollout {rollout} completed"),
        EventType::UpdateFailed => format!("device {device} failed{}", detail()),
        EventType::DeviceRolledBack => format!("device {device} is back on its last good image"),
        EventType::DeviceRollbackFailed => format!("device {device} did not get back{}", detail()),
        EventType::DeviceUnreachable => format!("device {device} is silent"),
        EventType::Quarantined => format!(
            "in quarantine: {}",
            event
                .subject
                .as_deref()
                .map(short_image)
                .unwrap_or_default()
        ),
        EventType::UpdateIgnored => format!(
            "not shipped: {}{}",
            event
                .subject
                .as_deref()
                .map(short_image)
                .unwrap_or_default(),
            detail()
        ),
        _ => return None,
    })
}

/// What an event's data say for people. A reason code is words joined by underscores.
fn detail(event: &Event) -> String {
    ["detail", "cause", "reason"]
        .into_iter()
        .find_map(|key| event.data.get(key)?.as_str())
        .map(|text| {
            if text.contains(' ') {
                format!(": {}", short_digests(text))
            } else {
                format!(": {}", text.replace('_', " "))
            }
        })
        .unwrap_or_default()
}
