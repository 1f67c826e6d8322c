//! Reports that could not be sent while something else became true: kept on disk, so many and no more,
//! and sent after a fresh one, as history.

use serde_json::Value;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// The queue, oldest first.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    most: usize,
    lines: VecDeque<String>,
    /// Lines in the file, those that were dropped from the queue included.
    written: usize,
}

impl History {
    /// The queue of an earlier run; lines that are broken are left out.
    #[must_use]
    pub fn open(path: PathBuf, most: usize) -> Self {
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: VecDeque<String> = text
            .lines()
            .filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()))
            .map(str::to_owned)
            .collect();
        let written = text.lines().count();
        while lines.len() > most {
            lines.pop_front();
        }
        Self {
            path,
            most,
            lines,
            written,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds one; the oldest goes where there are too many. A disk that cannot be written keeps it in
    /// memory.
    pub fn push(&mut self, report: &Value) {
        if self.most == 0 {
            return;
        }
        let line = report.to_string();
        self.lines.push_back(line.clone());
        while self.lines.len() > self.most {
            self.lines.pop_front();
        }
        let told = if self.written >= 2 * self.most {
            self.rewrite()
        } else {
            self.append(&line)
        };
        if let Err(error) = told {
            tracing::warn!(%error, "reports of the past cannot be kept on disk");
        }
    }

    /// The oldest.
    #[must_use]
    pub fn first(&self) -> Option<Value> {
        serde_json::from_str(self.lines.front()?).ok()
    }

    /// Drops the oldest. The file is emptied after the last: one that is sent twice counts once.
    pub fn sent(&mut self) {
        self.lines.pop_front();
        if self.lines.is_empty()
            && self.written > 0
            && let Err(error) = self.rewrite()
        {
            tracing::warn!(%error, "reports of the past cannot be removed from the disk");
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        // One write, beginning with the end of a line that a crash may have cut off.
        file.write_all(format!("\n{line}").as_bytes())?;
        self.written += 1;
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            let beside = self.path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            for line in &self.lines {
                file.write_all(format!("\n{line}").as_bytes())?;
            }
            std::fs::rename(&beside, &self.path)?;
        }
        self.written = self.lines.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_outlives_the_agent_is_bounded_and_skips_what_a_crash_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.ndjson");
        let mut history = History::open(path.clone(), 3);
        for number in 0..20 {
            history.push(&json!({ "number": number }));
        }
        assert_eq!(history.len(), 3);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < 200, "{size}");
        let mut cut = OpenOptions::new().append(true).open(&path).unwrap();
        cut.write_all(b"\n{\"number\": 2").unwrap();
        let mut history = History::open(path.clone(), 3);
        history.push(&json!({ "number": 20 }));
        let mut history = History::open(path.clone(), 3);
        let mut found = Vec::new();
        while let Some(report) = history.first() {
            found.push(report["number"].as_i64().unwrap());
            history.sent();
        }
        assert_eq!(found, [18, 19, 20]);
        assert!(History::open(path, 3).is_empty());
    }
}
