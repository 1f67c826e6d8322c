use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use windlass_types::policy::TagRule;

fn rule(value: Value) -> Rule {
    Rule::new(&serde_json::from_value::<TagRule>(value).unwrap()).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000 + seconds)
}

#[test]
fn each_rule_takes_its_tags_and_says_why_it_does_not_take_others() {
    let stable = json!({"type": "semver", "range": ">=1.2, <2"});
    let early = json!({"type": "semver", "range": ">=1.2 <2", "prerelease": true});
    let named = json!({"type": "semver", "range": ">=1.3.0-rc.2"});
    let or = json!({"type": "semver", "range": "~1.2.3 || >= v3"});
    let build = json!({"type": "regex", "pattern": r"^main-[0-9a-f]{7}-(\d+)$", "extract": "$1", "order": "numeric"});
    let alpine = json!({"type": "regex", "pattern": r"^(?P<v>[0-9.]+)-alpine$", "extract": "${v}", "order": "semver"});
    let letters =
        json!({"type": "regex", "pattern": "^rel-(.*)$", "extract": "$1", "order": "alphabetical"});
    let two = json!({"type": "regex", "pattern": r"^r(\d+)b(\d+)$", "extract": "${1}.$2", "order": "numeric"});
    let dotted = json!({"type": "calendar"});
    let packed = json!({"type": "calendar", "format": "YYYYMMDD"});
    let ubuntu = json!({"type": "calendar", "format": "YY.MM"});
    let nth = json!({"type": "calendar", "format": "YYYY.MM.DD-N"});
    let weeks = json!({"type": "calendar", "format": "release-YYYY-WW"});
    let numeric = json!({"type": "numeric"});
    let fixed = json!({"type": "fixed", "tag": "latest"});
    // (rule, tag, what is extracted or why not)
    let cases: Vec<(&Value, &str, Result<&str, &str>)> = vec![
        (&stable, "1.2.0", Ok("1.2.0")),
        (&stable, "v1.9.17", Ok("1.9.17")),
        (&stable, "1.10.0+build.5", Ok("1.10.0")),
        (&stable, "2.0.0", Err("2.0.0 is outside \">=1.2, <2\"")),
        (&stable, "1.1.9", Err("1.1.9 is outside \">=1.2, <2\"")),
        (
            &stable,
            "1.3.0-rc.1",
            Err("1.3.0-rc.1 is a pre-release, which the policy takes only with `prerelease`"),
        ),
        (
            &stable,
            "1.3",
            Err("it is no semantic version of three numbers"),
        ),
        (
            &stable,
            "01.3.0",
            Err("it is no semantic version of three numbers"),
        ),
        (
            &stable,
            "latest",
            Err("it is no semantic version of three numbers"),
        ),
        (
            &stable,
            "99999999999999999999.0.0",
            Err("it is no semantic version of three numbers"),
        ),
        (&early, "1.3.0-rc.1", Ok("1.3.0-rc.1")),
        (
            &early,
            "1.2.0-rc.1",
            Err("1.2.0-rc.1 is outside \">=1.2 <2\""),
        ),
        (
            &early,
            "2.0.0-rc.1",
            Err("2.0.0-rc.1 is outside \">=1.2 <2\""),
        ),
        (&named, "1.3.0-rc.10", Ok("1.3.0-rc.10")),
        (
            &named,
            "1.3.0-rc.1",
            Err("1.3.0-rc.1 is outside \">=1.3.0-rc.2\""),
        ),
        (
            &named,
            "1.4.0-rc.1",
            Err("1.4.0-rc.1 is a pre-release, which the policy takes only with `prerelease`"),
        ),
        (&or, "1.2.9", Ok("1.2.9")),
        (&or, "1.3.0", Err("1.3.0 is outside \"~1.2.3 || >= v3\"")),
        (&or, "3.0.0", Ok("3.0.0")),
        (&build, "main-0a1b2c3-118", Ok("118")),
        (
            &build,
            "main-0a1b2c3-x",
            Err(r"/^main-[0-9a-f]{7}-(\d+)$/ is not found in it"),
        ),
        (&alpine, "3.20-alpine", Ok("3.20")),
        (
            &alpine,
            "3..20-alpine",
            Err("\"3..20\", which is extracted from it, is no semantic version"),
        ),
        (
            &letters,
            "rel-",
            Err("\"\", which is extracted from it, is empty"),
        ),
        (&letters, "rel-b", Ok("b")),
        (&two, "r12b7", Ok("12.7")),
        (&dotted, "2026.01.05", Ok("2026.01.05")),
        (&dotted, "v2026.1.5", Ok("v2026.1.5")),
        (
            &dotted,
            "2026.02.30",
            Err("it is no date written YYYY.MM.DD"),
        ),
        (
            &dotted,
            "2026.13.01",
            Err("it is no date written YYYY.MM.DD"),
        ),
        (
            &dotted,
            "2026.01.05-1",
            Err("it is no date written YYYY.MM.DD"),
        ),
        (&packed, "20261121", Ok("20261121")),
        (&packed, "2026112", Err("it is no date written YYYYMMDD")),
        (&ubuntu, "24.04", Ok("24.04")),
        (&ubuntu, "24.13", Err("it is no date written YY.MM")),
        (&nth, "2026.11.21-03", Ok("2026.11.21-03")),
        (
            &nth,
            "2026.11.21-",
            Err("it is no date written YYYY.MM.DD-N"),
        ),
        (&weeks, "release-2026-47", Ok("release-2026-47")),
        (
            &weeks,
            "release-2026-54",
            Err("it is no date written release-YYYY-WW"),
        ),
        (&numeric, "0042", Ok("0042")),
        (&numeric, "4.2", Err("it is no whole number")),
        (&fixed, "latest", Ok("latest")),
        (&fixed, "Latest", Err("it is not the tag \"latest\"")),
    ];
    for (of, tag, expected) in cases {
        let found = rule(of.clone()).read(tag);
        let found = found
            .map(|read| read.version)
            .map_err(|why| why.to_string());
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{tag} by {of}");
    }
}

#[test]
fn tags_of_signatures_are_no_images_whatever_the_rule() {
    let any = rule(json!({"type": "glob", "pattern": "*"}));
    let newest = rule(json!({"type": "newest"}));
    for end in ["", ".sig", ".att", ".sbom"] {
        let tag = format!("sha256-{}{end}", "a1".repeat(32));
        assert_eq!(any.read(&tag), Err(Mismatch::Attachment), "{tag}");
        assert!(!newest.takes(&tag) && !any.moves(&tag), "{tag}");
    }
    assert!(any.takes("sha256-a1") && any.takes("sha512"));
}

#[test]
fn versions_are_ordered_as_people_mean_them() {
    let semver = json!({"type": "semver", "range": "*", "prerelease": true});
    let by =
        |order: &str| json!({"type": "regex", "pattern": ".*", "extract": "$0", "order": order});
    let calendar = |format: &str| json!({"type": "calendar", "format": format});
    // Each from the lowest to the highest.
    let cases: Vec<(Value, &[&str])> = vec![
        (
            semver,
            &[
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "v1.0.0-rc.1",
                "1.0.0",
                "v1.2.9",
                "1.2.10",
                "1.10.0",
                "2.0.0",
            ],
        ),
        (
            by("numeric"),
            &["0", "7", "09", "10", "100000000000000000000000000000"],
        ),
        (by("numeric"), &["1.2", "1.2.0", "1.9", "1.10", "1.10.0.1"]),
        (by("alphabetical"), &["10", "9", "B", "a", "b"]),
        (by("semver"), &["1", "1.1", "1.1.1", "2"]),
        (
            calendar("YYYY.MM.DD"),
            &["2025.12.31", "2026.1.9", "2026.01.10", "2026.10.1"],
        ),
        (calendar("YY.MM"), &["04.10", "24.04", "24.10"]),
        (
            calendar("DD-MM-YYYY"),
            &["31-12-2025", "01-01-2026", "02-01-2026"],
        ),
        (
            calendar("YYYY.MM.N"),
            &["2026.1.9", "2026.1.10", "2026.2.0"],
        ),
        (json!({"type": "numeric"}), &["9", "10", "0011"]),
    ];
    for (of, tags) in cases {
        let rule = rule(of.clone());
        for two in tags.windows(2) {
            let [low, high] = two else { unreachable!() };
            assert!(
                rule.key(low) < rule.key(high),
                "{low} before {high} by {of}"
            );
            assert!(
                goes_below(&rule, (Some(high), None), (Some(low), None)),
                "{of}"
            );
            assert!(
                !goes_below(&rule, (Some(low), None), (Some(high), None)),
                "{of}"
            );
            assert!(
                !goes_below(&rule, (Some(low), None), (Some(low), None)),
                "{of}"
            );
        }
    }
    let equal = rule(json!({"type": "semver", "range": "*"}));
    assert_eq!(equal.key("v1.0.0+a"), equal.key("1.0.0+b"));
}

#[test]
fn a_rule_that_cannot_be_used_is_refused_with_its_field() {
    let regex = |pattern: &str, extract: Value, order: Value| json!({"type": "regex", "pattern": pattern, "extract": extract, "order": order});
    let no = Value::Null;
    let cases = [
        (
            json!({"type": "semver", "range": "latest"}),
            "tag.range",
            "\"latest\" is no range",
        ),
        (
            json!({"type": "semver", "range": ">=1 ||"}),
            "tag.range",
            "a range is missing",
        ),
        (
            json!({"type": "semver", "range": "1.2 - 2.0"}),
            "tag.range",
            "is no range",
        ),
        (
            json!({"type": "semver", "range": "1||".repeat(20)}),
            "tag.range",
            "at most 16",
        ),
        (
            regex("(", no.clone(), no.clone()),
            "tag.pattern",
            "no regular expression: unclosed group",
        ),
        (
            regex(r"(a{1000}){1000}{1000}", no.clone(), no.clone()),
            "tag.pattern",
            "too large",
        ),
        (
            regex(&"(".repeat(100), no.clone(), no.clone()),
            "tag.pattern",
            "no regular expression",
        ),
        (
            regex(r"(?=a)", no.clone(), no.clone()),
            "tag.pattern",
            "look-around",
        ),
        (
            regex("(a)", json!("$2"), json!("numeric")),
            "tag.extract",
            "there is no group $2; the highest is $1",
        ),
        (
            regex("(a)", json!("$1a"), json!("numeric")),
            "tag.extract",
            "there is no group \"1a\"",
        ),
        (
            regex("(a)", json!("${b"), json!("numeric")),
            "tag.extract",
            "without its `}`",
        ),
        (
            regex("(a)", json!("a$"), json!("numeric")),
            "tag.extract",
            "without a group",
        ),
        (
            regex("(a)", json!("7"), json!("numeric")),
            "tag.extract",
            "names no group",
        ),
        (
            regex("(a)", json!("$1"), no.clone()),
            "tag.order",
            "give numeric",
        ),
        (
            regex("(a)", no, json!("numeric")),
            "tag.extract",
            "such as $1",
        ),
        (
            json!({"type": "calendar", "format": "MM.DD"}),
            "tag.format",
            "one year",
        ),
        (
            json!({"type": "calendar", "format": "YYYY.DD"}),
            "tag.format",
            "needs its month",
        ),
        (
            json!({"type": "calendar", "format": "YYYY.MM.MM"}),
            "tag.format",
            "MM at most once",
        ),
        (
            json!({"type": "calendar", "format": "YYYY.WW.MM"}),
            "tag.format",
            "weeks count in the year",
        ),
        (
            json!({"type": "calendar", "format": "YYYYN"}),
            "tag.format",
            "N stands apart",
        ),
        (
            json!({"type": "calendar", "format": "1YYYY"}),
            "tag.format",
            "a digit",
        ),
        (
            json!({"type": "newest", "pattern": "["}),
            "tag.pattern",
            "no glob",
        ),
    ];
    for (of, field, said) in cases {
        let given: TagRule = serde_json::from_value(of.clone()).unwrap();
        let found = Rule::new(&given).unwrap_err();
        assert_eq!(found.field, field, "{of}: {found}");
        assert!(found.reason.contains(said), "{of}: {found}");
    }
}

#[test]
fn rules_that_are_stored_already_are_read_as_before() {
    let stored = [
        json!({"type": "glob", "pattern": "v*"}),
        json!({"type": "semver", "range": ">=1"}),
        json!({"type": "regex", "pattern": "v.*"}),
        json!({"type": "regex", "pattern": "v(.*)", "extract": "$1"}),
        json!({"type": "numeric"}),
        json!({"type": "newest"}),
    ];
    for one in stored {
        let read: TagRule = serde_json::from_value(one.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), one);
    }
}

#[test]
fn a_range_says_what_ships_and_not_what_runs() {
    let stable = rule(json!({"type": "semver", "range": ">=1.2, <2"}));
    for (tag, moved) in [
        ("1.0.0", true),
        ("3.0.0", true),
        ("1.28.0-alpine", false),
        ("beta", false),
    ] {
        assert_eq!(stable.moves(tag), moved, "{tag}");
    }
    let early = rule(json!({"type": "semver", "range": ">=1.2, <2", "prerelease": true}));
    assert!(early.moves("1.3.0-rc.1"));
    let named = rule(json!({"type": "semver", "range": ">=1.3.0-rc.1"}));
    assert!(
        named.moves("1.3.0-rc.1"),
        "what ships must be found again where it runs"
    );
}

#[test]
fn a_time_of_building_counts_where_it_can_be_true() {
    let seen = at(0);
    let day = TimeDelta::days(1);
    for (created, expected, why) in [
        (None, seen, "none"),
        (Some(DateTime::UNIX_EPOCH), seen, "1970"),
        (
            DateTime::from_timestamp(315_532_801, 0),
            seen,
            "1980, what zip files begin with",
        ),
        (Some(seen - day), seen - day, "the day before"),
        (
            Some(seen + TimeDelta::minutes(30)),
            seen + TimeDelta::minutes(30),
            "clocks apart",
        ),
        (Some(seen + day), seen, "built after it was seen"),
    ] {
        assert_eq!(built_at(created, seen), expected, "{why}");
    }
}

#[test]
fn an_age_ends_and_is_told() {
    assert_eq!(old_enough_at(at(0), 60, at(59)), Some(at(60)));
    assert_eq!(old_enough_at(at(0), 60, at(60)), None);
    assert_eq!(old_enough_at(at(0), 0, at(0)), None);
    assert_eq!(
        old_enough_at(DateTime::<Utc>::MAX_UTC, u32::MAX, at(0)),
        None
    );
}

#[test]
fn by_build_date_an_older_build_is_below_whatever_its_tag() {
    let newest = rule(json!({"type": "newest"}));
    let below = |now, next| goes_below(&newest, (Some("v9"), now), (Some("v1"), next));
    assert!(below(Some(at(10)), Some(at(5))));
    assert!(!below(Some(at(5)), Some(at(10))));
    assert!(!below(Some(at(5)), Some(at(5))));
    assert!(
        !below(None, Some(at(5))),
        "what is not known is above nothing"
    );
}
