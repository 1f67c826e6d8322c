//! Digests that ship no more to devices of one class.

use crate::world::*;
use windlass_store::quarantine::Class;

fn by_model() -> RolloutRule {
    RolloutRule {
        failure: FailureRule {
            quarantine_by: Some("model".to_owned()),
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    }
}

impl World {
    async fn model(&self, at: usize, value: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.sql("INSERT INTO device_tags (device_uuid, key, value) VALUES ($1, 'model', $2)")
            .bind(self.device(at).0)
            .bind(value.to_owned())
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn held(&self) -> Vec<Option<String>> {
        let mut read = self.store().read().await.unwrap();
        let rows = quarantine::list(&mut read, None, 10).await.unwrap();
        rows.into_iter().map(|row| row.tag_value).collect()
    }
}

#[tokio::test]
async fn a_class_beyond_its_budget_is_held_apart_and_the_others_go_on() {
    for world in worlds(10, &by_model()).await {
        for at in 0..4 {
            world.model(at, "old").await;
        }
        for at in 4..7 {
            world.model(at, "new").await;
        }
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        assert_eq!(world.held().await, [Some("old".to_owned())]);
        assert_eq!(world.count(EventType::Quarantined).await, 1);
        assert_eq!(world.count(EventType::RolloutPaused).await, 0);
        // The fourth of its class never ran it and is put back; nobody else is touched.
        assert_eq!(world.status(3).await, "rolling_back");
        assert_eq!(world.status(4).await, "scheduled");
        let mut read = world.store().read().await.unwrap();
        assert!(!quarantine::contains(&mut read, &digest(2)).await.unwrap());
        let rows = quarantine::classes(&mut read, &digest(2)).await.unwrap();
        assert_eq!(rows[0].tag_key.as_deref(), Some("model"));
        assert_eq!(
            rows[0].evidence["latest_failures"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        drop(read);
        // A second class says that it is the image; devices without the tag are one too.
        for at in 7..10 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.held().await, [None, Some("old".to_owned())]);
        assert_eq!(world.scenario.status().await.0, "paused");
    }
}

#[tokio::test]
async fn a_rollout_to_one_class_alone_pauses_as_a_whole() {
    for world in worlds(4, &by_model()).await {
        for at in 0..4 {
            world.model(at, "old").await;
        }
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.held().await, [None]);
        assert_eq!(world.scenario.status().await.0, "paused");
    }
}

#[tokio::test]
async fn a_device_goes_back_to_what_is_in_quarantine_for_others_only() {
    for world in worlds(2, &lax()).await {
        world.model(0, "old").await;
        world.model(1, "new").await;
        let class = Class {
            key: "model".to_owned(),
            value: "old".to_owned(),
        };
        let mut tx = world.store().begin().await.unwrap();
        let repository = "registry:5000/demo/app".parse().unwrap();
        let (rollout, why) = (world.scenario.rollout, "bad");
        let v1 = digest(1);
        quarantine::add_for_class(&mut tx, &v1, &class, &repository, rollout, why, json!({}))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("no_good_image"))
        );
        assert_eq!(world.scenario.target(world.device(1)).await, (3, image(1)));
    }
}

#[tokio::test]
async fn one_class_is_lifted_or_all_of_them() {
    for world in worlds(10, &by_model()).await {
        for at in 0..4 {
            world.model(at, "old").await;
        }
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let class = |value: &str| Class {
            key: "model".to_owned(),
            value: value.to_owned(),
        };
        world.wait(1);
        let mut tx = world.store().begin().await.unwrap();
        let (ann, why) = ("operator:ann", "a flat battery");
        let lifted = quarantine::lift_class(&mut tx, &digest(2), &class("new"), ann, why).await;
        assert!(!lifted.unwrap());
        let lifted = quarantine::lift_class(&mut tx, &digest(2), &class("old"), ann, why).await;
        assert!(lifted.unwrap());
        let good = rollbacks::good_images(&mut tx, &world.scenario.devices).await;
        assert!(good.unwrap().failed.is_empty(), "its devices are forgiven");
        tx.commit().await.unwrap();
        world.pass().await;
        assert_eq!(
            world.held().await,
            Vec::<Option<String>>::new(),
            "it stays lifted"
        );
        assert_eq!(world.count(EventType::QuarantineLifted).await, 1);
    }
}

#[tokio::test]
async fn the_list_goes_on_after_a_class() {
    for world in worlds(1, &lax()).await {
        let mut tx = world.store().begin().await.unwrap();
        let repository = "registry:5000/demo/app".parse().unwrap();
        for value in ["", "a", "b"] {
            let class = Class {
                key: "model".to_owned(),
                value: value.to_owned(),
            };
            let (rollout, v) = (world.scenario.rollout, digest(3));
            quarantine::add_for_class(&mut tx, &v, &class, &repository, rollout, "bad", json!({}))
                .await
                .unwrap();
        }
        quarantine::add(&mut tx, &digest(3), &repository, None, "bad", json!({}))
            .await
            .unwrap();
        let mut found = Vec::new();
        let mut place = None;
        loop {
            let page = quarantine::list(&mut tx, place.as_ref(), 1).await.unwrap();
            let Some(row) = page.first() else { break };
            found.push(row.tag_value.clone());
            let next: quarantine::Place = row.into();
            place = Some(next.to_string().parse().unwrap());
        }
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(found, [None, value(""), value("a"), value("b")]);
    }
}
