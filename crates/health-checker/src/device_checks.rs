//! Checks of devices: taken for a while, tried outside of any transaction, written down.

use crate::ask::{Question, Said, ask, connect};
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use std::net::IpAddr;
use std::time::Duration;
use windlass_core::checks::{Allowed, Progress, Try, advance, escaped_for_url, fill, try_seconds};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::checks::{self, DueCheck, Tried};
use windlass_store::{Result, verdicts};
use windlass_types::policy::{Check, CheckKind};

/// What one try may say, cut to what people read.
const OUTPUT: usize = 500;

/// Tries the checks of devices that are due.
///
/// # Errors
/// Whatever the store says; what was taken then is tried again after a while.
pub async fn device_checks(deps: &Deps, allowed: &Allowed, at_once: usize) -> Result<Next> {
    let mut read = deps.store.read().await?;
    if !checks::any_due(&mut read).await? {
        return Ok(Next::Idle);
    }
    drop(read);
    let limit = i64::try_from(at_once).unwrap_or(i64::MAX);
    let mut tx = deps.store.begin().await?;
    checks::forget_left_behind(&mut tx).await?;
    let due = checks::claim(&mut tx, limit).await?;
    let rollouts = due.iter().map(|check| check.rollout).collect();
    let shipments = verdicts::shipments(&mut tx, &rollouts).await?;
    deps.commit(tx).await?;
    let full = due.len() >= at_once;
    let mut tries = stream::iter(due)
        .map(|due| {
            let rule = shipments
                .get(&due.rollout)
                .map(|shipment| shipment.rule.health_of(due.batch));
            let check = rule.and_then(|rule| {
                let at = usize::try_from(due.position).ok()?;
                rule.checks.get(at).cloned()
            });
            async move {
                let said = match &check {
                    Some(check) => run(allowed, &due, check).await,
                    None => (Try::Impossible, "the rollout has no such check".to_owned()),
                };
                (due, check, said)
            }
        })
        .buffer_unordered(at_once)
        // Those that answer are written down without waiting for those that do not.
        .ready_chunks(at_once);
    while let Some(done) = tries.next().await {
        let mut tx = deps.store.begin().await?;
        let now = tx.now();
        let tried: Vec<Tried> = done
            .into_iter()
            .map(|(due, check, (outcome, said))| {
                let check = check.unwrap_or_else(|| Check::new(CheckKind::Tcp));
                let Progress {
                    status,
                    failed_in_row,
                    next_at,
                } = advance(due.failed_in_row, outcome, &check, due.deadline_at, now);
                Tried {
                    rollout: due.rollout,
                    device: due.device,
                    position: due.position,
                    tries: due.tries,
                    status,
                    failed_in_row,
                    output: cut(&said),
                    next_at,
                }
            })
            .collect();
        checks::decide(&mut tx, &tried).await?;
        deps.commit(tx).await?;
    }
    Ok(if full { Next::Again } else { Next::Idle })
}

/// At most so many characters, without NUL, which PostgreSQL stores in no text.
pub(crate) fn cut(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(OUTPUT).collect()
}

/// One try.
async fn run(allowed: &Allowed, due: &DueCheck, check: &Check) -> Said {
    let limit = Duration::from_secs(try_seconds(check).into());
    // What a device says of itself is not believed to be an address before it reads as one; and
    // without one nothing is asked, least of all this machine.
    let address: Option<IpAddr> = due.address.as_deref().and_then(|text| text.parse().ok());
    let no_address = || {
        (
            Try::Undecided,
            "cannot be checked: the device reports no address".to_owned(),
        )
    };
    match check.kind {
        CheckKind::Tcp => {
            let (Some(address), Some(port)) = (address, check.port) else {
                return no_address();
            };
            match connect(allowed, address, port, limit).await {
                Ok(()) => (
                    Try::Passed,
                    format!("{address} port {port} takes connections"),
                ),
                Err(said) => said,
            }
        }
        CheckKind::Http => {
            let url = check.url.as_deref().unwrap_or_default();
            let uuid = due.device.to_string();
            let values = [("name", due.name.as_str()), ("uuid", uuid.as_str())];
            // Braces in a value are escaped, so that the second filling finds only the rule's.
            let url = fill(url, &values, escaped_for_url);
            let written = match address {
                Some(IpAddr::V6(v6)) => format!("[{v6}]"),
                Some(IpAddr::V4(v4)) => v4.to_string(),
                None if url.contains("{address}") => return no_address(),
                None => String::new(),
            };
            let url = fill(&url, &[("address", &written)], str::to_owned);
            http(allowed, &url, check, limit).await
        }
        CheckKind::ContainerRunning | CheckKind::Custom | CheckKind::Prometheus => (
            Try::Impossible,
            format!(
                "a check of the type {} is not run against a device",
                check.kind
            ),
        ),
    }
}

async fn http(allowed: &Allowed, url: &str, check: &Check, limit: Duration) -> Said {
    let question = Question {
        method: Method::GET,
        url,
        json: None,
        read_body: check.body_contains.is_some(),
    };
    let answer = match ask(allowed, question, limit).await {
        Ok(answer) => answer,
        Err(said) => return said,
    };
    let status = answer.status;
    let expected = if check.expected_status.is_empty() {
        (200..300).contains(&status)
    } else {
        check.expected_status.contains(&status)
    };
    if !expected {
        return (Try::Failed, format!("it answers {status}"));
    }
    match &check.body_contains {
        Some(text) if !answer.body.contains(text.as_str()) => (
            Try::Failed,
            format!("it answers {status}, but its body does not contain {text:?}"),
        ),
        Some(_) | None => (Try::Passed, format!("it answers {status}")),
    }
}
