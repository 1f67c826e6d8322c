use super::*;
use serde_json::json;
use windlass_bus::Bus;
use windlass_testkit::{fleet, stores};

const IMAGE: &str = "r.io/demo/app:v1";

#[test]
fn what_the_agent_had_taken_is_the_higher_of_target_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    assert_eq!(HadTaken::read(&state), HadTaken::default());
    state.write(MEMORY, &json!({"version": 7})).unwrap();
    assert_eq!(HadTaken::read(&state).version, 7);
    let target = json!({"version": 6, "taken_at": "2026-11-01T00:00:00Z", "state": {"apps": {}, "config": {}}});
    state.write(TARGET, &target).unwrap();
    let had = HadTaken::read(&state);
    assert_eq!(had.version, 7);
    assert_eq!(had.state, Some(TargetState::default()));
}

#[tokio::test]
async fn an_older_database_is_given_the_agents_target_above_the_version_that_it_had() {
    for test in stores().await {
        let deps = Deps::new(test.store.clone(), Bus::local());
        let device = fleet::add(&test.store, "local", 0..1, &[IMAGE]).await[0];
        let had = HadTaken {
            version: 9,
            state: Some(TargetState::default()),
        };
        for _ in 0..2 {
            had.restore(&deps, device).await.unwrap();
            let mut read = test.store.read().await.unwrap();
            let (target, state) = targets::get(&mut read, device).await.unwrap().unwrap();
            assert_eq!((target.version, state), (10, TargetState::default()));
        }
        let told = fleet::told(&test.store).await;
        let set = told
            .iter()
            .filter(|(kind, _)| *kind == EventType::TargetSet);
        assert_eq!(set.count(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn a_database_that_knows_as_much_and_one_that_knows_no_device_are_left_as_they_are() {
    for test in stores().await {
        let deps = Deps::new(test.store.clone(), Bus::local());
        let had = HadTaken {
            version: 1,
            state: Some(TargetState::default()),
        };
        let nobody = DeviceId::from(uuid::Uuid::new_v4());
        had.restore(&deps, nobody).await.unwrap();
        let device = fleet::add(&test.store, "local", 0..1, &[IMAGE]).await[0];
        had.restore(&deps, device).await.unwrap();
        let mut read = test.store.read().await.unwrap();
        let (target, state) = targets::get(&mut read, device).await.unwrap().unwrap();
        assert_eq!(target.version, 1);
        assert_eq!(state.services().count(), 1);
    }
}
