use crate::harness::{digest, start};
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
