use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use windlass_core::verdict::{Facts, Presence, Steps, Wanted, judge};
use windlass_types::observation::Observation;
use windlass_types::rollout::DeviceStatus;

fn read(tag: &str, labels: &[(&str, &str)]) -> Result<Asked, String> {
    let labels = [(ENABLE, "true")].iter().chain(labels);
    let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    asked(&labels.collect(), &format!("redis:{tag}").parse().unwrap())
}

fn own(tag: &str, labels: &[(&str, &str)]) -> PolicySpec {
    match read(tag, labels) {
        Ok(Asked::Own(spec)) => *spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_further_labels_the_tag_that_runs_is_followed_at_once() {
    let spec = own("7", &[]);
    assert_eq!(spec.name, "local/docker.io/library/redis:7");
    assert_eq!(spec.image, "docker.io/library/redis");
    assert_eq!(
        spec.tag,
        TagRule::Fixed {
            tag: "7".to_owned()
        }
    );
    assert_eq!(spec.strategy.as_str(), "auto");
    assert_eq!(spec.priority, i32::MIN);
    assert_eq!(
        serde_json::to_value(&spec.filters).unwrap(),
        json!({"fleets": ["local"]})
    );
}

#[test]
fn a_pull_that_takes_hours_is_waited_for_and_what_the_agent_calls_bad_is_bad_at_once() {
    let rule = own("7", &[]).health;
    let admitted: DateTime<Utc> = "2026-11-21T12:00:00Z".parse().unwrap();
    let image = |digit: &str| format!("redis:7@sha256:{}", digit.repeat(64));
    let wanted = [Wanted {
        app_id: 1,
        service_id: 1,
        image: image("2"),
        runs: true,
    }];
    let judged = |phase: &str, error: Value, after: i64| {
        let now = admitted + TimeDelta::seconds(after);
        let observation: Observation = serde_json::from_value(json!({
            "version_received": 2, "last_report_at": now, "services": [{
                "app_id": 1, "service_id": 1, "name": "web", "image": image("1"), "status": "running",
                "phase": phase, "phase_since": admitted, "error": error, "running_since": admitted,
                "image_since": admitted, "restarts": 0}]}))
        .unwrap();
        let facts = Facts {
            status: DeviceStatus::Updating,
            since: admitted,
            admitted_at: admitted,
            deadline_at: admitted + TimeDelta::seconds(rule.deadline_seconds.into()),
            target_version: 2,
            wanted: &wanted,
            observation: Some(&observation),
            last_seen_at: Some(now),
            steps: Steps::default(),
            presence: Presence::default(),
            server_checks: &[],
        };
        judge(&facts, &rule, now).unwrap().status
    };
    for hours in [1, 6, 23] {
        let status = judged("pulling", Value::Null, hours * 3600);
        assert_eq!(status, DeviceStatus::Updating, "after {hours} h");
    }
    let crashed = json!({"type": "crash_loop", "message": "it ended with 1"});
    assert_eq!(judged("failed", crashed, 60), DeviceStatus::Failed);
    assert_eq!(
        judged("pulling", Value::Null, 25 * 3600),
        DeviceStatus::Failed
    );
}

#[test]
fn labels_choose_versions_approval_and_times() {
    let spec = own(
        "7.2.1",
        &[
            (VERSIONS, ">=7.2, <8"),
            (UPDATE, "manual"),
            (WINDOW, "sat,Sun 02:00-04:00 Europe/Berlin; 12:00-12:30"),
        ],
    );
    let range = ">=7.2, <8".to_owned();
    assert_eq!(
        spec.tag,
        TagRule::Semver {
            range,
            prerelease: false
        }
    );
    assert_eq!(spec.strategy.as_str(), "manual");
    assert_eq!(
        serde_json::to_value(&spec.maintenance_windows).unwrap(),
        json!([
            {"time_zone": "Europe/Berlin", "days": ["sat", "sun"], "start": "02:00", "end": "04:00"},
            {"days": [], "start": "12:00", "end": "12:30"},
        ])
    );
    let named = read("7", &[(POLICY, " shops ")]);
    assert_eq!(named, Ok(Asked::Policy("shops".to_owned())));
}

#[test]
fn what_is_wrong_is_told_with_the_label_and_what_would_be_right() {
    for (tag, label, value, told) in [
        (
            "7",
            UPDATE,
            "soon",
            "windlass.update is \"soon\"; it is auto or manual",
        ),
        ("7.2.1", VERSIONS, "newest", "windlass.versions: "),
        (
            "latest",
            VERSIONS,
            "*",
            "the container runs the tag \"latest\", which is no version",
        ),
        (
            "7",
            WINDOW,
            "at night",
            "is no time such as `sat,sun 02:00-04:00`",
        ),
        ("7", WINDOW, "someday 02:00-04:00", "is no time such as"),
        ("7", WINDOW, "02:00-25:00", "windlass.window: "),
        (
            "7",
            WINDOW,
            "02:00-04:00 Europe/Nowhere",
            "windlass.window: ",
        ),
        ("7", POLICY, "", "windlass.policy is empty"),
        (
            "7",
            "windlass.verions",
            "*",
            "windlass.verions is not known; what there is: ",
        ),
    ] {
        let error = read(tag, &[(label, value)]).unwrap_err();
        assert!(error.contains(told), "{label}={value}: {error}");
    }
    let both = read("7", &[(POLICY, "shops"), (UPDATE, "manual")]).unwrap_err();
    assert!(both.contains("the policy says all of it"), "{both}");
}

#[test]
fn labels_that_the_agent_puts_on_what_it_makes_ask_for_nothing() {
    let labels = [
        ("windlass.scope", "x"),
        ("windlass.image", "redis:7"),
        ("other.update", "soon"),
    ];
    assert_eq!(own("7", &labels), own("7", &[]));
}
