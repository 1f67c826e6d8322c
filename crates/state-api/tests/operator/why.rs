//! Why: situations as the services leave them in the store, told over HTTP.

use crate::harness::{Api, apis, digest};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_store::{Json, Session, presence};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::{RolloutRule, Strategy};

/// The codes of an answer, with its sentences for when it is not as expected.
async fn why(api: &Api, path: &str) -> (Vec<String>, String) {
    let answer = api.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let reasons = answer.body["reasons"].as_array().unwrap();
    let sentences: Vec<&Value> = reasons.iter().map(|one| &one["sentence"]).collect();
    assert_eq!(json!(sentences), answer.body["sentences"], "{path}");
    let waits = reasons.iter().find(|one| one["kind"] == "waits");
    assert_eq!(answer.body["waiting_for"], *waits.unwrap_or(&Value::Null));
    let codes = reasons
        .iter()
        .map(|one| one["code"].as_str().unwrap().to_owned())
        .collect();
    (codes, answer.body["sentences"].to_string())
}

async fn assert_told(api: &Api, path: &str, code: &str) {
    let (codes, sentences) = why(api, path).await;
    assert!(
        codes.iter().any(|one| one == code),
        "{code}: {codes:?} {sentences}"
    );
}

async fn tx(api: &Api) -> Session {
    api.deps.store.begin().await.unwrap()
}

#[tokio::test]
async fn a_device_in_no_rollout_is_told_which_policy_comes_nearest() {
    for api in apis().await {
        let device = api.device("edge").await;
        let path = format!("/devices/{device}/why");
        for code in ["never_seen", "no_policies", "target_by_person"] {
            assert_told(&api, &path, code).await;
        }
        let other = Uuid::new_v4();
        for (change, code) in [
            (json!({"image": "r.io:5000/lab/*"}), "policy_other_image"),
            (
                json!({"tag": {"type": "glob", "pattern": "w*"}}),
                "policy_other_tag",
            ),
            (
                json!({"filters": {"fleets": ["shop"]}}),
                "policy_other_fleet",
            ),
            (
                json!({"filters": {"tags": {"ring": "beta"}}}),
                "policy_other_device_tag",
            ),
            (
                json!({"filters": {"uuids": [other]}}),
                "policy_other_device",
            ),
            (json!({"enabled": false}), "policy_disabled"),
            (json!({}), "nothing_pushed"),
        ] {
            let mut policy =
                json!({"name": "shops", "image": "r.io:5000/demo/*", "strategy": "staged"});
            let fields = policy.as_object_mut().unwrap();
            fields.extend(change.as_object().unwrap().clone());
            let made = api.call("POST", "/image-policies", policy).await;
            assert_eq!(made.status, 201, "{made:?}");
            assert_told(&api, &path, code).await;
            let id = made.body["id"].as_str().unwrap();
            let gone = api
                .send(api.request("DELETE", &format!("/image-policies/{id}")))
                .await;
            assert_eq!(gone.status, 204, "{gone:?}");
        }

        let mut session = tx(&api).await;
        let now = session.now();
        let hour_ago = now - TimeDelta::hours(1);
        presence::seen(&mut session, &[(device, hour_ago)])
            .await
            .unwrap();
        api.deps.commit(session).await.unwrap();
        assert_told(&api, &path, "offline").await;
        let mut session = tx(&api).await;
        session
            .sql(
                "INSERT INTO device_penalties (device_uuid, reason, evidence, since, until) \
                 VALUES ($1, 'it failed good images', $2, $3, $4)",
            )
            .bind(device.0)
            .bind(Json(json!({})))
            .bind(hour_ago)
            .bind(now + TimeDelta::hours(1))
            .execute()
            .await
            .unwrap();
        api.deps.commit(session).await.unwrap();
        assert_told(&api, &path, "set_aside").await;
        let off = json!({"enabled": false});
        api.call("PATCH", &format!("/devices/{device}"), off).await;
        let (codes, _) = why(&api, &path).await;
        assert_eq!(codes[0], "disabled", "what decides comes first: {codes:?}");
    }
}

/// Moves the device's row in the rollout.
async fn stand(
    api: &Api,
    (rollout, device): (RolloutId, DeviceId),
    status: &str,
    verdict: Option<&str>,
    reason: Option<&str>,
) {
    let mut session = tx(api).await;
    let now = session.now();
    let later: DateTime<Utc> = now + TimeDelta::hours(1);
    let moved = session
        .sql(
            "UPDATE device_rollout_status SET status = $1, verdict = $2, reason = $3, \
             target_version = 3, admitted_at = $4, check_at = $5, deadline_at = $6 \
             WHERE rollout_id = $7 AND device_uuid = $8",
        )
        .bind(status.to_owned())
        .bind(verdict.map(str::to_owned))
        .bind(reason.map(str::to_owned))
        .bind(now)
        .bind(later)
        .bind(later)
        .bind(rollout.0)
        .bind(device.0)
        .execute()
        .await
        .unwrap();
    assert_eq!(moved, 1);
    api.deps.commit(session).await.unwrap();
}

#[tokio::test]
async fn a_device_in_a_rollout_is_told_where_it_stands() {
    for api in apis().await {
        let device = api.device("edge").await;
        let rollout = api.rollout('a').await;
        let path = format!("/devices/{device}/why");
        for code in ["turn", "next_step"] {
            assert_told(&api, &path, code).await;
        }
        for (status, verdict, reason, code) in [
            ("scheduled", None, None, "not_polled"),
            ("updating", None, None, "updating"),
            ("verifying", None, None, "verifying"),
            ("completed", Some("healthy"), None, "device_completed"),
            (
                "failed",
                Some("failed"),
                Some("crash_loop"),
                "device_failed",
            ),
            (
                "failed",
                Some("environment"),
                Some("disk"),
                "failed_environment",
            ),
            ("unreachable", None, Some("silent"), "unreachable"),
            (
                "unreachable",
                None,
                Some("silent_after_update"),
                "silent_after_update",
            ),
            ("inconclusive", None, None, "inconclusive"),
            ("rolling_back", Some("failed"), None, "rolling_back"),
            ("rolled_back", Some("failed"), None, "rolled_back"),
            ("rollback_failed", Some("failed"), None, "rollback_failed"),
            ("skipped", None, Some("disabled"), "skipped_disabled"),
            (
                "skipped",
                None,
                Some("failed_here_before"),
                "failed_here_before",
            ),
            ("skipped", None, Some("already_on_image"), "already_there"),
            ("skipped", None, Some("target_changed"), "target_changed"),
            ("skipped", None, Some("out_of_scope"), "out_of_scope"),
            ("skipped", None, Some("downgrade"), "downgrade"),
            ("skipped", None, Some("penalty_box"), "skipped_set_aside"),
            ("skipped", None, Some("higher_priority"), "higher_priority"),
            ("skipped", None, Some("quarantined"), "quarantined_class"),
        ] {
            stand(&api, (rollout, device), status, verdict, reason).await;
            assert_told(&api, &path, code).await;
        }
    }
}

/// Changes the rollout's row.
async fn turn(api: &Api, rollout: RolloutId, status: &str, reason: Option<&str>) {
    let mut session = tx(api).await;
    let now = session.now();
    let ended = [
        "completed",
        "failed",
        "cancelled",
        "superseded",
        "rolled_back",
    ];
    session
        .sql(
            "UPDATE image_rollouts SET status = $1, status_reason = $2, status_detail = 'so it is', \
             finished_at = $3 WHERE id = $4",
        )
        .bind(status.to_owned())
        .bind(reason.map(str::to_owned))
        .bind(ended.contains(&status).then_some(now))
        .bind(rollout.0)
        .execute()
        .await
        .unwrap();
    api.deps.commit(session).await.unwrap();
}

#[tokio::test]
async fn a_rollout_is_told_what_it_waits_for_and_how_it_ended() {
    for api in apis().await {
        api.device("edge").await;
        let rollout = api.rollout('a').await;
        let path = format!("/rollouts/{rollout}/why");
        assert_told(&api, &path, "next_step").await;
        for (strategy, rule, status, code) in [
            (
                "manual",
                RolloutRule {
                    strategy: Strategy::Manual,
                    ..RolloutRule::default()
                },
                "awaiting_approval",
                "approval",
            ),
            (
                "scheduled",
                RolloutRule {
                    strategy: Strategy::Scheduled,
                    starts_at: Some(Utc::now() + TimeDelta::days(2)),
                    ..RolloutRule::default()
                },
                "scheduled",
                "start_time",
            ),
        ] {
            let mut session = tx(&api).await;
            session
                .sql("UPDATE image_rollouts SET rule = $1, strategy = $2 WHERE id = $3")
                .bind(Json(rule))
                .bind(strategy.to_owned())
                .bind(rollout.0)
                .execute()
                .await
                .unwrap();
            api.deps.commit(session).await.unwrap();
            turn(&api, rollout, status, None).await;
            assert_told(&api, &path, code).await;
        }
        for (status, reason, code) in [
            ("paused", Some("operator"), "paused_by_person"),
            ("paused", Some("failure_rate"), "paused_failure_rate"),
            (
                "paused",
                Some("consecutive_failures"),
                "paused_consecutive_failures",
            ),
            (
                "paused",
                Some("environment_failures"),
                "paused_environment_failures",
            ),
            ("paused", Some("went_silent"), "paused_went_silent"),
            ("paused", Some("check_failed"), "paused_check_failed"),
            ("paused", Some("inconclusive"), "paused_inconclusive"),
            ("paused", Some("no_evidence"), "paused_no_evidence"),
            ("rolling_back", None, "rolling_back_all"),
            ("completed", None, "rollout_completed"),
            ("cancelled", Some("operator"), "rollout_cancelled"),
            ("superseded", Some("newer_version"), "rollout_superseded"),
            ("rolled_back", None, "rollout_rolled_back"),
            ("failed", None, "rollout_failed"),
        ] {
            turn(&api, rollout, status, reason).await;
            assert_told(&api, &path, code).await;
        }
        let stop = "INSERT INTO freezes (id, kind, reason, starts_at, created_by, created_at) \
                    VALUES ($1, 'stop', 'the network is down', $2, 'bob', $3)";
        let mut session = tx(&api).await;
        let before = session.now() - TimeDelta::minutes(1);
        session
            .sql(stop)
            .bind(Uuid::now_v7())
            .bind(before)
            .bind(before)
            .execute()
            .await
            .unwrap();
        api.deps.commit(session).await.unwrap();
        turn(&api, rollout, "in_progress", None).await;
        assert_told(&api, &path, "stopped").await;
        let none = api.get(&format!("/rollouts/{}/why", Uuid::now_v7())).await;
        assert_eq!((none.status, none.problem()), (404, "not-found"));
    }
}

/// A version that was seen, and what the planner made of it.
async fn seen(api: &Api, tag: &str, digest: Option<String>, decision: Option<&str>) {
    let mut session = tx(api).await;
    let (id, now) = (Uuid::now_v7(), session.now());
    session
        .sql(
            "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, \
             correlation_id, next_resolve_at) VALUES ($1, 'r.io:5000/demo/app', $2, $3, 'new', $4, $5, $6)",
        )
        .bind(id)
        .bind(tag.to_owned())
        .bind(digest.clone())
        .bind(now)
        .bind(Uuid::now_v7())
        .bind(digest.is_none().then_some(now))
        .execute()
        .await
        .unwrap();
    if let Some(decision) = decision {
        session
            .sql(
                "INSERT INTO image_plans (image_version_id, decision, detail, decided_at) \
                 VALUES ($1, $2, 'so it was', $3)",
            )
            .bind(id)
            .bind(decision.to_owned())
            .bind(now)
            .execute()
            .await
            .unwrap();
    }
    api.deps.commit(session).await.unwrap();
}

#[tokio::test]
async fn an_image_is_told_what_became_of_it() {
    for api in apis().await {
        let path = |tag: &str| format!("/images/why?image=r.io:5000/demo/app:{tag}");
        assert_told(&api, &path("v0"), "never_pushed").await;
        for (tag, digest, decision, code) in [
            ("v1", None, None, "digest_unknown"),
            ("v2", Some(digest('a')), None, "not_planned"),
            ("v3", Some(digest('b')), Some("no_policy"), "no_policies"),
            ("v4", Some(digest('c')), Some("no_devices"), "no_devices"),
            (
                "v5",
                Some(digest('d')),
                Some("downgrade"),
                "image_downgrade",
            ),
            (
                "v6",
                Some(digest('e')),
                Some("quarantined"),
                "image_quarantined",
            ),
            ("v7", Some(digest('f')), Some("replaced"), "replaced"),
        ] {
            seen(&api, tag, digest, decision).await;
            assert_told(&api, &path(tag), code).await;
        }
        let mut session = tx(&api).await;
        let now = session.now();
        for (key, value) in [("", ""), ("model", "mk1")] {
            session
                .sql(
                    "INSERT INTO quarantined_digests (digest, tag_key, tag_value, repository, \
                     reason, evidence, created_at) \
                     VALUES ($1, $2, $3, 'r.io:5000/demo/app', 'it failed', $4, $5)",
                )
                .bind(digest('a'))
                .bind(key.to_owned())
                .bind(value.to_owned())
                .bind(Json(json!({})))
                .bind(now)
                .execute()
                .await
                .unwrap();
        }
        api.deps.commit(session).await.unwrap();
        for code in ["image_quarantined", "image_quarantined_for_class"] {
            assert_told(&api, &path("v2"), code).await;
        }
        api.device("edge").await;
        api.rollout('c').await;
        assert_told(&api, &path("v4"), "rollout_made").await;
        // A mistyped name is told of the one that is written alike.
        let (_, sentences) = why(&api, "/images/why?image=r.io:5000/demo/ap:v1").await;
        assert!(
            sentences.contains("the nearest that was seen is r.io:5000/demo/app"),
            "{sentences}"
        );
        let wrong = api.get("/images/why?image=A%20B").await;
        assert_eq!((wrong.status, wrong.fields()), (400, vec!["image"]));
    }
}
