//! One pass over the text comes to what picking the fields out of the whole comes to.

use super::judged;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use windlass_core::platforms;
use windlass_core::windows::is_zone;
use windlass_types::report::{Report, ReportedApp, ReportedService};

/// The same by way of the whole value: slow and plain.
fn picked(fields: &Map<String, Value>) -> Report {
    let names = [
        "version",
        "reportId",
        "reportedAt",
        "agent_version",
        "os_version",
        "time_zone",
        "platform",
    ];
    let plain = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())));
    let mut report: Report = serde_json::from_value(Value::Object(plain.collect())).unwrap();
    for text in [&mut report.agent_version, &mut report.os_version] {
        *text = text.take().map(|text| text.chars().take(200).collect());
    }
    report.platform = report
        .platform
        .filter(|text| text.len() <= 200 && !platforms::read(text).is_empty());
    report.time_zone = report.time_zone.filter(|zone| is_zone(zone));
    report.apps = fields.get("apps").and_then(Value::as_object).map(|apps| {
        apps.iter()
            .map(|(id, app)| (id.clone(), picked_app(app)))
            .collect::<BTreeMap<_, _>>()
    });
    report
}

fn picked_app(app: &Value) -> ReportedApp {
    let services = app.get("services").and_then(Value::as_array);
    ReportedApp {
        app_id: app.get("appId").and_then(Value::as_i64),
        services: services
            .into_iter()
            .flatten()
            .filter(|service| service.is_object())
            .map(|service| ReportedService::deserialize(service).unwrap())
            .collect(),
    }
}

const WORDS: &[&str] = &[
    "apps",
    "version",
    "reportId",
    "reportedAt",
    "agent_version",
    "os_version",
    "time_zone",
    "platform",
    "appId",
    "services",
    "serviceId",
    "serviceName",
    "imageName",
    "containerId",
    "status",
    "digest",
    "phase",
    "health",
    "error",
    "type",
    "message",
    "retryCount",
    "probe",
    "1",
    "Europe/Berlin",
    "linux/arm64/v8",
    "2026-11-01T12:00:05Z",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "\"\\\n\u{e4}\u{1f600}",
    "",
];

fn any_json() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(WORDS).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
        "[a-z/]{0,3}".prop_map(|text| Value::from(text.repeat(90))),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// One whose fields are mostly of their kind.
fn likely() -> impl Strategy<Value = Value> {
    let service = prop::collection::btree_map(
        prop::sample::select(&WORDS[10..23]).prop_map(str::to_owned),
        any_json(),
        0..10,
    )
    .prop_map(|map| Value::Object(map.into_iter().collect()));
    let services = prop::collection::vec(prop_oneof![4 => service, 1 => any_json()], 0..4);
    (any_json(), services, any_json()).prop_map(|(mut whole, services, id)| {
        if let Value::Object(fields) = &mut whole {
            let app = json!({"appId": id, "services": services});
            fields.insert("apps".to_owned(), json!({"1": app, "x": id}));
        }
        whole
    })
}

proptest! {
    #[test]
    fn what_is_judged_is_what_stands_there(report in prop_oneof![any_json(), likely()]) {
        let expected = report.as_object().map(picked);
        prop_assert_eq!(judged(&report.to_string()).unwrap(), expected.clone());
        let pretty = serde_json::to_string_pretty(&report).unwrap();
        prop_assert_eq!(judged(&pretty).unwrap(), expected);
    }
}

#[test]
fn a_key_that_comes_twice_counts_as_it_comes_last() {
    let report = judged(r#"{"version": 1, "apps": {"1": {"appId": 1}}, "version": 2, "apps": {}}"#);
    let report = report.unwrap().unwrap();
    assert_eq!(report.version, Some(2));
    assert_eq!(report.apps, Some(BTreeMap::new()));
}

#[test]
fn what_a_database_would_not_take_is_no_json_wherever_it_stands() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for value in [
        r#""\ud800""#,
        "1e999",
        "01",
        "nul",
        "[1,]",
        "\"\u{1}\"",
        &deep,
    ] {
        for report in [
            value.to_owned(),
            format!(r#"{{"other": {value}}}"#),
            format!(r#"{{"apps": {{"1": {{"services": [{value}]}}}}}}"#),
            format!(r#"{{"apps": {{"1": {{"services": [{{"health": {value}}}]}}}}}}"#),
            format!(r#"{{"version": {value}}}"#),
        ] {
            assert!(judged(&report).is_err(), "{report}");
        }
    }
    assert!(judged(r#"{"\ud800": 1}"#).is_err());
    assert!(judged("{} {}").is_err());
    assert_eq!(judged("[{}]").unwrap(), None);
}
