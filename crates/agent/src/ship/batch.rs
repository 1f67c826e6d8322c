//! Lines that are sent together.

use super::Positions;
use crate::machine::LogLine;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Lines at most.
const LINES: usize = 500;
/// Bytes of text at most, before compression.
const BYTES: usize = 256 * 1024;
/// Bytes of one line at most; the rest of it is cut off.
const LINE: usize = 16 * 1024;

/// A line with where it is from.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) container: String,
    pub(super) service: String,
    pub(super) line: LogLine,
}

/// A batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Value>,
    bytes: usize,
    ends: BTreeMap<String, DateTime<Utc>>,
}

impl Batch {
    pub(super) fn of(entry: &Entry) -> Self {
        let mut batch = Self::default();
        batch.add(entry);
        batch
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let Entry {
            container,
            service,
            line,
        } = entry;
        self.bytes += line.text.len();
        self.ends.insert(container.clone(), line.at);
        let end = line.text.floor_char_boundary(LINE);
        let text = line.text.get(..end).unwrap_or_default();
        // A line without text has no message for the server.
        if text.is_empty() {
            return;
        }
        self.entries.push(json!({
            "timestamp": line.at.timestamp_millis(),
            "level": "info",
            "message": text,
            "source": {"type": "container", "name": service},
            "serviceName": service,
            "containerId": container,
            "isStdErr": line.is_stderr,
        }));
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= LINES || self.bytes >= BYTES
    }

    pub(super) fn entries(&self) -> &[Value] {
        &self.entries
    }

    /// How far each container is shipped with this.
    pub(super) fn ends(self) -> Positions {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_in_lines_and_bytes_and_a_line_in_length() {
        let entry = |text: &str, seconds| Entry {
            container: "c0ffee".to_owned(),
            service: "web".to_owned(),
            line: LogLine {
                at: DateTime::from_timestamp(seconds, 0).unwrap(),
                is_stderr: true,
                text: text.to_owned(),
            },
        };
        let mut batch = Batch::of(&entry(&"ü".repeat(LINE), 1));
        assert_eq!(batch.entries()[0]["message"].as_str().unwrap().len(), LINE);
        assert_eq!(batch.entries()[0]["isStdErr"], true);
        batch.add(&entry("", 2));
        assert_eq!(batch.entries().len(), 1);
        for _ in 1..LINES {
            assert!(!batch.is_full());
            batch.add(&entry("x", 3));
        }
        assert!(batch.is_full());
        assert_eq!(batch.ends()["c0ffee"].timestamp(), 3);
    }
}
