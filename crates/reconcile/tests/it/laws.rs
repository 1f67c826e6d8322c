//! Laws: random targets on random engines, with everything that can go wrong going wrong.

use crate::lives::{Drawn, Event, by_hand, drawn, event, image, target, world};
use crate::model::start_of_time;
use crate::rest::{at_rest, come_to_rest, planned};
use proptest::prelude::*;
use std::collections::BTreeMap;
use windlass_reconcile::observed::Offer;
use windlass_reconcile::outcome::StepFailure;
use windlass_reconcile::spec::ServiceKey;

proptest! {
    // A quarter of the usual number: each is a whole life. `PROPTEST_CASES=80000` looks at 20000 of them.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    /// Whatever happened, once nothing goes wrong any more every service comes to run what it is to run, in a
    /// bounded number of steps, and then nothing more is done. On the way no step breaks what [`watch`] holds.
    #[test]
    fn after_faults_every_service_runs_what_it_is_to_run(
        targets in prop::collection::vec(prop::collection::vec(drawn(), 3), 1..5),
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut world = world(&targets);
        let mut version = 1;
        for event in events {
            match event {
                Event::Step | Event::Lost | Event::Twice | Event::Fails(_) => {
                    let Some(step) = planned(&world) else {
                        world.pass(3);
                        continue;
                    };
                    match event {
                        Event::Lost => {}
                        Event::Twice => {
                            world.carry_out(&step);
                            // What fails when it is done again is not told.
                            if !world.memory.clone().write(&step) {
                                drop(world.engine(&step));
                            }
                        }
                        Event::Fails(class) => {
                            let message = "so it is drawn".to_owned();
                            let failure = StepFailure { class, message };
                            if !world.memory.write(&step) {
                                world.note(&step, &failure);
                            }
                        }
                        _ => world.carry_out(&step),
                    }
                }
                Event::Pass(seconds) => world.pass(i64::from(seconds)),
                Event::ByHand(which, what) => by_hand(&mut world, which, what),
                Event::Lock(service) => {
                    let key = ServiceKey { app: 7, service: service.into() };
                    if !world.held.insert(key) {
                        world.held.remove(&key);
                    }
                }
                Event::Target => {
                    if let Some(drawn) = targets.get(usize::try_from(version).unwrap()) {
                        version += 1;
                        world.wanted = target(drawn, version);
                    }
                }
            }
        }
        come_to_rest(&mut world);
        at_rest(&world);
        prop_assert_eq!(world.plan().step, None);
    }

    /// A version below the one that was taken changes nothing, whatever it wants.
    #[test]
    fn a_lower_version_is_refused_whole(
        first in prop::collection::vec(drawn(), 3),
        second in prop::collection::vec(drawn(), 3),
    ) {
        let mut world = world(&[first]);
        come_to_rest(&mut world);
        world.wanted = target(&second, 0);
        let plan = world.plan();
        prop_assert_eq!(plan.step, None);
        prop_assert!(plan.refused.is_some());
    }

    /// A clock that jumps, either way, may delay what is due; it is not for ever.
    #[test]
    fn a_clock_that_jumps_does_not_keep_a_service_from_its_target(
        drawn in prop::collection::vec(drawn(), 3),
        events in prop::collection::vec((0..30_u8, -90_000..90_000_i64), 0..20),
    ) {
        let well = |drawn: Drawn| Drawn { image: drawn.image % 3, ..drawn };
        let mut world = world(&[drawn.into_iter().map(well).collect()]);
        for (steps, jump) in events {
            for _ in 0..steps {
                if let Some(step) = planned(&world) {
                    world.carry_out(&step);
                } else {
                    world.pass(2);
                }
            }
            world.now += chrono::TimeDelta::seconds(jump);
        }
        // Its clock is right again in the end.
        world.now = world.now.max(start_of_time());
        world.pass(86_400);
        come_to_rest(&mut world);
        at_rest(&world);
    }
}

#[test]
fn what_a_registry_offers_is_asked_once() {
    let services = [true, false, false].map(|there| Drawn {
        there,
        running: true,
        image: 0,
        blue_green: false,
        ports: 3,
        probe: false,
        depends: false,
        job: false,
        lock: false,
    });
    let mut world = world(&[services.to_vec()]);
    world.observed.offers = BTreeMap::from([(image(0, 0), Offer::default())]);
    let mut told = Vec::new();
    while let Some(step) = planned(&world) {
        told.push(step.name());
        world.carry_out(&step);
    }
    assert_eq!(
        told,
        [
            "accept",
            "remember",
            "pull",
            "create_network",
            "create",
            "remember",
            "start"
        ]
    );
}
