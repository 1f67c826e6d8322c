use super::*;
use serde_json::json;

fn key(app: i64, service: i64) -> ServiceKey {
    ServiceKey { app, service }
}

fn book(entries: &[(ServiceKey, &str, &str)]) -> Book {
    let entry = |(key, image, settings): &(ServiceKey, &str, &str)| {
        let taken = json!({
            "container": "c", "name": "web", "app_name": "shop", "service_name": "web",
            "image": *image, "asks": {}, "settings": *settings,
            "kept": {"container": {"HostConfig": {"RestartPolicy": {"Name": "always"}}}, "networks": {}},
        });
        (*key, serde_json::from_value(taken).unwrap())
    };
    entries.iter().map(entry).collect()
}

fn images(state: &TargetState) -> Vec<(i64, i64, String)> {
    let services = state.services();
    services
        .map(|(app, service)| (app, service.service_id, service.image_name.clone()))
        .collect()
}

#[test]
fn what_is_held_is_in_the_target_as_it_was_taken() {
    let state = following(
        &TargetState::default(),
        &Book::new(),
        &book(&[(key(7, 1), "r/a:1", "s")]),
    );
    assert_eq!(images(&state), [(7, 1, "r/a:1".to_owned())]);
    let service = &state.apps["7"].services[0];
    assert_eq!(
        json!(service.config),
        json!({"image": "r/a:1", "settings": "s", "restart": "always"})
    );
    assert_eq!(
        following(&state, &Book::new(), &book(&[(key(7, 1), "r/a:1", "s")])),
        state
    );
}

#[test]
fn an_image_that_a_rollout_gave_stays_until_the_container_is_made_anew_by_hand() {
    let mut state = following(
        &TargetState::default(),
        &Book::new(),
        &book(&[(key(7, 1), "r/a:1", "s")]),
    );
    state.apps.get_mut("7").unwrap().services[0].set_image("r/a:2");
    let same = following(&state, &Book::new(), &book(&[(key(7, 1), "r/a:1", "s")]));
    assert_eq!(images(&same), [(7, 1, "r/a:2".to_owned())]);
    let anew = following(&state, &Book::new(), &book(&[(key(7, 1), "r/a:1", "t")]));
    assert_eq!(images(&anew), [(7, 1, "r/a:1".to_owned())]);
}

#[test]
fn a_container_that_is_changed_while_its_update_is_on_the_way_is_updated_all_the_same() {
    let before = book(&[(key(7, 1), "r/a:1", "s")]);
    let mut state = following(&TargetState::default(), &Book::new(), &before);
    state.apps.get_mut("7").unwrap().services[0].set_image("r/a:2");
    let changed = book(&[(key(7, 1), "r/a:1", "t")]);
    let next = following(&state, &before, &changed);
    assert_eq!(images(&next), [(7, 1, "r/a:2".to_owned())]);
    assert_eq!(next.apps["7"].services[0].config["settings"], json!("t"));
    // Another one in its place runs what it was made to run.
    let mut anew = changed.clone();
    anew.get_mut(&key(7, 1)).unwrap().container = "d".to_owned();
    let next = following(&state, &before, &anew);
    assert_eq!(images(&next), [(7, 1, "r/a:1".to_owned())]);
    // Of what is not known to be what the target says nothing is concluded.
    let older = book(&[(key(7, 1), "r/a:1", "r")]);
    let next = following(&state, &older, &changed);
    assert_eq!(images(&next), [(7, 1, "r/a:1".to_owned())]);
}

#[test]
fn what_is_held_no_more_goes_and_what_a_person_put_there_stays() {
    let person: TargetState = serde_json::from_value(json!({"apps": {"1": {"appId": 1, "appName": "a", "services": [
        {"serviceId": 1, "serviceName": "s", "imageName": "r/b:1", "config": {"image": "r/b:1"}}]}}, "config": {"x": 1}}))
    .unwrap();
    let both = following(&person, &Book::new(), &book(&[(key(7, 1), "r/a:1", "s")]));
    assert_eq!(images(&both).len(), 2);
    assert_eq!(following(&both, &Book::new(), &Book::new()), person);
}

#[test]
fn a_pushed_version_is_lacking_where_a_service_that_it_moves_runs_something_else() {
    let named =
        |letter: &str| -> Digest { format!("sha256:{}", letter.repeat(64)).parse().unwrap() };
    let runs = |tag: &str| format!("r.io/a:{tag}@{}", named("1"));
    let state = following(
        &TargetState::default(),
        &Book::new(),
        &book(&[(key(7, 1), &runs("1.2.0"), "s")]),
    );
    let fixed = json!({"type": "fixed", "tag": "1.2.0"});
    let range = json!({"type": "semver", "range": ">=1"});
    for (image, tag_rule, pushed, digest, lacking) in [
        ("r.io/a", &fixed, "1.2.0", "2", true),
        ("r.io/a", &fixed, "1.2.0", "1", false),
        ("r.io/a", &fixed, "1.3.0", "2", false),
        ("r.io/a", &range, "1.3.0", "2", true),
        ("r.io/a", &range, "edge", "2", false),
        ("r.io/b", &fixed, "1.2.0", "2", false),
    ] {
        let spec = json!({"name": "n", "image": image, "strategy": "auto", "tag": tag_rule});
        let spec = serde_json::from_value(spec).unwrap();
        assert_eq!(
            lacks(&state, &spec, pushed, &named(digest)),
            lacking,
            "{image} {tag_rule} {pushed} {digest}"
        );
    }
}
