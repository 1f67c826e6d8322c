//! Reading what was sent, no further than the limit.

use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_service::Problem;

/// Headers that are stored beside the body: what the delivery says of itself. Everything else stays
/// out, above all signatures, tokens and cookies.
const KEPT: [&str; 24] = [
    "content-type",
    "user-agent",
    "x-github-event",
    "x-github-delivery",
    "x-github-hook-id",
    "x-gitea-event",
    "x-gitea-delivery",
    "x-forgejo-event",
    "x-forgejo-delivery",
    "x-nexus-webhook-id",
    "x-nexus-webhook-delivery",
    "aeg-event-type",
    "ce-id",
    "ce-source",
    "ce-specversion",
    "ce-subject",
    "ce-time",
    "ce-type",
    "x-amz-sns-message-id",
    "x-amz-sns-message-type",
    "x-amz-sns-rawdelivery",
    "x-amz-sns-topic-arn",
    "x-goog-pubsub-message-id",
    "x-goog-pubsub-publish-time",
];
/// Longer values are cut: a header is stored to be looked at.
const MAX_HEADER_CHARS: usize = 500;

/// The bytes as they were sent: signatures are over these.
///
/// # Errors
/// [`Problem::TooLarge`] as soon as there are more than `limit`, also where the length is not told
/// beforehand; [`Problem::TooSlow`] where the whole did not come in `time`, since one who sends a byte a
/// second holds a connection for nothing; [`Problem::Malformed`] where the body breaks off.
pub(crate) async fn read(
    headers: &HeaderMap,
    payload: Payload,
    limit: usize,
    time: Duration,
) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::TooLarge(format!("a delivery may have up to {limit} bytes"));
    let told = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|told| told > limit) {
        return Err(too_large());
    }
    let reading = async {
        let mut payload = payload;
        let mut bytes = Vec::with_capacity(told.unwrap_or(0).min(limit));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error: PayloadError| {
                Problem::Malformed(format!("the body breaks off: {error}"))
            })?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(time, reading)
        .await
        .unwrap_or(Err(Problem::TooSlow(time.as_secs())))
}

/// Refuses what is not sent as JSON.
///
/// # Errors
/// [`Problem::UnsupportedMedia`], with what to set at the sender.
pub(crate) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("something unreadable"))
    };
    if let Some(encoding) = text(CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(Problem::UnsupportedMedia(format!(
            "a delivery is taken without Content-Encoding, not as {encoding}"
        )));
    }
    // Senders that say nothing send JSON all the same.
    let kind = text(CONTENT_TYPE).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    // SNS says text/plain of its JSON.
    if kind == "text/plain" && headers.contains_key("x-amz-sns-message-type") {
        return Ok(());
    }
    if kind == "application/json" || kind == "text/json" || kind.ends_with("+json") {
        Ok(())
    } else {
        Err(Problem::UnsupportedMedia(format!(
            "a delivery must be application/json, not {kind}; choose that content type at the sender"
        )))
    }
}

/// The body as JSON.
///
/// # Errors
/// [`Problem::Malformed`], with the place where it is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::Malformed(format!(
            "the body is no UTF-8 from byte {} on",
            error.valid_up_to()
        ))
    })?;
    serde_json::from_str(text)
        .map_err(|error| Problem::Malformed(format!("the body is no JSON: {error}")))
}

/// The headers that are kept.
pub(crate) fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    KEPT.iter()
        .filter_map(|name| {
            let value = headers.get(*name)?.to_str().ok()?;
            let value = value.chars().take(MAX_HEADER_CHARS).collect();
            Some(((*name).to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn json_in_all_its_types_is_taken_and_nothing_else() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.docker.distribution.events.v1+json", true),
            ("application/vnd.docker.distribution.events.v2+json", true),
            ("text/json", true),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
            ("", false),
        ];
        for (kind, taken) in cases {
            let got = check_type(&headers(&[("content-type", kind)])).is_ok();
            assert_eq!(got, taken, "{kind}");
        }
        let sns = [
            ("content-type", "text/plain; charset=UTF-8"),
            ("x-amz-sns-message-type", "Notification"),
        ];
        assert!(check_type(&headers(&sns)).is_ok());
        assert!(check_type(&headers(&[])).is_ok());
        assert!(check_type(&headers(&[("content-encoding", "gzip")])).is_err());
        assert!(check_type(&headers(&[("content-encoding", "identity")])).is_ok());
    }

    #[test]
    fn no_header_that_could_hold_a_secret_is_kept() {
        let kept = kept(&headers(&[
            ("authorization", "Bearer s3cret"),
            ("x-hub-signature-256", "sha256=00"),
            ("x-hub-signature", "sha1=00"),
            ("cookie", "a=b"),
            ("x-api-key", "k"),
            ("user-agent", "GitHub-Hookshot/1"),
            ("x-github-event", "package"),
        ]));
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["user-agent", "x-github-event"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = parse(&bytes) {
                prop_assert!(std::str::from_utf8(&bytes).is_ok());
                prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok_and(|again| again == value));
            }
        }
    }
}
