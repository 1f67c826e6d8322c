use crate::harness::{apis, digest, start};
use chrono::TimeDelta;
use serde_json::json;
use std::time::Duration;
use windlass_core::batches::Layout;
use windlass_store::rollout_plans::{self, NewPlan};
use windlass_store::rollouts::Scope;
use windlass_testkit::{eventually, stores};
use windlass_types::api::{TriggerPlan, TriggerRequest};
use windlass_types::ids::PlanId;

#[tokio::test]
async fn plans_whose_time_is_over_are_forgotten_and_others_kept() {
    for store in stores().await {
        let image = format!("r.io:5000/demo/app:v2@{}", digest('a'));
        let plan: TriggerPlan = serde_json::from_value(json!({"dry_run": true, "image": image,
            "waiting_for": null, "total_devices": 0, "batches": [], "skipped": {},
            "devices": [], "devices_truncated": false}))
        .unwrap();
        let scope = Scope::new("r.io:5000/demo/app".parse().unwrap(), Vec::new(), (1, 0));
        let mut ids = Vec::new();
        let mut tx = store.store.begin().await.unwrap();
        for hours in [-1, 1] {
            let new = NewPlan {
                id: PlanId(uuid::Uuid::now_v7()),
                request: TriggerRequest::new(image.clone(), "try"),
                plan: plan.clone(),
                fingerprint: String::new(),
                created_by: "test".to_owned(),
                expires_at: tx.now() + TimeDelta::hours(hours),
            };
            rollout_plans::save(&mut tx, &new, &scope, &Layout::default())
                .await
                .unwrap();
            ids.push(new.id);
        }
        tx.commit().await.unwrap();

        let api = start(store).await;
        let kept = async |id: PlanId| {
            let mut session = api.deps.store.read().await.unwrap();
            rollout_plans::get(&mut session, id)
                .await
                .unwrap()
                .is_some()
        };
        eventually("the old plan to go", Duration::from_secs(10), async || {
            !kept(ids[0]).await
        })
        .await;
        assert!(kept(ids[1]).await);
        let path = format!("/rollout-plans/{}", ids[0]);
        assert_eq!(api.get(&path).await.status, 404);
    }
}

#[tokio::test]
async fn a_plan_is_applied_once_also_by_two_at_the_same_moment() {
    for api in apis().await {
        api.device("north").await;
        let image = format!("r.io:5000/demo/app:v2@{}", digest('b'));
        let asked = json!({"image": image, "dry_run": true, "reason": "to see"});
        let plan = api.call("POST", "/images/trigger-update", asked).await;
        assert_eq!(plan.status, 200, "{plan:?}");
        let id = plan.body["plan_id"].as_str().unwrap();
        let path = format!("/rollout-plans/{id}/apply");
        let apply = || api.call("POST", &path, json!({"reason": "as shown"}));
        let (one, other) = tokio::join!(apply(), apply());
        let mut found = [one.status, other.status];
        found.sort_unstable();
        // No planner is there to decide about the one that was taken.
        assert_eq!(found, [202, 409], "{one:?} {other:?}");
        let late = apply().await;
        assert_eq!((late.status, late.problem()), (409, "conflict"));
        assert!(
            late.body["detail"].as_str().unwrap().contains("already"),
            "{late:?}"
        );
    }
}
