//! Reports.

use crate::stand_in::{Bench, PATIENCE, problem};
use serde_json::json;
use std::sync::Arc;
use windlass_agent::config::ReportSection;
use windlass_agent::picture::Picture;
use windlass_testkit::eventually;
use wiremock::ResponseTemplate;

fn settings() -> ReportSection {
    ReportSection {
        gather_ms: 20,
        ..ReportSection::default()
    }
}

fn picture(version: i64) -> Arc<Picture> {
    Arc::new(Picture {
        version: Some(version),
        services: Some(Vec::new()),
        ..Picture::default()
    })
}

fn ok() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"status": "ok"}))
}

fn confirm(bench: &Bench) {
    bench.line.standing.send_modify(|s| s.confirmed = true);
}

#[tokio::test]
async fn what_changes_together_is_told_once_and_what_did_not_change_is_not() {
    let bench = Bench::new().await;
    bench.answer("PATCH", "/device/state", ok()).await;
    let task = bench.reporter(settings());
    for version in 1..=20 {
        bench.pictures.send_replace(picture(version));
    }
    confirm(&bench);
    eventually("a report", PATIENCE, async || {
        !bench.reports().await.is_empty()
    })
    .await;
    for _ in 0..20 {
        bench.pictures.send_replace(picture(20));
    }
    bench.pictures.send_replace(picture(21));
    eventually("the change", PATIENCE, async || {
        bench.reports().await.len() >= 2
    })
    .await;
    bench.end();
    task.await.unwrap();
    let reports = bench.reports().await;
    let versions: Vec<_> = reports.iter().map(|r| r["version"].as_i64()).collect();
    assert_eq!(versions, [Some(20), Some(21)]);
    let ids: Vec<uuid::Uuid> = reports
        .iter()
        .map(|r| r["reportId"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.iter().all(|id| id.get_version_num() == 7) && ids[0] < ids[1]);
    assert!(reports[0]["reportedAt"].as_str() < reports[1]["reportedAt"].as_str());
    assert_eq!(reports[0]["apps"], json!({}));
    assert!(
        reports[0]["platform"]
            .as_str()
            .unwrap()
            .starts_with("linux/")
    );
}

#[tokio::test]
async fn after_a_time_away_the_newest_is_told_first_and_the_past_as_history() {
    let bench = Bench::new().await;
    bench
        .answer_first(3, "PATCH", "/device/state", problem(503))
        .await;
    bench.answer("PATCH", "/device/state", ok()).await;
    bench.pictures.send_replace(picture(1));
    confirm(&bench);
    let task = bench.reporter(settings());
    eventually("the first try", PATIENCE, async || {
        !bench.reports().await.is_empty()
    })
    .await;
    bench.pictures.send_replace(picture(2));
    eventually("what was overtaken is kept", PATIENCE, async || {
        bench.line.standing.borrow().history == 1
    })
    .await;
    eventually("all is told", PATIENCE, async || {
        let standing = bench.line.standing.borrow();
        standing.reported_at.is_some() && standing.history == 0
    })
    .await;
    bench.end();
    task.await.unwrap();
    let reports = bench.reports().await;
    let taken = &reports[reports.len() - 2..];
    assert_eq!(taken[0]["version"], 2, "{reports:#?}");
    assert_eq!(taken[1].get("version"), None);
    assert_eq!(taken[1]["reportId"], reports[0]["reportId"]);
    assert!(taken[1]["reportedAt"].as_str() < taken[0]["reportedAt"].as_str());
}

#[tokio::test]
async fn what_could_not_be_told_before_the_end_is_history_for_the_next_start() {
    let bench = Bench::new().await;
    bench
        .answer_first(1, "PATCH", "/device/state", problem(503))
        .await;
    bench.pictures.send_replace(picture(1));
    confirm(&bench);
    let task = bench.reporter(settings());
    eventually("a try", PATIENCE, async || {
        !bench.reports().await.is_empty()
    })
    .await;
    bench.end();
    task.await.unwrap();
    let history = bench.state().file(windlass_agent::state::HISTORY);
    let kept = std::fs::read_to_string(history).unwrap();
    assert!(
        kept.contains("reportId") && !kept.contains("\"version\""),
        "{kept}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_know_the_device_has_it_introduced_again() {
    let bench = Bench::new().await;
    bench.answer("PATCH", "/device/state", problem(401)).await;
    bench.pictures.send_replace(picture(1));
    confirm(&bench);
    bench.reporter(settings());
    tokio::time::timeout(PATIENCE, bench.line.unknown.notified())
        .await
        .unwrap();
}
