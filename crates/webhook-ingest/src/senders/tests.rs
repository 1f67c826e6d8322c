//! Every sender's table of cases, and that no input makes a parser panic.

use super::*;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde::Deserialize;

/// One case of a table in `cases/`: a delivery, and exactly one of what it is to be read as.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
    /// The endpoint's registry.
    registry: Option<String>,
    images: Option<Vec<Image>>,
    ignored: Option<ReasonCode>,
    /// What the sender wants back.
    handshake: Option<Value>,
    /// What the message says among other things.
    malformed: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    registry: String,
    repository: String,
    tag: String,
    digest: Option<String>,
    actor: Option<String>,
    pushed_at: Option<DateTime<Utc>>,
}

impl From<ParsedPush> for Image {
    fn from(push: ParsedPush) -> Self {
        Self {
            registry: push.repository.registry().to_owned(),
            repository: push.repository.path().to_owned(),
            tag: push.tag,
            digest: push.digest.map(String::from),
            actor: push.actor,
            pushed_at: push.pushed_at,
        }
    }
}

fn table(sender: &Sender) -> Vec<Case> {
    let path = format!("{}/cases/{}.json", env!("CARGO_MANIFEST_DIR"), sender.name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn each_delivery_is_read_as_its_table_says() {
    for sender in SENDERS {
        for case in table(sender) {
            let what = format!("{}: {}", sender.name, case.name);
            let read = read(
                &case.headers,
                &case.body,
                case.registry.as_deref(),
                Some(sender),
            );
            match (
                read.map(|(_, reading)| reading).map_err(|(_, error)| error),
                case.images,
                case.ignored,
                case.malformed,
            ) {
                (Ok(reading), Some(expected), None, None) => {
                    let Content::Pushes(pushes) = reading.content else {
                        panic!("{what}: {reading:?}");
                    };
                    let images: Vec<Image> = pushes.into_iter().map(Image::from).collect();
                    assert_eq!(images, expected, "{what}");
                }
                (Ok(reading), None, Some(ReasonCode::Handshake), None) => {
                    let answer = case.handshake.unwrap();
                    assert_eq!(reading.content, Content::Handshake(answer), "{what}");
                }
                (Ok(reading), None, Some(reason), None) => {
                    assert_eq!(reading.content, Content::Ignored(reason), "{what}");
                }
                (Err(error), None, None, Some(part)) => {
                    assert!(error.to_string().contains(&part), "{what}: {error}");
                }
                (got, ..) => panic!("{what}: {got:?}"),
            }
        }
    }
}

#[test]
fn each_delivery_is_recognised_as_its_senders_and_nobody_elses() {
    for sender in SENDERS {
        for case in table(sender) {
            let opened = envelope::open(&case.headers, &case.body);
            let incoming = Incoming {
                headers: &case.headers,
                body: &opened,
                registry: None,
            };
            let by: Vec<_> = SENDERS
                .iter()
                .filter(|sender| (sender.recognises)(&incoming))
                .map(|sender| sender.name)
                .collect();
            if case.malformed.is_none() {
                assert_eq!(by, [sender.name], "{}", case.name);
            }
            assert!(by.len() <= 1, "{}: {by:?}", case.name);
        }
    }
}

#[test]
fn what_is_nobodys_is_not_recognised() {
    let none = BTreeMap::new();
    for body in ["null", "[]", "{}", "1", "\"x\"", r#"{"pushed": true}"#] {
        let body: Value = serde_json::from_str(body).unwrap();
        let incoming = Incoming {
            headers: &none,
            body: &body,
            registry: None,
        };
        assert!(recognise(&incoming).is_none(), "{body}");
    }
}

#[test]
fn only_a_delivery_of_one_event_has_the_events_id() {
    for case in table(named("distribution").unwrap()) {
        let incoming = Incoming {
            headers: &case.headers,
            body: &case.body,
            registry: Some("r.io"),
        };
        let ids: Vec<_> = case.body["events"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| event["id"].as_str().map(str::to_owned))
            .collect();
        if let Ok(reading) = named("distribution").unwrap().read(&incoming) {
            let expected = if ids.len() == 1 { ids[0].clone() } else { None };
            assert_eq!(reading.delivery_id, expected, "{}", case.name);
        }
    }
}

/// Any JSON, made mostly of the keys and values that parsers look for.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop::sample::select(vec![
            "published",
            "push",
            "PUSH_ARTIFACT",
            "harbor.artifact.pushed",
            "Microsoft.ContainerRegistry.ImagePushed",
            "aws.ecr",
            "docker",
            "container",
            "v1",
            "ghcr.io/a/b:c",
            "ghcr.io/:",
            "://",
            "a/b@c",
            "sha256-",
            "sha256:é",
            "application/vnd.oci.image.index.v1+json",
            "2026-01-01T00:00:00Z",
        ])
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        4 => prop::sample::select(vec![
            "events", "action", "target", "mediaType", "tag", "repository", "digest", "request", "host",
            "push_data", "repo_name", "pushed_at", "package", "registry_package", "package_version",
            "container_metadata", "name", "package_url", "package_type", "updated_at", "timestamp", "url",
            "event_data", "occur_at", "resources", "resource_url", "repo_full_name", "docker_url", "homepage",
            "updated_tags", "type", "eventType", "data", "source", "detail", "detail-type", "image-tag",
            "repository-name", "message", "subscription", "domain", "event_type", "image_name", "component",
            "nodeId", "repositoryName", "region", "image", "images", "id",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,5}",
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A delivery of a table with one place in it changed to something else.
fn changed() -> impl Strategy<Value = (usize, Value, BTreeMap<String, String>)> {
    let cases: Vec<_> = SENDERS
        .iter()
        .enumerate()
        .flat_map(|(number, sender)| {
            table(sender)
                .into_iter()
                .map(move |case| (number, case.body, case.headers))
        })
        .collect();
    (prop::sample::select(cases), any::<usize>(), json()).prop_map(
        |((number, mut body, headers), place, new)| {
            let mut paths = Vec::new();
            pointers(&body, String::new(), &mut paths);
            let path = &paths[place % paths.len()];
            if let Some(slot) = body.pointer_mut(path) {
                *slot = new;
            }
            (number, body, headers)
        },
    )
}

fn pointers(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pointers(value, format!("{path}/{key}"), paths);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                pointers(value, format!("{path}/{number}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

fn check(reading: Result<Reading, Malformed>) -> Result<(), TestCaseError> {
    if let Ok(Reading {
        content: Content::Pushes(pushes),
        ..
    }) = reading
    {
        prop_assert!(!pushes.is_empty());
        for push in pushes {
            prop_assert!(windlass_types::image::is_tag(&push.tag));
            let text = format!("{}:{}", push.repository, push.tag);
            let again: windlass_types::image::ImageReference = text.parse().unwrap();
            prop_assert_eq!(again.tag(), Some(push.tag.as_str()));
        }
    }
    Ok(())
}

/// What says that it comes from GitHub is nobody else's.
fn event_header_decides(incoming: &Incoming<'_>, known: Option<&Sender>) -> bool {
    incoming.header("x-github-event").is_none() || known.is_some_and(|known| known.name == "ghcr")
}

proptest! {
    #[test]
    fn no_json_makes_a_parser_panic(body in json(), event in prop::option::of("package|ping|push")) {
        let headers = event.map(|event| ("x-github-event".to_owned(), event)).into_iter().collect();
        let incoming = Incoming { headers: &headers, body: &body, registry: None };
        let known = recognise(&incoming);
        prop_assert!(event_header_decides(&incoming, known));
        for sender in SENDERS {
            check(sender.read(&incoming))?;
            let read = read(&headers, &body, None, Some(sender));
            check(read.map(|(_, reading)| reading).map_err(|(_, error)| error))?;
        }
    }

    #[test]
    fn no_change_to_a_delivery_makes_a_parser_panic((number, body, headers) in changed()) {
        let incoming = Incoming { headers: &headers, body: &body, registry: None };
        check(SENDERS[number].read(&incoming))?;
        let read = read(&headers, &body, None, None);
        check(read.map(|(_, reading)| reading).map_err(|(_, error)| error))?;
    }
}
