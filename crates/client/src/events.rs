//! The stream of events: server-sent events, taken up again where they broke off.

use crate::Result;
use crate::error::Error;
use crate::http::{Client, send};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{Method, header};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use windlass_types::event::{Cursor, Event, EventType};
use windlass_types::ids::{DeviceId, RolloutId};

/// The server sends at least a comment this often; silence for longer means a broken connection.
const SILENCE: Duration = Duration::from_secs(45);
/// Waits between connections, doubled up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Bytes of one line at most; an event is far smaller.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only these types; empty means all.
    pub types: Vec<EventType>,
    /// Only those of this rollout.
    pub rollout: Option<RolloutId>,
    /// Only those of this device.
    pub device: Option<DeviceId>,
}

impl EventFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if !self.types.is_empty() {
            let types: Vec<_> = self.types.iter().map(|kind| kind.as_str()).collect();
            pairs.push(("type", types.join(",")));
        }
        if let Some(rollout) = self.rollout {
            pairs.push(("rollout", rollout.to_string()));
        }
        if let Some(device) = self.device {
            pairs.push(("device", device.to_string()));
        }
        pairs
    }
}

type Body = BoxStream<'static, reqwest::Result<Bytes>>;

/// Events as they settle, without holes or doubles across broken connections.
pub struct EventStream {
    client: Client,
    filter: EventFilter,
    place: Option<Cursor>,
    body: Option<Body>,
    parser: Parser,
    backoff: Duration,
}

impl Client {
    /// Events from now on, or after a place in the log ([`Cursor::default`] is its beginning).
    /// Connects before it returns, so that what happens afterwards is seen.
    ///
    /// # Errors
    /// [`Error`]; 400 for a place that is none.
    pub async fn events(&self, filter: EventFilter, after: Option<Cursor>) -> Result<EventStream> {
        let mut stream = EventStream {
            client: self.clone(),
            filter,
            place: after,
            body: None,
            parser: Parser::default(),
            backoff: Duration::from_millis(100),
        };
        stream.connect().await?;
        Ok(stream)
    }
}

impl EventStream {
    /// The next event. Connects again where the connection breaks; fails only where the server
    /// refuses in a way that another try will not change.
    ///
    /// # Errors
    /// [`Error::Problem`], such as 401 for a key that was revoked meanwhile.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some(message) = self.parser.take() {
                if let Some(place) = message.id {
                    self.place = Some(place);
                }
                if let Some(event) = message.event {
                    self.place = Some(event.id);
                    return Ok(event);
                }
            }
            let Some(body) = &mut self.body else {
                match self.connect().await {
                    Err(error) if error.is_transient() => {
                        sleep(self.backoff).await;
                        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
                    }
                    other => other?,
                }
                continue;
            };
            match timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(bytes))) if self.parser.push(&bytes) => {
                    self.backoff = Duration::from_millis(100);
                }
                _ => self.body = None,
            }
        }
    }

    /// The next event of those that were in the log when the stream began; none after the last. Does
    /// not connect again, so that an end is never taken for the end of the log.
    ///
    /// # Errors
    /// [`Error::Broken`] where the stream breaks off before that.
    pub async fn next_logged(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some(message) = self.parser.take() {
                self.place = message.id.or(self.place);
                if message.is_place() {
                    return Ok(None);
                }
                if message.event.is_some() {
                    return Ok(message.event);
                }
            }
            let body = self.body.as_mut().ok_or(Error::Broken)?;
            match timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(bytes))) if self.parser.push(&bytes) => {}
                Ok(Some(Err(error))) => return Err(Error::Transport(error)),
                _ => return Err(Error::Broken),
            }
        }
    }

    /// The place in the log up to which the stream has come; give it to [`Client::events`] to go on.
    #[must_use]
    pub const fn place(&self) -> Option<Cursor> {
        self.place
    }

    async fn connect(&mut self) -> Result<()> {
        self.parser = Parser::default();
        let mut request = self
            .client
            .request(Method::GET, "/events")
            .timeout(Duration::from_secs(365 * 24 * 3600))
            .header(header::ACCEPT, "text/event-stream")
            .query(&self.filter.query());
        if let Some(place) = self.place {
            request = request.header("last-event-id", place.to_string());
        }
        let response = timeout(Duration::from_secs(30), send(request))
            .await
            .map_err(|_elapsed| Error::Unexpected {
                status: 504,
                body: "no answer within 30 s".to_owned(),
            })??;
        self.body = Some(response.bytes_stream().boxed());
        Ok(())
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream")
            .field("filter", &self.filter)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// One message of the stream: a place in the log, and an event where it carries one.
#[derive(Debug, Default, PartialEq)]
struct Message {
    id: Option<Cursor>,
    event: Option<Event>,
    /// An event of a type that is newer than this program.
    unknown: bool,
}

impl Message {
    /// Whether it tells the place and nothing else.
    const fn is_place(&self) -> bool {
        self.event.is_none() && !self.unknown
    }
}

/// Reads `text/event-stream` (WHATWG HTML, section 9.2.6) as far as state-api writes it.
#[derive(Debug, Default)]
struct Parser {
    pending: Vec<u8>,
    id: Option<Cursor>,
    data: String,
    ready: std::collections::VecDeque<Message>,
}

impl Parser {
    /// Takes more bytes. False where they are no stream of ours.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self
            .pending
            .get(begin..)
            .and_then(|rest| rest.iter().position(|b| *b == b'\n'))
        {
            let line = self
                .pending
                .get(begin..begin + length)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .unwrap_or_default();
            begin += length + 1;
            if !self.line(line.trim_end_matches('\r')) {
                return false;
            }
        }
        self.pending.drain(..begin);
        self.pending.len() <= MAX_LINE
    }

    fn line(&mut self, line: &str) -> bool {
        if line.is_empty() {
            let id = self.id.take();
            let data = std::mem::take(&mut self.data);
            let mut message = Message {
                id,
                ..Message::default()
            };
            if !data.is_empty() {
                match serde_json::from_str(&data) {
                    Ok(event) => message.event = Some(event),
                    // Its place still counts.
                    Err(_) if id.is_some() => message.unknown = true,
                    Err(_) => return false,
                }
            }
            if id.is_some() || message.event.is_some() {
                self.ready.push_back(message);
            }
            return true;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.parse().ok(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, `event` and `retry` say nothing that is needed here.
            _ => {}
        }
        true
    }

    fn take(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: i64) -> Event {
        serde_json::from_value(json!({
            "id": format!("0-{seq}"), "type": "image.rollout_created",
            "occurred_at": "2026-11-21T09:00:00Z", "data": {}, "actor": "rollout-planner",
        }))
        .unwrap()
    }

    fn text(seq: i64) -> String {
        let event = event(seq);
        format!(
            "id: {}\nevent: {}\ndata: {}\n\n",
            event.id,
            event.kind,
            serde_json::to_string(&event).unwrap()
        )
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let whole = format!(":hello\nid: 0-6\n\n{}:beat\n\n{}", text(7), text(8));
        for cut in 1..whole.len() {
            let mut parser = Parser::default();
            for part in whole.as_bytes().chunks(cut) {
                assert!(parser.push(part));
            }
            let messages: Vec<_> = std::iter::from_fn(|| parser.take()).collect();
            let places: Vec<_> = messages
                .iter()
                .filter_map(|m| m.id)
                .map(|c| c.seq)
                .collect();
            let events: Vec<_> = messages.into_iter().filter_map(|m| m.event).collect();
            assert_eq!(places, [6, 7, 8], "cut every {cut} bytes");
            assert_eq!(events, [event(7), event(8)], "cut every {cut} bytes");
        }
    }

    #[test]
    fn an_event_of_an_unknown_type_moves_the_place_and_is_left_out() {
        let mut parser = Parser::default();
        assert!(parser.push(b"id: 0-3\ndata: {\"type\":\"moon.landed\"}\n\n"));
        let message = parser.take().unwrap();
        assert_eq!(message.id, Some(Cursor { tx: 0, seq: 3 }));
        assert_eq!(message.event, None);
        assert!(!message.is_place(), "the log goes on after it");
    }

    #[test]
    fn what_is_no_stream_of_ours_is_given_up() {
        let mut parser = Parser::default();
        assert!(!parser.push(b"data: <html>\n\n"));
    }
}
