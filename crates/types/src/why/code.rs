//! The codes of reasons.

use crate::text_enum::text_enum;

/// Declares the codes once: their text, and what they mean, which is also what docs/why.md says.
macro_rules! codes {
    ($($variant:ident = $text:literal, $meaning:literal;)+) => {
        text_enum! {
            /// Why a device, a rollout or an image moved or did not: stable, for programs.
            WhyCode {
                $(#[doc = $meaning] $variant = $text,)+
            }
        }
    };
}

codes! {
    // What a rollout waits for, in the order in which it is asked.
    NextStep = "next_step", "Nothing holds the rollout; the planner takes the next step in a moment.";
    PausedByPerson = "paused_by_person", "A person paused the rollout.";
    PausedFailureRate = "paused_failure_rate", "More devices failed than the policy allows.";
    PausedConsecutiveFailures = "paused_consecutive_failures", "Too many devices failed in a row.";
    PausedEnvironmentFailures = "paused_environment_failures", "Too many devices failed for reasons that are not the image's: registry, network, disk.";
    PausedWentSilent = "paused_went_silent", "Too many devices went silent after they took up the image.";
    PausedCheckFailed = "paused_check_failed", "A check of a batch failed.";
    PausedInconclusive = "paused_inconclusive", "A check, or a device, could not be judged, and that is no pass.";
    PausedNoEvidence = "paused_no_evidence", "No device of the batch could be judged, so nothing is known of the image.";
    PausedQuarantined = "paused_quarantined", "The image went into quarantine.";
    PausedOther = "paused_other", "The rollout is paused for another reason, which is given.";
    RollbackOrdered = "rollback_ordered", "A person ordered that every device goes back; that is about to begin.";
    Stopped = "stopped", "Somebody pressed the stop button: nothing is admitted anywhere.";
    Frozen = "frozen", "A freeze is in force: nothing is admitted anywhere.";
    Approval = "approval", "A person's approval is missing.";
    StartTime = "start_time", "The start time has not come.";
    Delay = "delay", "The delay between two batches is not over.";
    Soak = "soak", "The canary devices are watched through their soak.";
    Hold = "hold", "Two versions are held beside each other and compared.";
    GateCheck = "gate_check", "A check of the batch has not passed yet.";
    WindowClosed = "window_closed", "No maintenance window is open.";
    InFlightLimit = "in_flight_limit", "As many devices as the policy allows are on their way.";
    RateLimit = "rate_limit", "As many devices as the policy allows were admitted in the last minute.";
    LabelLimit = "label_limit", "As many devices with the same tag as the policy allows are unavailable.";
    RetryWait = "retry_wait", "Devices that failed for reasons that are not the image's wait for another try.";
    DevicesOnTheirWay = "devices_on_their_way", "The devices of the present batch are not all done.";
    BudgetSpent = "budget_spent", "The failure budget is spent; the rollout is about to be paused.";
    RollingBackAll = "rolling_back_all", "The devices of the rollout are being put back.";
    FreezeOverridden = "freeze_overridden", "A person let this rollout go on in spite of freezes.";
    // How a rollout ended.
    RolloutCompleted = "rollout_completed", "Every batch is done.";
    RolloutFailed = "rollout_failed", "The rollout ended without success.";
    RolloutCancelled = "rollout_cancelled", "A person ended the rollout.";
    RolloutSuperseded = "rollout_superseded", "A newer version of the image took the rollout's place.";
    RolloutRolledBack = "rollout_rolled_back", "Every device of the rollout was put back.";

    // A device as such.
    Disabled = "disabled", "The device is switched off by a person.";
    NeverSeen = "never_seen", "The device has not been seen since it was registered.";
    Offline = "offline", "The device is silent.";
    Seen = "seen", "The device polls and reports.";
    SetAside = "set_aside", "The device failed good images again and again and is set aside for a time.";
    NoTarget = "no_target", "The device is to run nothing: nobody gave it a target.";
    TargetByPerson = "target_by_person", "A person set what the device is to run.";
    TargetByRollout = "target_by_rollout", "A rollout set what the device is to run.";
    TargetByRollback = "target_by_rollback", "A rollback set what the device is to run.";
    DigestFailedHere = "digest_failed_here", "An image failed on this device and is not shipped to it again.";
    // A device that is in no rollout.
    NoPolicies = "no_policies", "There is no policy at all.";
    PolicyDisabled = "policy_disabled", "The policy that would take it is switched off.";
    PolicyOtherImage = "policy_other_image", "No policy takes the repository; the nearest takes another.";
    PolicyOtherTag = "policy_other_tag", "A policy takes the repository, but not the tag.";
    PolicyOtherFleet = "policy_other_fleet", "The policy is for other fleets.";
    PolicyOtherDeviceTag = "policy_other_device_tag", "The policy is for devices with other tags.";
    PolicyOtherDevice = "policy_other_device", "The policy names its devices, and this is none of them.";
    NothingPushed = "nothing_pushed", "A policy names the device, and no newer image has come for it.";
    // A device in a rollout, in the order of its way.
    Turn = "turn", "The device's turn has not come.";
    WindowClosedHere = "window_closed_here", "The maintenance window in the device's own time zone is closed.";
    LabelLimitHere = "label_limit_here", "As many devices that share this device's tag as the policy allows are unavailable.";
    RetryHere = "retry_here", "The device failed for a reason that is not the image's and is tried again.";
    NotPolled = "not_polled", "The device was admitted and has not taken up its target.";
    Updating = "updating", "The device has taken up its target and works on it.";
    Pulling = "pulling", "The device pulls the image.";
    Pulled = "pulled", "The device has pulled the image and starts it.";
    Verifying = "verifying", "The image runs and must stay up through the stable window.";
    Restarting = "restarting", "The image runs, but was restarted, so that its stable window began anew.";
    CheckPending = "check_pending", "A check of the device has not passed yet.";
    DeviceCompleted = "device_completed", "The device is healthy on the image.";
    DeviceFailed = "device_failed", "The device failed on the image.";
    FailedEnvironment = "failed_environment", "The device failed for a reason that is not the image's, and its tries are used up.";
    RollbackWaits = "rollback_waits", "The failed device waits until it may go back.";
    Unreachable = "unreachable", "The device has been silent since it was admitted.";
    SilentAfterUpdate = "silent_after_update", "The device went silent after it took up the image.";
    Inconclusive = "inconclusive", "The time of the device is over, and its checks said neither yes nor no.";
    RollingBack = "rolling_back", "The device is being put back.";
    RolledBack = "rolled_back", "The device was put back.";
    RollbackFailed = "rollback_failed", "The device did not get back.";
    // Left out of a rollout.
    SkippedDisabled = "skipped_disabled", "Left out: the device was switched off.";
    FailedHereBefore = "failed_here_before", "Left out: this very image failed on the device before.";
    AlreadyThere = "already_there", "Left out: the device is to run this very image already.";
    TargetChanged = "target_changed", "Left out: its target was changed meanwhile.";
    RolloutEnded = "rollout_ended", "Left out: the rollout ended before the device's turn.";
    OutOfScope = "out_of_scope", "Left out: the device is no longer among those the rollout is for.";
    Deleted = "deleted", "Left out: the device was deleted.";
    Downgrade = "downgrade", "Left out: the image is older than the one the device is to run.";
    SkippedSetAside = "skipped_set_aside", "Left out: the device was set aside for a time.";
    HigherPriority = "higher_priority", "Left out: another rollout of the same image with a higher priority has the device.";
    QuarantinedClass = "quarantined_class", "Left out: the image is in quarantine for devices like this one.";
    SkippedOther = "skipped_other", "Left out for another reason, which is given.";

    // An image that was pushed, or not.
    NeverPushed = "never_pushed", "No delivery told of the image.";
    DeliveryIgnored = "delivery_ignored", "The last delivery about it was no image push.";
    DeliveryDuplicate = "delivery_duplicate", "The push was told of more than once; it counts once.";
    DigestUnknown = "digest_unknown", "The registry has not said which digest the tag names.";
    NotPlanned = "not_planned", "The planner decides about the push in a moment.";
    Replaced = "replaced", "A newer version of the tag came.";
    ImageQuarantined = "image_quarantined", "The image is in quarantine.";
    ImageQuarantinedForClass = "image_quarantined_for_class", "The image is in quarantine for some devices.";
    ImageDowngrade = "image_downgrade", "The image is older than what the devices are to run.";
    NoPolicyTookIt = "no_policy_took_it", "No policy took the push.";
    NoDevices = "no_devices", "No device in the policy's scope can take the image.";
    RolloutMade = "rollout_made", "The push led to a rollout.";
}
