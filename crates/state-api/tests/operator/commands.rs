use crate::harness::{apis, digest};
use serde_json::json;
use uuid::Uuid;
use windlass_store::quarantine;
use windlass_types::rollout::CommandOutcome;

#[tokio::test]
async fn a_command_answers_with_what_became_of_it() {
    for api in apis().await {
        let device = api.device("edge").await;
        let id = api.rollout('a').await;
        let reason = json!({"reason": "the dashboard is red"});
        let one = format!("devices/{device}/rollback");
        for name in ["pause", "resume", "cancel", "approve", "rollback-all", &one] {
            let path = format!("/rollouts/{id}/{name}");
            for outcome in [CommandOutcome::Applied, CommandOutcome::NoChange] {
                let (answer, ()) = tokio::join!(
                    api.call("POST", &path, reason.clone()),
                    api.settle(id, outcome, "done")
                );
                assert_eq!(answer.status, 200, "{name} {answer:?}");
                assert_eq!(answer.body["command"]["outcome"], json!(outcome));
                assert_eq!(answer.body["command"]["actor"], "operator:configured");
                assert_eq!(answer.body["rollout"]["id"], json!(id));
            }
            let (answer, ()) = tokio::join!(
                api.call("POST", &path, reason.clone()),
                api.settle(id, CommandOutcome::Refused, "it has ended")
            );
            assert_eq!(
                (answer.status, answer.problem()),
                (409, "conflict"),
                "{name}"
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("it has ended"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_command_nobody_carries_out_is_accepted_and_stays() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let path = format!("/rollouts/{id}/cancel");
        let answer = api.call("POST", &path, json!({"reason": "enough"})).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.body["command"]["outcome"], "pending");
        assert_eq!(answer.header("location"), format!("/api/v1/rollouts/{id}"));
    }
}

#[tokio::test]
async fn a_rollout_that_has_ended_can_still_be_taken_back() {
    for api in apis().await {
        for status in ["completed", "failed", "cancelled", "superseded"] {
            let id = api.rollout('a').await;
            let mut tx = api.deps.store.begin().await.unwrap();
            tx.sql("UPDATE image_rollouts SET status = $1, finished_at = created_at WHERE id = $2")
                .bind(status)
                .bind(id.0)
                .execute()
                .await
                .unwrap();
            api.deps.commit(tx).await.unwrap();
            let path = format!("/rollouts/{id}/rollback-all");
            let (answer, ()) = tokio::join!(
                api.call("POST", &path, json!({"reason": "it leaks memory"})),
                api.settle(id, CommandOutcome::Applied, "")
            );
            assert_eq!(answer.status, 200, "{status} {answer:?}");
            assert_eq!(answer.body["command"]["kind"], "rollback_all");
        }
    }
}

#[tokio::test]
async fn commands_need_a_reason_a_rollout_and_a_device_in_it() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let outsider = api.device("edge").await;
        for body in [
            json!({}),
            json!({"reason": " "}),
            json!({"reason": "x".repeat(1001)}),
        ] {
            let answer = api
                .call("POST", &format!("/rollouts/{id}/pause"), body)
                .await;
            assert_eq!((answer.status, answer.fields()), (400, vec!["reason"]));
        }
        let reason = json!({"reason": "because"});
        let none = Uuid::now_v7();
        for path in [
            format!("/rollouts/{none}/pause"),
            format!("/rollouts/{none}/devices/{outsider}/rollback"),
            format!("/rollouts/{id}/devices/{outsider}/rollback"),
        ] {
            let answer = api.call("POST", &path, reason.clone()).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (404, "not-found"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_quarantine_is_lifted_before_its_rollout_is_resumed() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let digest = digest('a');
        let mut tx = api.deps.store.begin().await.unwrap();
        quarantine::add(
            &mut tx,
            &digest.parse().unwrap(),
            &"r.io:5000/demo/app".parse().unwrap(),
            Some(id),
            "3 of 5 failed",
            json!({"failed": 3}),
        )
        .await
        .unwrap();
        api.deps.commit(tx).await.unwrap();

        let list = api.get("/quarantine").await;
        assert_eq!(list.body["items"][0]["digest"], json!(digest));
        assert_eq!(list.body["items"][0]["evidence"], json!({"failed": 3}));

        let reason = json!({"reason": "looked at"});
        let resume = format!("/rollouts/{id}/resume");
        let answer = api.call("POST", &resume, reason.clone()).await;
        assert_eq!((answer.status, answer.problem()), (409, "conflict"));
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("quarantine"), "{detail}");

        let lift = format!("/quarantine/{digest}");
        let unsaid = api.call("DELETE", &lift, json!({"reason": ""})).await;
        assert_eq!(unsaid.status, 400);
        assert_eq!(api.call("DELETE", &lift, reason.clone()).await.status, 204);
        let gone = api.call("DELETE", &lift, reason.clone()).await;
        assert_eq!((gone.status, gone.problem()), (404, "not-found"));
        let odd = api
            .call("DELETE", "/quarantine/latest", reason.clone())
            .await;
        assert_eq!(odd.status, 400);

        let (answer, ()) = tokio::join!(
            api.call("POST", &resume, reason),
            api.settle(id, CommandOutcome::Applied, "")
        );
        assert_eq!(answer.status, 200);
    }
}
