//! Checks as tables.

use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use windlass_types::policy::{CheckKind, Comparison, Condition};
use windlass_types::rollout::CheckStatus;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

#[test]
fn places_of_device_checks_count_every_check_of_the_rule() {
    let mut rule = HealthRule::default();
    let mut from_server = Check::new(CheckKind::Tcp);
    from_server.from = Some(CheckFrom::Server);
    rule.checks = vec![
        Check::new(CheckKind::Custom),
        Check::new(CheckKind::Http),
        from_server,
    ];
    let places: Vec<i64> = of_devices(&rule).map(|(at, _)| at).collect();
    assert_eq!(places, [1, 2]);
    let places: Vec<i64> = of_server(&rule).map(|(at, _)| at).collect();
    assert_eq!(places, [2]);
}

#[test]
fn tries_add_up() {
    use CheckStatus::{Failed, Inconclusive, Passed, Pending};
    let check = Check::new(CheckKind::Tcp);
    // Three in a row fail; the time ends at 300.
    let cases = [
        ("a yes passes", 2, Try::Passed, 10, Passed, 0, None),
        ("a first no waits", 0, Try::Failed, 10, Pending, 1, Some(40)),
        ("a third no fails", 2, Try::Failed, 10, Failed, 3, None),
        (
            "neither keeps the row",
            2,
            Try::Undecided,
            10,
            Pending,
            2,
            Some(40),
        ),
        (
            "the last try is at the end of its time",
            0,
            Try::Failed,
            290,
            Pending,
            1,
            Some(300),
        ),
        (
            "its time is over",
            0,
            Try::Failed,
            300,
            Inconclusive,
            1,
            None,
        ),
        (
            "no data to the end",
            0,
            Try::Undecided,
            300,
            Inconclusive,
            0,
            None,
        ),
        ("a yes at the end", 2, Try::Passed, 900, Passed, 0, None),
        (
            "a third no at the end",
            2,
            Try::Failed,
            900,
            Failed,
            3,
            None,
        ),
        ("a no for good", 0, Try::Refused, 10, Failed, 1, None),
        (
            "it cannot be run",
            0,
            Try::Impossible,
            10,
            Inconclusive,
            0,
            None,
        ),
    ];
    for (name, before, outcome, now, status, failed_in_row, next) in cases {
        let progress = advance(before, outcome, &check, at(300), at(now));
        assert_eq!(
            progress,
            Progress {
                status,
                failed_in_row,
                next_at: next.map(at)
            },
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn a_check_that_is_tried_on_and_on_is_decided_in_time(
        tries in proptest::collection::vec(0_u8..3, 0..2000),
        retry_count in 1_u32..10,
        interval_seconds in 1_u32..60,
        timeout_seconds in 1_u32..600,
    ) {
        let check = Check { retry_count, interval_seconds, timeout_seconds, ..Check::new(CheckKind::Tcp) };
        let deadline = at(timeout_seconds.into());
        let (mut now, mut row) = (at(0), 0);
        let mut outcomes = tries.into_iter().map(|t| [Try::Failed, Try::Undecided, Try::Passed][usize::from(t)]);
        loop {
            let outcome = outcomes.next().unwrap_or(Try::Undecided);
            let progress = advance(row, outcome, &check, deadline, now);
            prop_assert_eq!(progress.status == CheckStatus::Pending, progress.next_at.is_some());
            prop_assert_eq!(outcome == Try::Passed, progress.status == CheckStatus::Passed);
            let Some(next) = progress.next_at else { break };
            prop_assert!(next > now && next <= deadline);
            (now, row) = (next, progress.failed_in_row);
        }
        prop_assert!(now <= deadline);
    }

    #[test]
    fn a_value_never_ends_the_part_of_a_url_it_stands_in(value in ".*") {
        let url = fill("http://{address}:80/a/{name}?x={uuid}", &[("address", "10.0.0.1"), ("name", &value), ("uuid", "u")], escaped_for_url);
        let rest = url.strip_prefix("http://10.0.0.1:80/a/").unwrap();
        let inside = rest.strip_suffix("?x=u").unwrap();
        prop_assert!(inside.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
    }

    #[test]
    fn a_value_never_ends_the_string_of_a_query_it_stands_in(value in ".*") {
        let escaped = escaped_for_query(&value);
        let mut characters = escaped.chars();
        while let Some(character) = characters.next() {
            prop_assert!(!matches!(character, '"' | '\'' | '`' | '\n'));
            if character == '\\' {
                prop_assert!(characters.next().is_some());
            }
        }
    }
}

#[test]
fn placeholders_are_filled_once_and_others_stay() {
    let values = [("name", "{uuid}"), ("uuid", "u")];
    let same = |value: &str| value.to_owned();
    assert_eq!(fill("{name}/{uuid}", &values, same), "{uuid}/u");
    assert_eq!(fill("{other}{", &values, same), "{other}{");
    // Queries have braces of their own.
    assert_eq!(
        fill("sum(x{uuid=\"{uuid}\"})", &values, same),
        "sum(x{uuid=\"u\"})"
    );
}

#[test]
fn a_custom_gates_answer_decides() {
    let cases = [
        (r#"{"decision":"pass"}"#, Try::Passed, "it answers pass"),
        (
            r#"{"decision":"fail","reason":"errors rose"}"#,
            Try::Refused,
            "it answers fail: errors rose",
        ),
        (
            r#"{"decision":"wait","reason":"soon","more":1}"#,
            Try::Undecided,
            "it answers wait: soon",
        ),
        (r#"{"decision":"yes"}"#, Try::Failed, "its answer is not"),
        ("ok", Try::Failed, "its answer is not"),
        ("", Try::Failed, "its answer is not"),
    ];
    for (body, outcome, said) in cases {
        let (found, sentence) = custom_answer(body);
        assert_eq!(found, outcome, "{body}");
        assert!(sentence.starts_with(said), "{body}: {sentence}");
    }
}

#[test]
fn prometheus_gives_one_number_or_none() {
    let vector = |result: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#)
    };
    let good = [
        (vector(r#"[{"metric":{},"value":[1.5,"0.25"]}]"#), 0.25),
        (
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"7"]}}"#.to_owned(),
            7.0,
        ),
    ];
    for (body, number) in good {
        assert_eq!(number_of(&body), Ok(number));
    }
    let bad = [
        (vector("[]"), "finds nothing"),
        (vector(r#"[{"value":[1,"NaN"]}]"#), "no number"),
        (vector(r#"[{"value":[1,"+Inf"]}]"#), "no number"),
        (
            vector(r#"[{"value":[1,"1"]},{"value":[1,"2"]}]"#),
            "2 series",
        ),
        (
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned(),
            "a matrix",
        ),
        (
            r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned(),
            "parse error",
        ),
        ("<html>".to_owned(), "not one of Prometheus"),
    ];
    for (body, why) in bad {
        let error = number_of(&body).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[test]
fn a_condition_is_about_the_number_or_the_quotient() {
    let condition = |is, value| Condition { is, value };
    let cases = [
        (
            "below",
            0.01,
            None,
            condition(Comparison::Lt, 0.02),
            Try::Passed,
        ),
        (
            "not below",
            0.02,
            None,
            condition(Comparison::Lt, 0.02),
            Try::Failed,
        ),
        (
            "at most",
            0.02,
            None,
            condition(Comparison::Le, 0.02),
            Try::Passed,
        ),
        (
            "above",
            3.0,
            None,
            condition(Comparison::Gt, 2.0),
            Try::Passed,
        ),
        (
            "at least",
            2.0,
            None,
            condition(Comparison::Ge, 2.0),
            Try::Passed,
        ),
        (
            "twice the baseline",
            0.2,
            Some(0.1),
            condition(Comparison::Le, 1.1),
            Try::Failed,
        ),
        (
            "as the baseline",
            0.1,
            Some(0.1),
            condition(Comparison::Le, 1.1),
            Try::Passed,
        ),
        (
            "a baseline of zero",
            0.1,
            Some(0.0),
            condition(Comparison::Le, 1.1),
            Try::Undecided,
        ),
        (
            "both zero",
            0.0,
            Some(0.0),
            condition(Comparison::Le, 1.1),
            Try::Undecided,
        ),
    ];
    for (name, number, baseline, condition, outcome) in cases {
        let (found, said) = compare(number, baseline, &condition);
        assert_eq!(found, outcome, "{name}: {said}");
    }
}

#[test]
fn one_try_is_never_longer_than_what_it_is_part_of() {
    let mut check = Check::new(CheckKind::Http);
    assert_eq!(try_seconds(&check), 10);
    check.interval_seconds = 2;
    assert_eq!(try_seconds(&check), 2);
    check.timeout_seconds = 1;
    assert_eq!(try_seconds(&check), 1);
}
