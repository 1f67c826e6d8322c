//! Locks that apps hold to keep their update away.

use crate::bench::{Bench, PATIENCE, ask, image_of, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::eventually;

fn locked(image: &str, lock: &Value) -> Value {
    service(1, "web", image, json!({"updateLock": lock}))
}

#[tokio::test]
async fn an_update_waits_for_a_file_and_says_whose_it_is() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let file = device.file("lock");
    let lock = json!(file);
    device.server.wants(&[locked(&v1, &lock)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;

    std::fs::write(&file, "the night shift\n").unwrap();
    device.server.wants(&[locked(&v2, &lock)]);
    device
        .waits("web", "the update lock that the night shift holds")
        .await;
    // Its image may come meanwhile; what runs goes on.
    let running = device.running("web").await;
    assert_eq!(
        (&running[0].id, running[0].started_at),
        (&first.id, first.started_at)
    );
    eventually("its status says so too", PATIENCE, async || {
        let (well, said) = device.command(&["status"]);
        well && said.contains("the update lock that the night shift holds")
    })
    .await;

    std::fs::remove_file(&file).unwrap();
    device.settles("web", &v2).await;
}

#[tokio::test]
async fn an_update_waits_for_an_app_that_answers_423() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let lock = json!({"http": {"port": 8080, "path": "/lock"}});
    device.server.wants(&[locked(&v1, &lock)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;

    ask(&first, "/do/lock").await.unwrap();
    device.server.wants(&[locked(&v2, &lock)]);
    device.waits("web", "a person at work").await;
    // Nor is it taken away while it is held.
    device.server.wants(&[]);
    device.waits("web", "a person at work").await;
    let running = device.running("web").await;
    assert_eq!(image_of(&running[0]), v1);

    device.server.wants(&[locked(&v2, &lock)]);
    ask(&first, "/do/unlock").await.unwrap();
    device.settles("web", &v2).await;
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_holds_for_its_longest_time_and_no_longer() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let file = device.file("lock");
    std::fs::write(&file, "").unwrap();
    let lock = json!({"file": file, "longest": "4s"});
    device.server.wants(&[locked(&v1, &lock)]);
    device.start(&[]);
    // Nothing runs that could be in the middle of something.
    device.settles("web", &v1).await;
    device.server.wants(&[locked(&v2, &lock)]);
    device.waits("web", &file.display().to_string()).await;
    device.settles("web", &v2).await;
    assert!(file.exists(), "the lock is its holder's");
}
