//! One example for each code, for docs/why.md and for tests.

use super::{DeviceReason as D, ImageReason as I, Reason, RolloutReason as R, Since};
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::api::WaitReason;
use windlass_types::delivery::ReasonCode;
use windlass_types::rollout::{RolloutStatus, SkipReason, StatusReason};
use windlass_types::target::TargetSource;
use windlass_types::why::WhyReason;
use windlass_types::why::facts::LabelUse;

/// One example for each code, in the order of the codes within rollouts, devices and images.
#[must_use]
pub fn examples() -> Vec<WhyReason> {
    let mut found: Vec<WhyReason> = rollouts().iter().map(tell).collect();
    found.extend(devices().iter().map(tell));
    found.extend(images().iter().map(tell));
    found
}

fn tell<R: Reason + Clone>(reason: &R) -> WhyReason {
    Since::new(reason.clone(), None).told()
}

/// So many minutes after a certain noon.
fn noon(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_600) + TimeDelta::minutes(12 * 60 + minutes)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn paused(cause: StatusReason, detail: &str) -> R {
    R::Paused {
        cause: Some(cause),
        detail: some(detail),
    }
}

fn wait(reason: WaitReason, detail: &str, until: Option<DateTime<Utc>>) -> I {
    I::Waits {
        reason,
        policy: some("shops"),
        detail: text(detail),
        until,
    }
}

fn rollouts() -> Vec<R> {
    let mut found = vec![
        R::NextStep,
        R::PausedByPerson {
            by: some("alice"),
            why: some("the shop is full"),
        },
        paused(
            StatusReason::FailureRate,
            "3 of 10 devices failed, 20 % may",
        ),
        paused(
            StatusReason::ConsecutiveFailures,
            "3 devices failed one after the other",
        ),
        paused(
            StatusReason::EnvironmentFailures,
            "6 of 10 devices could not pull",
        ),
        paused(
            StatusReason::WentSilent,
            "3 of 10 devices are silent, 20 % may be",
        ),
        paused(
            StatusReason::CheckFailed,
            "the check \"error rate\" of batch 1 failed",
        ),
        paused(
            StatusReason::Inconclusive,
            "2 devices of batch 1 could not be judged",
        ),
        paused(
            StatusReason::NoEvidence,
            "no device could be judged so far: 4 unreachable, 0 skipped",
        ),
        paused(StatusReason::Unsigned, "it has no signature"),
        paused(
            StatusReason::Quarantined,
            "3 of 10 devices failed in another rollout",
        ),
        R::Paused {
            cause: None,
            detail: some("its policy is gone"),
        },
        R::RollbackOrdered {
            by: text("alice"),
            why: text("orders are lost"),
        },
        R::Stopped {
            by: text("bob"),
            why: text("the network is down"),
        },
        R::Frozen {
            by: text("bob"),
            why: text("the holidays"),
            until: Some(noon(24 * 60)),
        },
        R::Approval {
            batch: Some(2),
            devices: 40,
            needed: 2,
            given: vec![text("alice")],
        },
        R::StartTime { at: Some(noon(90)) },
        R::Delay {
            batch: 2,
            until: noon(30),
        },
        R::Soak {
            open: 2,
            total: 5,
            until: Some(noon(15)),
        },
        R::Hold { until: noon(600) },
        R::GateCheck {
            batch: 1,
            name: text("error rate"),
            tries: Some(2),
            said: some("0.04, which must be below 0.02"),
            until: Some(noon(10)),
        },
        R::WindowClosed {
            batch: 2,
            devices: 12,
            zones: vec![text("Europe/Berlin")],
            opens_at: Some(noon(540)),
        },
        R::InFlightLimit {
            limit: 20,
            in_flight: 20,
            waiting: 80,
            until: Some(noon(5)),
        },
        R::RateLimit {
            per_minute: 10,
            waiting: 50,
            at: Some(noon(1)),
        },
        R::LabelLimit {
            tags: vec![text("rack")],
            waiting: 4,
            full: vec![LabelUse {
                key: text("rack"),
                value: text("7"),
                limit: 2,
                unavailable: 2,
                stuck: 0,
                holders: vec![text("pump-1"), text("pump-2")],
            }],
            until: Some(noon(5)),
        },
        R::RetryWait {
            devices: 3,
            at: Some(noon(2)),
        },
        R::DevicesOnTheirWay {
            batch: 1,
            batches: 3,
            open: 4,
            total: 10,
            until: Some(noon(5)),
        },
        R::BudgetSpent {
            detail: text("3 of 10 devices failed, 20 % may"),
        },
        R::RollingBackAll {
            left: 6,
            back: 3,
            failed: 1,
            why: some("orders are lost"),
            until: Some(noon(10)),
        },
        R::RollbacksWait {
            waiting: 12,
            limit: 500,
            on_their_way: 500,
        },
        R::FreezeOverridden {
            said: text("alice: a security fix"),
        },
    ];
    found.extend([
        R::Completed {
            healthy: 57,
            total: 60,
            skipped: 2,
        },
        R::Failed {
            detail: some("no device is left that could take it"),
        },
        R::Cancelled {
            by: some("alice"),
            why: some("the wrong version"),
        },
        R::Superseded {
            by: some("registry:5000/demo/app:v3"),
            detail: None,
        },
        R::RolledBack {
            back: 9,
            failed: 1,
            why: some("orders are lost"),
        },
    ]);
    found
}

const IMAGE: &str = "registry:5000/demo/app:v2";
const BEFORE: &str = "registry:5000/demo/app:v1";

fn skipped(reason: Option<SkipReason>) -> D {
    let other = match reason {
        Some(SkipReason::HigherPriority | SkipReason::TargetChanged) => {
            some("registry:5000/demo/app:v3")
        }
        _ => None,
    };
    D::Skipped {
        image: text(IMAGE),
        reason,
        other,
        detail: some("it could not be read"),
    }
}

fn devices() -> Vec<D> {
    let image = || text(IMAGE);
    let until = Some(noon(5));
    let policy = || text("shops");
    let target = |source| D::Target {
        version: 4,
        source,
        image: some(BEFORE),
    };
    let mut found = vec![
        D::Disabled,
        D::NeverSeen,
        D::Offline {
            seen: noon(-20),
            holds: true,
        },
        D::Seen { at: noon(0) },
        D::SetAside {
            why: text("5 rollouts failed on it that were healthy elsewhere"),
            until: noon(1440),
        },
        D::WasSetAside {
            why: text("5 rollouts failed on it that were healthy elsewhere"),
            until: noon(-60),
        },
        D::NoTarget,
        target(TargetSource::Operator),
        target(TargetSource::Rollout),
        target(TargetSource::Rollback),
        D::DigestFailedHere {
            digest: text("sha256:0123456789ab"),
            everywhere: false,
        },
        D::NoPolicies,
        D::PolicyDisabled { policy: policy() },
        D::PolicyOtherImage {
            policy: policy(),
            pattern: text("registry:5000/demo/*"),
            repository: text("registry:5000/lab/app"),
        },
        D::PolicyOtherTag {
            policy: policy(),
            tag: text("nightly"),
        },
        D::PolicyOtherFleet {
            policy: policy(),
            fleets: vec![text("north"), text("south")],
            fleet: text("lab"),
        },
        D::PolicyOtherDeviceTag {
            policy: policy(),
            key: text("ring"),
            value: text("stable"),
            has: some("beta"),
        },
        D::PolicyOtherDevice { policy: policy() },
        D::NothingPushed { policy: policy() },
    ];
    found.extend([
        D::Turn {
            image: image(),
            batch: 2,
            batches: 3,
        },
        D::WindowClosedHere {
            zone: text("Asia/Tokyo"),
            opens_at: Some(noon(540)),
        },
        D::LabelLimitHere {
            key: text("rack"),
            value: text("7"),
            limit: 2,
            unavailable: 4,
            stuck: 3,
            holders: vec![text("pump-1"), text("pump-2"), text("pump-3")],
        },
        D::RetryHere {
            image: image(),
            tried: 1,
            of: 3,
            what: some("the registry answered 503"),
            at: noon(2),
        },
        D::NotPolled {
            image: image(),
            until,
        },
        D::Updating {
            image: image(),
            until,
        },
        D::Pulling {
            image: image(),
            until,
        },
        D::Pulled {
            image: image(),
            until,
        },
        D::Verifying {
            image: image(),
            stable_until: until,
        },
        D::Restarting {
            image: image(),
            restarts: 2,
            stable_until: until,
        },
        D::CheckPending {
            name: text("front page"),
            tries: 3,
            said: some("status 502"),
            until: noon(5),
        },
        D::Completed { image: image() },
        D::Failed {
            image: image(),
            what: some("the new container is restarted again and again"),
        },
        D::FailedEnvironment {
            image: image(),
            tries: 3,
            what: some("the disk is full"),
        },
        D::RollbackWaits {
            limit: 500,
            on_their_way: 500,
            before: 12,
        },
        D::Unreachable { image: image() },
        D::SilentAfterUpdate { image: image() },
        D::Inconclusive {
            image: image(),
            what: some("the check \"front page\" gave no answer"),
        },
        D::RollingBack {
            from: image(),
            to: some(BEFORE),
            until,
        },
        D::RolledBack {
            from: image(),
            to: some(BEFORE),
            what: some("crash loop"),
        },
        D::RollbackFailed {
            from: image(),
            to: some(BEFORE),
            what: some("it did not run it in time"),
        },
    ]);
    found.extend(SkipReason::ALL.iter().map(|reason| skipped(Some(*reason))));
    found
}

fn images() -> Vec<I> {
    let why = || text("3 of 10 devices failed, 20 % may");
    vec![
        I::NeverPushed {
            image: text("registry:5000/demo/ap:v2"),
            nearest: some("registry:5000/demo/app"),
        },
        I::DeliveryIgnored {
            sender: text("distribution"),
            code: Some(ReasonCode::Untagged),
        },
        I::DeliveryDuplicate { times: 3 },
        I::DigestUnknown {
            image: text(IMAGE),
            tries: 2,
            error: some("the registry answered 401"),
            next_at: Some(noon(4)),
        },
        I::NotPlanned,
        I::Replaced {
            by: some("registry:5000/demo/app:v2"),
        },
        I::Quarantined {
            rollout: some(IMAGE),
            why: why(),
        },
        I::QuarantinedForClass {
            key: text("model"),
            value: text("mk1"),
            why: why(),
        },
        I::Downgrade { detail: None },
        I::TagMoved {
            tag: text("latest"),
        },
        I::BelowNewest {
            policy: some("shops"),
            detail: some("1.3.0 is newer, and the policy ships the newest"),
        },
        wait(
            WaitReason::TooYoung,
            "the policy ships what has been known for 86400 s",
            Some(noon(90)),
        ),
        wait(
            WaitReason::Held,
            "the policy \"shops\" is held by operator:alice: inventory week",
            Some(noon(90)),
        ),
        wait(WaitReason::Unsigned, "it has no signature", Some(noon(90))),
        wait(
            WaitReason::WrongSignature,
            "it has one signature, none by a key of the policy",
            Some(noon(90)),
        ),
        wait(
            WaitReason::SignatureUnknown,
            "its registry does not tell its signatures: no connection",
            Some(noon(1)),
        ),
        wait(
            WaitReason::PlatformsUnknown,
            "its registry is being asked",
            Some(noon(1)),
        ),
        wait(
            WaitReason::BuildDateUnknown,
            "its registry is being asked",
            Some(noon(1)),
        ),
        I::NeverSigned {
            policy: some("shops"),
            detail: some("it has no signature, and none came within 24 hours"),
        },
        I::NotAnImage,
        I::NoPolicyTookIt {
            now: some("shops"),
            detail: some("there are no policies"),
        },
        I::NoDevices {
            policy: some("shops"),
            detail: some("all devices in scope are left out: 4 already on image"),
        },
        I::RolloutMade {
            policy: some("shops"),
            image: text(IMAGE),
            devices: 60,
            healthy: 6,
            status: RolloutStatus::InProgress,
        },
    ]
}
