//! Credential helpers: programs that keep credentials for Docker.

use super::{CredentialsError, Login};
use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A helper that asks somebody at a screen never answers here.
const LIMIT: Duration = Duration::from_secs(15);
/// What helpers give as the name where the secret is a token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    name: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// What a helper keeps for a registry; none where it keeps nothing.
pub(super) async fn ask(helper: &str, registry: &str) -> Result<Option<Login>, CredentialsError> {
    let program = format!("docker-credential-{helper}");
    run(Path::new(&program), helper, registry, LIMIT).await
}

pub(super) async fn run(
    program: &Path,
    helper: &str,
    registry: &str,
    limit: Duration,
) -> Result<Option<Login>, CredentialsError> {
    let failed = |reason: String| CredentialsError::Helper {
        helper: helper.to_owned(),
        registry: registry.to_owned(),
        reason,
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
    let input = child.stdin.take();
    let asked = async {
        if let Some(mut input) = input {
            // One that does not read has its reasons, and its answer.
            input
                .write_all(format!("{registry}\n").as_bytes())
                .await
                .ok();
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(limit, asked)
        .await
        .map_err(|_late| failed(format!("no answer within {} s", limit.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // The protocol's only way to say so.
        return if words.contains("credentials not found") {
            Ok(None)
        } else {
            Err(failed(format!("it ended with {}: {words}", output.status)))
        };
    }
    // Its output is a secret: an error that quoted it would tell it.
    let answer: Answer = serde_json::from_slice(&output.stdout).ok().ok_or_else(|| {
        failed("its answer is not the JSON that the protocol asks for".to_owned())
    })?;
    Ok(Some(if answer.name == TOKEN {
        Login::IdentityToken(answer.secret)
    } else {
        Login::Password {
            name: answer.name,
            password: answer.secret,
        }
    }))
}
