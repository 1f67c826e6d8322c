use super::*;
use serde_json::json;
use windlass_reconcile::observed::{Container, ContainerState};
use windlass_types::target::{TargetApp, TargetState};

fn container(service: ServiceKey, state: ContainerState) -> Container {
    serde_json::from_value(json!({
        "id": "c", "name": "web", "service": service, "fingerprint": "f", "image": "r/web:1",
        "image_id": "i", "state": state, "serving": true,
    }))
    .unwrap()
}

fn taken() -> Taken {
    serde_json::from_value(json!({
        "container": "c", "name": "web", "app_name": "local", "service_name": "web",
        "image": format!("r/web:1@sha256:{}", "1".repeat(64)), "asks": {}, "settings": "s",
        "kept": {"container": {"Labels": {}}, "networks": {}},
    }))
    .unwrap()
}

#[test]
fn a_container_that_was_taken_and_somebody_paused_is_left_in_their_hands() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(StateDir::open(folder.path()).unwrap()).unwrap();
    let key = ServiceKey { app: 1, service: 2 };
    let app = TargetApp {
        app_id: key.app,
        app_name: "local".to_owned(),
        services: vec![taken().service(key)],
        rest: serde_json::Map::new(),
    };
    let state = TargetState {
        apps: BTreeMap::from([("1".to_owned(), app)]),
        config: serde_json::Map::new(),
    };
    kept.enter(BTreeMap::from([(key, taken())]), &BTreeMap::new())
        .unwrap();
    let scene = kept.scene(Arc::new(Wanted::read(&state, 1)));
    assert!(scene.wanted.services.contains_key(&key));
    for (state, left) in [
        (ContainerState::Running, false),
        (ContainerState::Paused, true),
        (ContainerState::Exited, false),
    ] {
        let mut observed = Observed {
            containers: vec![container(key, state)],
            ..Observed::default()
        };
        kept.leave(&scene, &mut observed);
        assert_eq!(observed.left.contains(&key), left, "{}", state.as_str());
    }
}

#[test]
fn what_is_held_can_be_gone_back_to_also_where_the_memory_of_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let state = || StateDir::open(folder.path()).unwrap();
    let key = ServiceKey { app: 1, service: 2 };
    let mut kept = Kept::open(state()).unwrap();
    kept.enter(BTreeMap::from([(key, taken())]), &BTreeMap::new())
        .unwrap();
    let good = taken().spec(key);
    assert!(good.is_some());
    // What proved itself since counts more.
    let mut memory = (*kept.memory).clone();
    let mut since = good.clone().unwrap();
    since.image = format!("r/web:1@sha256:{}", "2".repeat(64));
    memory.services.get_mut(&key).unwrap().good = Some(since.clone());
    kept.remember(memory).unwrap();
    drop(kept);
    let kept = Kept::open(state()).unwrap();
    assert_eq!(kept.memory.of(key).unwrap().good, Some(since));
    drop(kept);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(state::MEMORY) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let kept = Kept::open(state()).unwrap();
    assert_eq!(kept.memory.of(key).unwrap().good, good);
}
