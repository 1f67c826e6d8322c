//! Credential helpers: programs that Docker's configuration names
//! (<https://github.com/docker/docker-credential-helpers>).

use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How long one may take: those of clouds ask their cloud.
const TIME: Duration = Duration::from_secs(15);
/// Bytes of an answer at most; tokens of clouds have some thousands.
const MOST: u64 = 64 * 1024;

/// What a helper told.
#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(rename = "Username", default)]
    pub(crate) user: String,
    #[serde(rename = "Secret", default)]
    pub(crate) secret: String,
}

/// Whether a credential helper may have this name: the part of its program's name after `docker-credential-`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.starts_with('.')
}

/// Asks `docker-credential-NAME` for the credentials of a server; nothing where it has none. Its words
/// are told to nobody: they may hold what it knows.
///
/// # Errors
/// In words, where it cannot be run, takes too long or answers with something else.
pub(crate) async fn get(
    name: &str,
    folder: Option<&Path>,
    server: &str,
) -> Result<Option<Answer>, String> {
    let program = format!("docker-credential-{name}");
    match tokio::time::timeout(TIME, run(&program, folder, server)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{program} took longer than {} s", TIME.as_secs())),
    }
}

async fn run(program: &str, folder: Option<&Path>, server: &str) -> Result<Option<Answer>, String> {
    let told = |what: &str, error: std::io::Error| format!("{program} {what}: {error}");
    let mut child =
        Command::new(folder.map_or_else(|| program.into(), |folder| folder.join(program)))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| told("cannot be run", error))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input may have ended by now; its answer says more.
        if let Err(error) = input.write_all(server.as_bytes()).await {
            tracing::debug!(%error, program, "a credential helper did not read what it was asked");
        }
    }
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(MOST)
            .read_to_end(&mut text)
            .await
            .map_err(|error| told("cannot be read", error))?;
    }
    let status = child
        .wait()
        .await
        .map_err(|error| told("cannot be waited for", error))?;
    if !status.success() {
        let unknown = String::from_utf8_lossy(&text).contains("credentials not found");
        return if unknown {
            Ok(None)
        } else {
            Err(format!("{program} failed with {status}"))
        };
    }
    match serde_json::from_slice::<Answer>(&text) {
        Ok(answer) if answer.secret.is_empty() => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        // Its own words are left out, and so are the parser's, which may quote them.
        Err(_) => Err(format!("{program} did not answer with JSON credentials")),
    }
}
