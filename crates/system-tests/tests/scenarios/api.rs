//! Requests as an operator sends them, and waiting on what they show.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use windlass_testkit::http;

/// How long anything may take on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Many scenarios look at once, so each looks less often than a test alone would.
const LOOK: Duration = Duration::from_millis(150);

/// One operator at one server.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: reqwest::Client,
    base: String,
    key: String,
}

/// A status and a body.
pub(crate) type Answer = (u16, Value);

impl Api {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self {
            client: http(),
            base: format!("{url}/api/v1"),
            key: key.to_owned(),
        }
    }

    /// Sends a request, again where the server says that it was too busy and did nothing.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        until(&format!("{path} is answered"), async || {
            let mut request = self
                .client
                .request(method.clone(), format!("{}{path}", self.base))
                .bearer_auth(&self.key);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (status != 503).then_some((status, body))
        })
        .await
    }

    /// A 2xx answer's body.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert!((200..300).contains(&status), "GET {path}: {status} {body}");
        body
    }

    /// A 2xx answer's body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, Some(body)).await;
        assert!(
            (200..300).contains(&status),
            "POST {path} {body}: {status} {answer}"
        );
        answer
    }

    /// The rows of a listing, of all pages.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{sign}limit=500{after}")).await;
            rows.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return rows,
            }
        }
    }

    /// Gives a command on a rollout, with `more` in its body; returns the command's outcome.
    pub(crate) async fn command(&self, rollout: &str, command: &str, more: Value) -> String {
        let mut body = json!({"reason": format!("the scenario wants to {command}")});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let path = format!("/rollouts/{rollout}/{command}");
        let (status, answer) = self.send(Method::POST, &path, Some(&body)).await;
        match answer["command"]["outcome"].as_str() {
            Some("pending") => self.settled(rollout, &answer["command"]["id"]).await,
            Some(outcome) => outcome.to_owned(),
            None => format!("{status} {answer}"),
        }
    }

    /// The outcome of a command that was not carried out while its answer waited.
    async fn settled(&self, rollout: &str, command: &Value) -> String {
        let path = format!("/rollouts/{rollout}/events");
        until("the command is carried out", async || {
            let events = self.list(&path).await;
            let settled = events.iter().find(|event| {
                event["type"] == "operator.command_settled" && event["subject"] == *command
            })?;
            settled["data"]["outcome"].as_str().map(str::to_owned)
        })
        .await
    }
}

/// Waits until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        tokio::time::sleep(LOOK).await;
    }
}
