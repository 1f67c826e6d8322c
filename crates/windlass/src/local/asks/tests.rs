use super::*;
use serde_json::json;

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
