//! What registries say about how often they may be asked.

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// A wait that a registry asks for is believed up to this: Docker Hub's window is six hours.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// The window of limits that do not tell theirs.
const USUAL_WINDOW: Duration = Duration::from_secs(3600);
/// The shortest pause where a limit is used up and the registry does not say until when.
const SHORTEST: Duration = Duration::from_secs(60);
/// The share of a limit that work in the background leaves for what ships: a fifth.
const RESERVE: u64 = 5;

/// A limit as a registry's headers tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a window.
    pub limit: Option<u64>,
    /// Requests that are left.
    pub remaining: Option<u64>,
    /// How long a window is.
    pub window: Option<Duration>,
    /// When there are more, from now.
    pub reset: Option<Duration>,
}

impl Rate {
    /// Reads `RateLimit-*` (Docker Hub's form `100;w=21600` and the plain one) and `X-RateLimit-*`.
    pub(crate) fn read(headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        let (limit, window) = number(headers, "ratelimit-limit");
        let (remaining, other) = number(headers, "ratelimit-remaining");
        // Docker Hub sends the other family too, for its limit on abuse; its own goes first.
        let own = remaining.is_some();
        let fallback = |name| if own { None } else { number(headers, name).0 };
        let reset = number(headers, "ratelimit-reset")
            .0
            .or_else(|| fallback("x-ratelimit-reset"))
            .map(|value| until(value, now));
        Self {
            limit: limit.or_else(|| fallback("x-ratelimit-limit")),
            remaining: remaining.or_else(|| fallback("x-ratelimit-remaining")),
            window: window.or(other),
            reset,
        }
    }
}

/// `100;w=21600`, `100, 100;w=60` or `100`: the first number and its window.
fn number(headers: &HeaderMap, name: &str) -> (Option<u64>, Option<Duration>) {
    let Some(text) = headers.get(name).and_then(|value| value.to_str().ok()) else {
        return (None, None);
    };
    let first = text.split(',').next().unwrap_or_default();
    let mut parts = first.split(';').map(str::trim);
    let value = parts.next().and_then(|text| text.parse().ok());
    let window = parts
        .find_map(|part| part.strip_prefix("w="))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    (value, window)
}

/// Seconds from now, or an instant since 1970 where it is too large for a wait.
fn until(value: u64, now: DateTime<Utc>) -> Duration {
    // Ten years: no wait is that long, and every instant of ours is later.
    let seconds = if value > 315_360_000 {
        let now = u64::try_from(now.timestamp()).unwrap_or_default();
        value.saturating_sub(now)
    } else {
        value
    };
    Duration::from_secs(seconds).min(LONGEST)
}

/// How long a refusal wants us to stay away: `Retry-After` in seconds or as a date, or Docker Hub's
/// `X-Retry-After`, an instant.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |text: &str| DateTime::parse_from_rfc2822(text.trim()).ok();
    if let Some(told) = text(RETRY_AFTER.as_str()) {
        if let Ok(seconds) = told.trim().parse() {
            return Some(Duration::from_secs(seconds).min(LONGEST));
        }
        // Their date is of their clock, so it is compared with that one where they tell it.
        let now = text(DATE.as_str())
            .and_then(date)
            .map_or(now, |date| date.to_utc());
        return date(told)
            .and_then(|at| at.to_utc().signed_duration_since(now).to_std().ok())
            .map(|wait| wait.min(LONGEST));
    }
    text("x-retry-after")
        .and_then(|told| told.trim().parse().ok())
        .map(|value| until(value, now))
}

/// Whether an answer says that the registry is in trouble.
pub(crate) fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// How long nothing may be asked after this was told: while nothing is left of the limit.
pub(crate) fn foreground_pause(rate: &Rate) -> Option<Duration> {
    (rate.remaining == Some(0)).then(|| refilled(rate, 1))
}

/// How long work that can wait asks nothing: while less than a fifth of the limit is left, which is for
/// what ships.
pub(crate) fn background_pause(rate: &Rate) -> Option<Duration> {
    let remaining = rate.remaining?;
    let reserve = rate.limit.map_or(1, |limit| (limit / RESERVE).max(1));
    (remaining < reserve).then(|| refilled(rate, reserve - remaining))
}

/// How long until so many requests more are left. Windows that slide give them back evenly.
fn refilled(rate: &Rate, requests: u64) -> Duration {
    let wait = rate.reset.unwrap_or_else(|| {
        let window = rate.window.unwrap_or(USUAL_WINDOW);
        let limit = rate.limit.unwrap_or(1).max(1);
        let share = window.as_secs().saturating_mul(requests) / limit;
        Duration::from_secs(share).min(window)
    });
    wait.clamp(SHORTEST, LONGEST)
}

/// How long work that can wait leaves a registry alone after so many failures in a row: doubled from
/// five seconds up to a quarter of an hour, of which `jitter` (0 to 1) gives up to half.
pub(crate) fn failure_pause(failures: u32, jitter: f64) -> Duration {
    let doubled = 5_u64.saturating_mul(1 << failures.clamp(1, 10).saturating_sub(1));
    let longest = Duration::from_secs(doubled.min(900));
    longest.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.5, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn limits_are_read_in_every_form() {
        let rate = |limit, remaining, window, reset| Rate {
            limit,
            remaining,
            window,
            reset,
        };
        type Lines = Vec<(&'static str, &'static str)>;
        let cases: Vec<(&str, Lines, Rate)> = vec![
            ("nothing", vec![], Rate::default()),
            (
                "Docker Hub",
                vec![
                    ("ratelimit-limit", "100;w=21600"),
                    ("ratelimit-remaining", "76;w=21600"),
                    ("x-ratelimit-limit", "180"),
                    ("x-ratelimit-remaining", "179"),
                ],
                rate(Some(100), Some(76), seconds(21_600), None),
            ),
            (
                "plain, with a time",
                vec![
                    ("ratelimit-limit", "10, 10;w=60"),
                    ("ratelimit-remaining", "0"),
                    ("ratelimit-reset", "30"),
                ],
                rate(Some(10), Some(0), None, seconds(30)),
            ),
            (
                "GitHub, with an instant",
                vec![
                    ("x-ratelimit-limit", "5000"),
                    ("x-ratelimit-remaining", "4"),
                    ("x-ratelimit-reset", "1800000120"),
                ],
                rate(Some(5000), Some(4), None, seconds(120)),
            ),
            (
                "garbage",
                vec![
                    ("ratelimit-limit", "many"),
                    ("ratelimit-remaining", "-3;w=0"),
                ],
                Rate::default(),
            ),
        ];
        for (what, lines, expected) in cases {
            assert_eq!(Rate::read(&headers(&lines), now()), expected, "{what}");
        }
    }

    #[test]
    fn the_time_to_stay_away_is_read_in_every_form() {
        let cases = [
            ("nothing", vec![], None),
            ("seconds", vec![("retry-after", " 7 ")], seconds(7)),
            (
                "far too long",
                vec![("retry-after", "99999999")],
                Some(LONGEST),
            ),
            (
                "a date by its own clock",
                vec![
                    ("date", "Fri, 31 Dec 1999 23:59:00 GMT"),
                    ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
                ],
                seconds(59),
            ),
            (
                "a date that has passed",
                vec![("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")],
                None,
            ),
            (
                "Docker Hub's instant",
                vec![("x-retry-after", "1800000045")],
                seconds(45),
            ),
            ("garbage", vec![("retry-after", "soon")], None),
        ];
        for (what, lines, expected) in cases {
            assert_eq!(retry_after(&headers(&lines), now()), expected, "{what}");
        }
    }

    #[test]
    fn a_fifth_of_the_limit_is_left_for_what_ships() {
        let hub = |remaining| Rate {
            limit: Some(100),
            remaining: Some(remaining),
            window: seconds(21_600),
            reset: None,
        };
        assert_eq!(background_pause(&hub(20)), None);
        // One request comes back each 216 s.
        assert_eq!(background_pause(&hub(19)), seconds(216));
        assert_eq!(background_pause(&hub(0)), seconds(4320));
        assert_eq!(foreground_pause(&hub(1)), None);
        assert_eq!(foreground_pause(&hub(0)), seconds(216));
        assert_eq!(background_pause(&Rate::default()), None);
        let told = Rate {
            remaining: Some(0),
            reset: seconds(5),
            ..Rate::default()
        };
        assert_eq!(foreground_pause(&told), Some(SHORTEST));
    }

    #[test]
    fn failures_keep_us_away_longer_each_time_up_to_a_bound() {
        assert_eq!(failure_pause(1, 1.0), Duration::from_secs(5));
        assert_eq!(failure_pause(1, 0.0), Duration::from_millis(2500));
        assert_eq!(failure_pause(4, 1.0), Duration::from_secs(40));
        assert_eq!(failure_pause(u32::MAX, 1.0), Duration::from_secs(900));
    }
}
