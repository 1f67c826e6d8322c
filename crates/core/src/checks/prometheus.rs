//! What Prometheus answers, and whether it meets a condition.
//!
//! The answer's shape: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use super::Try;
use serde::Deserialize;
use serde_json::Value;
use windlass_types::policy::{Comparison, Condition};

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// The one number that an instant query gave.
///
/// # Errors
/// Why there is none, for people: nothing found, several series, not a finite number, an error.
pub fn number_of(body: &str) -> Result<f64, String> {
    let answer: Answer = serde_json::from_str(body)
        .map_err(|error| format!("its answer is not one of Prometheus: {error}"))?;
    if answer.status != "success" {
        let error = answer.error.unwrap_or_else(|| answer.status.clone());
        return Err(format!("Prometheus refuses the query: {error}"));
    }
    let data = answer.data.ok_or("its answer has no data")?;
    let sample = match (data.result_type.as_str(), &data.result) {
        ("scalar", sample) => sample,
        ("vector", Value::Array(series)) => match series.as_slice() {
            [] => return Err("the query finds nothing".to_owned()),
            [one] => one.get("value").ok_or("its answer has no value")?,
            several => {
                return Err(format!(
                    "the query gives {} series, and it must give one number",
                    several.len()
                ));
            }
        },
        (other, _) => {
            return Err(format!(
                "the query gives a {other}, and it must give one number"
            ));
        }
    };
    // A sample is [time, "number"].
    let text = sample
        .get(1)
        .and_then(Value::as_str)
        .ok_or("its answer has no number")?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) | Err(_) => Err(format!("the query gives {text}, which is no number")),
    }
}

/// Whether a number, or its quotient by the baseline's where there is one, meets a condition. Nothing
/// can be divided by zero: then it is undecided. With a sentence for people.
#[must_use]
pub fn compare(number: f64, baseline: Option<f64>, condition: &Condition) -> (Try, String) {
    let (value, said) = match baseline {
        None => (number, format!("the query gives {number}")),
        Some(baseline) => {
            let quotient = number / baseline;
            if !quotient.is_finite() {
                return (
                    Try::Undecided,
                    format!("the query gives {number}, the baseline {baseline}: no quotient"),
                );
            }
            (
                quotient,
                format!(
                    "the query gives {number}, the baseline {baseline}, which is {quotient} times"
                ),
            )
        }
    };
    let (met, word) = match condition.is {
        Comparison::Lt => (value < condition.value, "below"),
        Comparison::Le => (value <= condition.value, "at most"),
        Comparison::Gt => (value > condition.value, "above"),
        Comparison::Ge => (value >= condition.value, "at least"),
    };
    let wanted = format!("{word} {}", condition.value);
    if met {
        (Try::Passed, format!("{said}: {wanted}, as wanted"))
    } else {
        (Try::Failed, format!("{said}: not {wanted}"))
    }
}
