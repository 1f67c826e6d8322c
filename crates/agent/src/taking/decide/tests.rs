use super::*;
use crate::taking::{Lent, Taken};
use windlass_reconcile::memory::Update;
use windlass_reconcile::observed::ProbeResults;

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn candidate(name: &str, labels: &[(&str, &str)]) -> Candidate {
    let labels = [(ENABLE, "true")].iter().chain(labels);
    Candidate {
        id: format!("id-{name}"),
        name: name.to_owned(),
        labels: labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        owner: Owner::Nobody,
        image: "registry.local:5000/shop/web:stable".to_owned(),
        names: vec![
            format!("elsewhere/web@{NEW}"),
            format!("registry.local:5000/shop/web@{OLD}"),
        ],
        state: ContainerState::Running,
        auto_remove: false,
        lends_to: None,
        leads_to_engine: false,
        restart: "no".to_owned(),
        networks: BTreeSet::new(),
        limits: String::new(),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a candidate has it")]
fn lent(to: &str) -> Option<Lent> {
    let (to, what) = (to.to_owned(), "network (network_mode)");
    Some(Lent { to, what })
}

const COMPOSE: [(&str, &str); 2] = [
    ("com.docker.compose.project", "shop"),
    ("com.docker.compose.service", "web"),
];

#[derive(Default)]
struct World {
    candidates: Vec<Candidate>,
    containers: Vec<Container>,
    memory: Memory,
    book: Book,
    own: Option<String>,
}

fn understands(labels: &Labels, image: &ImageReference) -> Result<(), String> {
    assert_eq!(image.tag(), Some("stable"));
    match labels.get("windlass.update").map(String::as_str) {
        None | Some("manual") => Ok(()),
        Some(_) => Err("windlass.update: auto or manual".to_owned()),
    }
}

impl World {
    fn of(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self {
            candidates: candidates.into_iter().collect(),
            ..Self::default()
        }
    }

    fn decide(&self) -> Decision {
        decide(&Round {
            candidates: &self.candidates,
            containers: &self.containers,
            memory: &self.memory,
            book: &self.book,
            own: self.own.as_deref(),
            understands,
        })
    }

    /// Takes what there is to be taken.
    fn taken(mut self) -> Self {
        for take in self.decide().take {
            let settings = serde_json::from_value(
                serde_json::json!({"container": {"Labels": {}}, "networks": {}}),
            );
            let taken = Taken::new(&take, settings.unwrap());
            self.containers.push(container(&take.container, take.key));
            self.book.insert(take.key, taken);
        }
        self
    }

    fn key(&self) -> ServiceKey {
        *self.book.keys().next().unwrap()
    }
}

fn container(id: &str, service: ServiceKey) -> Container {
    Container {
        id: id.to_owned(),
        name: String::new(),
        service,
        service_name: String::new(),
        app_name: String::new(),
        fingerprint: String::new(),
        image: String::new(),
        image_id: String::new(),
        state: ContainerState::Running,
        serving: true,
        started_at: None,
        finished_at: None,
        exit_code: None,
        oom_killed: false,
        restarts: 0,
        health: None,
        healthcheck: None,
        ports: Vec::new(),
        stop_seconds: None,
        seen_seconds: 0,
        served_seconds: 0,
        restarts_before: 0,
        probes: ProbeResults::default(),
    }
}

#[test]
fn a_container_of_compose_is_taken_as_its_service_with_what_runs_in_it() {
    let labels = [
        &COMPOSE[..],
        &[("windlass.update", "manual"), ("other", "x")],
    ]
    .concat();
    let decision = World::of([candidate("shop-web-1", &labels)]).decide();
    assert_eq!(decision.alone, BTreeMap::new());
    let [take] = decision.take.as_slice() else {
        panic!("{decision:?}")
    };
    assert_eq!((&*take.app_name, &*take.service_name), ("shop", "web"));
    assert_eq!(
        take.image,
        format!("registry.local:5000/shop/web:stable@{OLD}")
    );
    let asks = take.asks.keys().map(String::as_str);
    assert_eq!(Vec::from_iter(asks), [ENABLE, "windlass.update"]);
}

#[test]
fn services_are_the_same_ones_whenever_they_are_seen_and_others_are_others() {
    let key = |candidate: Candidate| World::of([candidate]).decide().take[0].key;
    let web = key(candidate("shop-web-1", &COMPOSE));
    assert_eq!(key(candidate("shop-web-renamed", &COMPOSE)), web);
    let second = [
        &COMPOSE[..],
        &[("com.docker.compose.container-number", "2")],
    ]
    .concat();
    assert_eq!(key(candidate("shop-web-2", &second)).app, web.app);
    assert_ne!(key(candidate("shop-web-2", &second)), web);
    let by_hand = [key(candidate("web", &[])), key(candidate("db", &[]))];
    assert_eq!(by_hand[0].app, by_hand[1].app);
    assert_ne!(by_hand[0], by_hand[1]);
    assert_ne!(by_hand[0].app, web.app);
}

#[test]
fn what_cannot_be_made_anew_faithfully_is_left_alone_and_told_why() {
    let with = |change: fn(&mut Candidate)| {
        let mut one = candidate("web", &[]);
        change(&mut one);
        one
    };
    for (one, reason) in [
        (with(|c| c.auto_remove = true), "--rm"),
        (with(|c| c.lends_to = lent("vpn")), "vpn uses its network"),
        (with(|c| c.leads_to_engine = true), "the engine's socket"),
        (with(|c| c.owner = Owner::Other("x".to_owned())), "scope x"),
        (with(|c| c.names.clear()), "was built on this machine"),
        (
            with(|c| c.image = format!("shop/web:stable@{OLD}")),
            "is pinned",
        ),
        (with(|c| c.image = OLD.to_owned()), "names no tag"),
        (
            candidate("web", &[("windlass.update", "soon")]),
            "windlass.update: auto or manual",
        ),
        (candidate("web", &[(ENABLE, "ja")]), "it is true or false"),
        (
            candidate("web", &[("com.docker.swarm.service.id", "s")]),
            "swarm",
        ),
        (
            candidate("web", &[("com.docker.compose.oneoff", "True")]),
            "for once",
        ),
    ] {
        let decision = World::of([one]).decide();
        assert_eq!(decision.take, [], "{reason}");
        let told = decision.alone.get("web").cloned().unwrap_or_default();
        assert!(told.contains(reason), "{reason}: {told}");
    }
    let mut world = World::of([candidate("windlass", &[])]);
    world.own = Some("id-windlass".to_owned());
    assert!(world.decide().alone["windlass"].contains("Windlass itself"));
}

#[test]
fn what_does_not_ask_or_does_not_run_is_not_spoken_of() {
    let off = candidate("web", &[(ENABLE, "false")]);
    let mut ended = candidate("db", &[]);
    ended.state = ContainerState::Exited;
    assert_eq!(World::of([off, ended]).decide(), Decision::default());
}

#[test]
fn what_is_held_is_not_taken_again() {
    let world = World::of([candidate("web", &[])]).taken();
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn two_that_would_be_one_service_are_told_and_the_first_is_taken() {
    let again = candidate("copy", &COMPOSE);
    let decision = World::of([candidate("shop-web-1", &COMPOSE), again]).decide();
    assert_eq!(decision.take.len(), 1);
    assert!(decision.alone["shop-web-1"].contains("copy runs as the service web already"));
}

#[test]
fn one_that_was_made_anew_by_hand_is_taken_anew() {
    let mut world = World::of([candidate("shop-web-1", &COMPOSE)]).taken();
    let mut anew = candidate("shop-web-1", &COMPOSE);
    anew.id = "another".to_owned();
    world.candidates = vec![anew];
    // While the old one still runs, its place is taken.
    assert_eq!(world.decide().take, []);
    world.containers.clear();
    let decision = world.decide();
    assert_eq!(decision.take[0].container, "another");
    assert_eq!(decision.take[0].key, world.key());
    assert_eq!(decision.let_go, BTreeMap::new());
}

#[test]
fn what_somebody_removed_or_stopped_is_let_go() {
    let mut world = World::of([candidate("web", &[])]).taken();
    world.candidates.clear();
    world.containers[0].state = ContainerState::Exited;
    assert_eq!(
        world.decide().let_go[&world.key()],
        "web: it was stopped, or ended by itself"
    );
    world.containers.clear();
    assert_eq!(world.decide().let_go[&world.key()], "web: it was removed");
}

#[test]
fn what_somebody_paused_is_let_go_but_not_in_the_middle_of_an_update() {
    let mut world = World::of([candidate("web", &[])]).taken();
    let key = world.key();
    world.candidates[0].state = ContainerState::Paused;
    world.containers[0].state = ContainerState::Paused;
    let decision = world.decide();
    assert_eq!(decision.let_go[&key], "web: it was paused");
    assert_eq!((decision.take, decision.alone), (vec![], BTreeMap::new()));
    // Beside it the one runs that is to take its place.
    world.containers.push(container("new", key));
    assert_eq!(world.decide(), Decision::default());
    world.containers.pop();
    let of = ServiceMemory {
        update: Some(update()),
        ..ServiceMemory::default()
    };
    world.memory.services.insert(key, of);
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn a_service_that_a_person_wrote_into_the_target_is_not_taken() {
    let labels = [("windlass.app", "7"), ("windlass.service", "1")];
    let mut made = candidate("windlass-web-7-1", &labels);
    made.owner = Owner::Us;
    let decision = World::of([made.clone()]).decide();
    assert_eq!(decision.take, []);
    assert!(decision.alone[&made.name].contains("a service of the target"));
    // One that was made anew from what was taken is taken again.
    let image = format!("registry.local:5000/shop/web:stable@{OLD}");
    made.labels
        .insert(label::SETTINGS.to_owned(), "s".to_owned());
    made.labels.insert(label::IMAGE.to_owned(), image);
    assert_eq!(World::of([made]).decide().take.len(), 1);
    // One that a person gave to a service of the target.
    let mut world = World::of([candidate("web", &[])]);
    let key = ServiceKey { app: 7, service: 1 };
    world.containers.push(container("id-web", key));
    assert!(world.decide().alone["web"].contains("a service of the target"));
}

#[test]
fn what_is_down_because_of_an_update_is_held() {
    let mut world = World::of([candidate("web", &[])]).taken();
    let key = world.key();
    world.candidates.clear();
    world.containers[0].state = ContainerState::Exited;
    // Ended to make room for another one.
    let mut of = ServiceMemory {
        stops: vec![Run {
            id: world.containers[0].id.clone(),
            started_at: None,
        }],
        ..ServiceMemory::default()
    };
    world.memory.services.insert(key, of.clone());
    assert_eq!(world.decide(), Decision::default());
    // Another run of it, which somebody else ended.
    world.containers[0].started_at = Some(chrono::DateTime::UNIX_EPOCH);
    assert!(!world.decide().changes_nothing());
    // An update that has begun.
    of.update = Some(Update {
        fingerprint: "f".to_owned(),
        locked_since: None,
        started_at: Some(chrono::DateTime::UNIX_EPOCH),
    });
    world.memory.services.insert(key, of);
    assert_eq!(world.decide(), Decision::default());
}

#[test]
fn one_that_comes_to_lend_its_network_is_let_go() {
    let mut world = World::of([candidate("vpn", &[])]).taken();
    world.candidates[0].lends_to = lent("torrents");
    let decision = world.decide();
    assert!(decision.let_go[&world.key()].contains("torrents uses its network"));
    assert_eq!(decision.take, []);
}

#[test]
fn one_that_lends_its_network_in_the_middle_of_an_update_is_held_to_its_end() {
    let mut world = World::of([candidate("vpn", &[])]).taken();
    let key = world.key();
    world.candidates[0].lends_to = lent("torrents");
    let of = ServiceMemory {
        update: Some(update()),
        ..ServiceMemory::default()
    };
    world.memory.services.insert(key, of);
    assert_eq!(world.decide(), Decision::default());
    world.memory.services.clear();
    assert!(world.decide().let_go.contains_key(&key));
}

#[test]
fn one_that_was_changed_while_it_runs_is_taken_anew_as_the_same_service() {
    let changes: [fn(&mut Candidate); 4] = [
        |c| c.name = "renamed".to_owned(),
        |c| c.restart = "always".to_owned(),
        |c| c.networks = [String::from("front")].into(),
        |c| c.limits = "Memory=1".to_owned(),
    ];
    for change in changes {
        let mut world = World::of([candidate("web", &[])]).taken();
        let key = world.key();
        // What is held is not looked up again.
        world.candidates[0].names.clear();
        assert_eq!(world.decide(), Decision::default());
        change(&mut world.candidates[0]);
        let decision = world.decide();
        assert_eq!(decision.let_go, BTreeMap::new());
        let [take] = decision.take.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!((take.key, &take.name), (key, &world.candidates[0].name));
        assert_eq!(take.image, world.book[&key].image);
        // Not while an update is under way: it is the update's own work.
        let of = ServiceMemory {
            update: Some(update()),
            ..ServiceMemory::default()
        };
        world.memory.services.insert(key, of);
        assert_eq!(world.decide(), Decision::default());
    }
}

fn update() -> Update {
    Update {
        fingerprint: "f".to_owned(),
        locked_since: None,
        started_at: Some(chrono::DateTime::UNIX_EPOCH),
    }
}

#[test]
fn the_order_in_which_containers_are_listed_changes_nothing() {
    let mut world = World::of([
        candidate("web", &[]),
        candidate("db", &[]),
        candidate("copy", &COMPOSE),
        candidate("shop-web-1", &COMPOSE),
    ]);
    let decision = world.decide();
    world.candidates.reverse();
    assert_eq!(world.decide(), decision);
}
