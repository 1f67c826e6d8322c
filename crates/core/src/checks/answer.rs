//! What a custom gate answers.

use super::Try;
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    decision: Decision,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Pass,
    Fail,
    Wait,
}

/// What a body answers: `{"decision": "pass" | "fail" | "wait", "reason": "…"}`. Its decision is
/// final where it is pass or fail; anything else in a body is a failed try. With a sentence for people.
#[must_use]
pub fn custom_answer(body: &str) -> (Try, String) {
    let answer: Answer = match serde_json::from_str(body) {
        Ok(answer) => answer,
        Err(error) => {
            return (
                Try::Failed,
                format!(
                    "its answer is not {{\"decision\": \"pass\", \"fail\" or \"wait\", \"reason\": \"…\"}}: {error}"
                ),
            );
        }
    };
    let (outcome, word) = match answer.decision {
        Decision::Pass => (Try::Passed, "pass"),
        Decision::Fail => (Try::Refused, "fail"),
        Decision::Wait => (Try::Undecided, "wait"),
    };
    let reason = answer.reason.unwrap_or_default();
    let said = if reason.is_empty() {
        format!("it answers {word}")
    } else {
        format!("it answers {word}: {reason}")
    };
    (outcome, said)
}
