//! The agent is killed at every step, and between the calls of a step.

use crate::bench::{Bench, PATIENCE, probed, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::eventually;

/// All points of an update, before and after each step, and between two calls of one.
const POINTS: &[&str] = &[
    "before-accept",
    "after-accept",
    "before-inspect",
    "after-inspect",
    "after-remember",
    "after-remember:2",
    "after-remember:3",
    "before-pull",
    "within-pull",
    "after-pull",
    "before-create",
    "within-create",
    "after-create",
    "before-stop",
    "after-stop",
    "before-start",
    "after-start",
    "within-serve",
    "within-serve:2",
    "after-serve",
    "before-remove",
    "after-remove",
    "before-remove_image",
    "within-remove_image",
    "after-remove_image",
    "after-forget_image",
];

fn web(image: &str, strategy: &str) -> Value {
    let mut config = probed();
    config["update_strategy"] = json!(strategy);
    service(1, "web", image, config)
}

/// Kills the agent at each of the points, each time while it goes to an image: good ones, and every fourth bad.
async fn killed_everywhere(strategy: &str) {
    let (registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1, strategy)]);
    device.start(&[]);
    device.settles("web", &v1).await;
    device.agent().terminate();
    let mut good = v1;
    let mut reached = 0;
    for (number, point) in POINTS.iter().enumerate() {
        let bad = number % 4 == 3;
        let tag = format!("v{}", number + 2);
        let variables: &[(&str, &str)] = if bad { &[("APP_UNHEALTHY", "1")] } else { &[] };
        let image = registry.push_app("demo/app", &tag, variables).await;
        device.server.wants(&[web(&image, strategy)]);
        device.start(&[("WINDLASS_TEST_AGENT_FAULT", *point)]);
        // It is killed at the point, or the update has no such point and comes to its end.
        let expected = if bad { good.clone() } else { image.clone() };
        let mut ended = false;
        eventually(
            &format!("killed at {point}, or done"),
            PATIENCE,
            async || {
                ended = !device.agent().runs();
                let done = if bad {
                    device.server.error("web").is_some()
                } else {
                    device.server.reported("web").is_some_and(|told| {
                        told["imageName"] == json!(image) && told["phase"] == "running"
                    })
                };
                ended || done
            },
        )
        .await;
        reached += u32::from(ended);
        device.agent().kill();
        device.start(&[]);
        if bad {
            device.tells("web", "health").await;
        }
        device.settles("web", &expected).await;
        device.agent().terminate();
        good = expected;
    }
    println!("{strategy}: killed at {reached} of {} points", POINTS.len());
    assert!(reached >= 15, "most points are reached: {reached}");
}

#[tokio::test]
async fn killed_at_any_point_of_an_update_it_goes_on() {
    killed_everywhere("recreate").await;
}

#[tokio::test]
async fn killed_at_any_point_of_a_hand_over_it_goes_on() {
    killed_everywhere("blue-green").await;
}
