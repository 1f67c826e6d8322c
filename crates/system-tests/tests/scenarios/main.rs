//! Every way to roll out and every way back, from a push to the last device, over HTTP and on both
//! tiers. The scenarios of one system run at the same time, each with a repository, a policy and a
//! fleet of its own; what concerns everybody, as the stop button does, comes after them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod api;
mod by_hand;
mod checks;
mod failures;
mod firewall;
mod freezes;
mod limited;
mod limits;
mod page;
mod scene;
mod strategies;
mod tier;
mod watching;

use crate::tier::Tier;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

/// Scenarios at the same time: as many as two cores take without making each other wait.
const AT_ONCE: usize = 14;

type Running = Pin<Box<dyn Future<Output = ()>>>;
type Scenario = (&'static str, fn(Arc<Tier>) -> Running);

macro_rules! scenarios {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((stringify!($name), |tier| Box::pin($module::$name(tier)))),+),+]
    };
}

/// Those that mind nobody.
const TOGETHER: &[Scenario] = scenarios![
    strategies: scheduled_waits_for_its_time_and_its_window, of_two_rollouts_of_an_image_the_one_by_hand_has_the_device, auto_reaches_every_device_at_once, staged_goes_batch_by_batch,
        canary_by_count_soaks_before_the_others_follow,
        canary_by_tags_begins_with_the_devices_that_carry_them,
        manual_waits_for_two_different_people, each_batch_waits_for_its_own_approval,
        of_two_versions_held_the_new_one_is_promoted, of_two_versions_held_the_old_one_is_kept,
        each_region_has_its_share_of_each_batch, blue_green_is_written_into_the_target,
        the_next_batch_is_started_by_hand, a_device_that_joins_late_is_in_the_last_batch
        ;
    limits: no_more_devices_are_on_their_way_than_the_limit, the_rate_rises_with_each_success,
        of_a_pair_one_is_there_at_any_time;
    failures: too_many_failures_pause_it_and_condemn_the_digest,
        the_failed_ones_go_back_when_the_budget_is_used_up,
        the_whole_batch_goes_back_when_the_budget_is_used_up,
        everybody_goes_back_when_the_budget_is_used_up, what_is_not_the_images_fault_is_tried_again,
        a_registry_that_is_away_pauses_it_and_condemns_nothing,
        a_digest_is_condemned_for_the_model_it_fails_on,
        devices_that_fall_silent_with_the_image_pause_it,
        a_device_that_fails_good_images_is_set_aside;
    checks: http_asked_by_the_device, tcp_asked_by_the_device, http_asked_by_the_server,
        tcp_asked_by_the_server, the_container_must_run,
        a_device_without_an_address_is_inconclusive_and_pauses, a_gate_that_is_asked_says_yes,
        a_gate_that_is_asked_says_no, a_gate_that_says_nothing_is_no_yes,
        prometheus_finds_the_new_version_no_worse, prometheus_finds_the_new_version_worse,
        of_two_versions_the_checks_keep_the_old_one;
    by_hand: a_device_a_batch_and_all_are_taken_back_by_hand, a_plan_is_shipped_as_it_was_shown,
        a_plan_that_changed_since_is_not_shipped;
    page: every_example_of_the_page_is_taken_and_planned;
];

/// Those that hold up everybody else: one after the other, when the others are done.
const ALONE: &[Scenario] = scenarios![
    freezes: stop_holds_everybody_but_whom_a_person_lets_go_on, a_freeze_holds_until_it_is_lifted;
];

/// Runs the scenarios, or those that have one of the words of `WINDLASS_TEST_SCENARIOS` in their name.
async fn run(tier: Tier) {
    let tier = Arc::new(tier);
    let asked = std::env::var("WINDLASS_TEST_SCENARIOS").unwrap_or_default();
    let words: Vec<&str> = asked.split_whitespace().collect();
    let is_asked =
        |(name, _): &&Scenario| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut results = Vec::new();
    let mut running = JoinSet::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    for (name, scenario) in TOGETHER.iter().filter(is_asked) {
        let (places, scenario) = (Arc::clone(&places), scenario(Arc::clone(&tier)));
        running.spawn_local(async move {
            let _place = places.acquire().await;
            one(name, scenario).await
        });
    }
    results.extend(running.join_all().await);
    for (name, scenario) in ALONE.iter().filter(is_asked) {
        results.push(one(name, scenario(Arc::clone(&tier))).await);
    }
    assert!(!results.is_empty(), "no scenario is called like {asked:?}");
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "these failed, see above: {failed:#?}");
}

/// Runs one scenario; an error is its name.
async fn one(name: &'static str, scenario: Running) -> Result<(), &'static str> {
    let begun = Instant::now();
    let ended = tokio::task::spawn_local(scenario).await;
    eprintln!("{name}: {:.1} s", begun.elapsed().as_secs_f32());
    ended.or(Err(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_in_one_process_on_sqlite() {
    LocalSet::new()
        .run_until(async { run(Tier::one().await).await })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_in_five_services_on_postgresql_and_redis() {
    LocalSet::new()
        .run_until(async { run(Tier::many().await).await })
        .await;
}

/// A scenario that has a system to itself.
async fn by_itself(
    tier: impl Future<Output = Tier>,
    name: &'static str,
    scenario: fn(Arc<Tier>) -> Running,
) {
    LocalSet::new()
        .run_until(async {
            let tier = Arc::new(tier.await);
            one(name, scenario(tier)).await.unwrap();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_webhooks_the_watch_finds_what_ships() {
    by_itself(Tier::looking(), "a push without a webhook", |tier| {
        Box::pin(watching::a_push_that_no_webhook_tells_of_reaches_the_devices(tier))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_look_at_a_registry_that_limits_them_and_what_they_find_ships_once() {
    by_itself(Tier::many_looking(), "a registry's limit", |tier| {
        Box::pin(watching::two_replicas_leave_a_registry_alone_that_asks_for_it(tier))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_firewall_keeps_webhooks_from_telling_is_found_shipped_once_and_counted() {
    let this = "what_a_firewall_keeps_webhooks_from_telling_is_found_shipped_once_and_counted";
    if !firewall::in_own_network(this) {
        return;
    }
    LocalSet::new()
        .run_until(async {
            let (tier, webhooks) = Tier::behind_firewall().await;
            let scenario = watching::a_firewall_drops_webhooks(Arc::new(tier), webhooks);
            one("a firewall", Box::pin(scenario)).await.unwrap();
        })
        .await;
}
