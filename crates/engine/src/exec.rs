//! Programs in a running container.

use crate::engine::{Engine, QUICK};
use crate::error::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;
use std::time::{Duration, Instant};

/// How much of what a program prints is kept, in bytes.
const OUTPUT: usize = 4096;

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// The engine's id of it.
    pub id: String,
    /// How it ended; none where it still ran when the time was up. An engine cannot end it: ask
    /// [`Engine::exec_runs`] before another is started.
    pub exit_code: Option<i64>,
    /// The end of what it printed, at most 4 KiB.
    pub output: String,
}

impl Engine {
    /// Runs a program in a container, no longer than the limit.
    ///
    /// # Errors
    /// Where the container does not run or the engine does not answer. A program that is not there is no
    /// error here: it ends with 126 or 127.
    pub async fn exec(
        &self,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecResult, Error> {
        const ACTION: &str = "exec";
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let begun = Instant::now();
        let id = self
            .call(ACTION, QUICK, async |docker| {
                docker.create_exec(container, config).await
            })
            .await?
            .id;
        let started = self
            .call(ACTION, QUICK, async |docker| {
                docker.start_exec(&id, None::<StartExecOptions>).await
            })
            .await?;
        let mut printed = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = started {
            let left = limit.saturating_sub(begun.elapsed());
            let read = async {
                while let Some(Ok(part)) = output.next().await {
                    printed.extend_from_slice(part.as_ref());
                    let over = printed.len().saturating_sub(OUTPUT);
                    printed.drain(..over);
                }
            };
            if tokio::time::timeout(left, read).await.is_err() {
                return Ok(ExecResult {
                    id,
                    exit_code: None,
                    output: text(&printed),
                });
            }
        }
        let ended = self
            .call(ACTION, QUICK, async |docker| docker.inspect_exec(&id).await)
            .await?;
        Ok(ExecResult {
            id,
            exit_code: ended.exit_code,
            output: text(&printed),
        })
    }

    /// Whether a program that was started still runs.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn exec_runs(&self, id: &str) -> Result<bool, Error> {
        let asked = self
            .call("inspect exec", QUICK, async |docker| {
                docker.inspect_exec(id).await
            })
            .await;
        match asked {
            Ok(answer) => Ok(answer.running.unwrap_or_default()),
            // Forgotten with its container.
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
