//! What containers print.

use crate::engine::Engine;
use crate::error::Error;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt as _};

/// The longest piece of a line that is passed on, in bytes: what engines cut lines at.
const LONGEST: usize = 16 * 1024;

/// A line that a container printed. Engines cut longer ones than 16 KiB into several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, by the engine.
    pub at: DateTime<Utc>,
    /// Whether to standard error.
    pub is_stderr: bool,
    /// The line, without its end.
    pub text: String,
}

impl Engine {
    /// What a container printed after an instant and, where it is to be followed, what it prints from now on
    /// until it ends.
    ///
    /// # Errors
    /// Where the engine does not answer. That the container is not there, or that its logging driver
    /// does not give anything back, is told by the first item.
    pub async fn logs(
        &self,
        container: &str,
        after: Option<DateTime<Utc>>,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Line, Error>>, Error> {
        // The API counts whole seconds; the rest is left out below.
        let since = after.map_or(0, |at| i32::try_from(at.timestamp()).unwrap_or(0));
        let options = LogsOptionsBuilder::default()
            .follow(follow)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail("all")
            .build();
        let lines = self.client().await?.logs(container, Some(options));
        Ok(lines
            .filter_map(move |item| {
                let line = match item {
                    Ok(output) => line(&output)
                        .filter(|line| after.is_none_or(|after| line.at > after))
                        .map(Ok),
                    Err(error) => Some(Err(Error::of("read logs", &error))),
                };
                std::future::ready(line)
            })
            .boxed())
    }
}

fn line(output: &LogOutput) -> Option<Line> {
    let (is_stderr, bytes) = match output {
        LogOutput::StdErr { message } => (true, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => (false, message),
        LogOutput::StdIn { .. } => return None,
    };
    let bytes = bytes.get(..LONGEST + 64).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let (at, text) = text.split_once(' ')?;
    Some(Line {
        at: DateTime::parse_from_rfc3339(at).ok()?.to_utc(),
        is_stderr,
        text: text.trim_end_matches(['\n', '\r']).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parted_from_its_time_and_its_end() {
        let read = line(&LogOutput::StdErr {
            message: "2026-11-21T10:00:00.5Z  hello world\r\n".into(),
        })
        .unwrap();
        assert!(read.is_stderr);
        assert_eq!(read.text, " hello world");
        assert_eq!(read.at.timestamp_subsec_millis(), 500);
        assert_eq!(
            line(&LogOutput::StdOut {
                message: "no time".into()
            }),
            None
        );
    }
}
