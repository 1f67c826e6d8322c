//! The codes of reasons. docs/why.md is made from them.

use crate::text_enum::text_enum;

text_enum! {
    /// Why a device, a rollout or an image moved or did not: stable, for programs.
    WhyCode {
        // What a rollout waits for, in the order in which it is asked.
        /// Nothing holds the rollout; the planner takes the next step in a moment.
        NextStep = "next_step",
        /// A person paused the rollout.
        PausedByPerson = "paused_by_person",
        /// More devices failed than the policy allows.
        PausedFailureRate = "paused_failure_rate",
        /// Too many devices failed in a row.
        PausedConsecutiveFailures = "paused_consecutive_failures",
        /// Too many devices failed for reasons that are not the image's: registry, network, disk.
        PausedEnvironmentFailures = "paused_environment_failures",
        /// Too many devices went silent after they took up the image.
        PausedWentSilent = "paused_went_silent",
        /// A check of a batch failed.
        PausedCheckFailed = "paused_check_failed",
        /// A check, or a device, could not be judged, and that is no pass.
        PausedInconclusive = "paused_inconclusive",
        /// No device of the batch could be judged, so nothing is known of the image.
        PausedNoEvidence = "paused_no_evidence",
        /// The image went into quarantine.
        PausedQuarantined = "paused_quarantined",
        /// It paused because its policy wants a signature by now that the image does not have.
        PausedUnsigned = "paused_unsigned",
        /// The rollout is paused for another reason, which is given.
        PausedOther = "paused_other",
        /// A person ordered that every device goes back; that is about to begin.
        RollbackOrdered = "rollback_ordered",
        /// Somebody pressed the stop button: nothing is admitted anywhere.
        Stopped = "stopped",
        /// A freeze is in force: nothing is admitted anywhere.
        Frozen = "frozen",
        /// A person's approval is missing.
        Approval = "approval",
        /// The start time has not come.
        StartTime = "start_time",
        /// The delay between two batches is not over.
        Delay = "delay",
        /// The canary devices are watched through their soak.
        Soak = "soak",
        /// Two versions are held beside each other and compared.
        Hold = "hold",
        /// A check of the batch has not passed yet.
        GateCheck = "gate_check",
        /// No maintenance window is open.
        WindowClosed = "window_closed",
        /// As many devices as the policy allows are on their way.
        InFlightLimit = "in_flight_limit",
        /// As many devices as the policy allows were admitted in the last minute.
        RateLimit = "rate_limit",
        /// As many devices with the same tag as the policy allows are unavailable.
        LabelLimit = "label_limit",
        /// Devices that failed for reasons that are not the image's wait for another try.
        RetryWait = "retry_wait",
        /// The devices of the present batch are not all done.
        DevicesOnTheirWay = "devices_on_their_way",
        /// The failure budget is spent; the rollout is about to be paused.
        BudgetSpent = "budget_spent",
        /// The devices of the rollout are being put back.
        RollingBackAll = "rolling_back_all",
        /// Devices that are to go back wait for others to be back.
        RollbacksWait = "rollbacks_wait",
        /// A person let this rollout go on in spite of freezes.
        FreezeOverridden = "freeze_overridden",
        // How a rollout ended.
        /// Every batch is done.
        RolloutCompleted = "rollout_completed",
        /// The rollout ended without success.
        RolloutFailed = "rollout_failed",
        /// A person ended the rollout.
        RolloutCancelled = "rollout_cancelled",
        /// A newer version of the image took the rollout's place.
        RolloutSuperseded = "rollout_superseded",
        /// Every device of the rollout was put back.
        RolloutRolledBack = "rollout_rolled_back",

        // A device as such.
        /// The device is switched off by a person.
        Disabled = "disabled",
        /// The device has not been seen since it was registered.
        NeverSeen = "never_seen",
        /// The device is silent.
        Offline = "offline",
        /// The device polls and reports.
        Seen = "seen",
        /// The device failed good images again and again and is set aside for a time.
        SetAside = "set_aside",
        /// The device was set aside for a time, which is over.
        WasSetAside = "was_set_aside",
        /// The device is to run nothing: nobody gave it a target.
        NoTarget = "no_target",
        /// A person set what the device is to run.
        TargetByPerson = "target_by_person",
        /// A rollout set what the device is to run.
        TargetByRollout = "target_by_rollout",
        /// A rollback set what the device is to run.
        TargetByRollback = "target_by_rollback",
        /// An image failed on this device and is not shipped to it again.
        DigestFailedHere = "digest_failed_here",
        // A device that is in no rollout.
        /// There is no policy at all.
        NoPolicies = "no_policies",
        /// The policy that would take it is switched off.
        PolicyDisabled = "policy_disabled",
        /// No policy takes the repository; the nearest takes another.
        PolicyOtherImage = "policy_other_image",
        /// A policy takes the repository, but not the tag.
        PolicyOtherTag = "policy_other_tag",
        /// The policy is for other fleets.
        PolicyOtherFleet = "policy_other_fleet",
        /// The policy is for devices with other tags.
        PolicyOtherDeviceTag = "policy_other_device_tag",
        /// The policy names its devices, and this is none of them.
        PolicyOtherDevice = "policy_other_device",
        /// A policy names the device, and no newer image has come for it.
        NothingPushed = "nothing_pushed",
        // A device in a rollout, in the order of its way.
        /// The device's turn has not come.
        Turn = "turn",
        /// The maintenance window in the device's own time zone is closed.
        WindowClosedHere = "window_closed_here",
        /// As many devices that share this device's tag as the policy allows are unavailable.
        LabelLimitHere = "label_limit_here",
        /// The device failed for a reason that is not the image's and is tried again.
        RetryHere = "retry_here",
        /// The device was admitted and has not taken up its target.
        NotPolled = "not_polled",
        /// The device has taken up its target and works on it.
        Updating = "updating",
        /// The device pulls the image.
        Pulling = "pulling",
        /// The device has pulled the image and starts it.
        Pulled = "pulled",
        /// The image runs and must stay up through the stable window.
        Verifying = "verifying",
        /// The image runs, but was restarted, so that its stable window began anew.
        Restarting = "restarting",
        /// A check of the device has not passed yet.
        CheckPending = "check_pending",
        /// The device is healthy on the image.
        DeviceCompleted = "device_completed",
        /// The device failed on the image.
        DeviceFailed = "device_failed",
        /// The device failed for a reason that is not the image's, and its tries are used up.
        FailedEnvironment = "failed_environment",
        /// The device is to go back and waits for its turn.
        RollbackWaits = "rollback_waits",
        /// The device has been silent since it was admitted.
        Unreachable = "unreachable",
        /// The device went silent after it took up the image.
        SilentAfterUpdate = "silent_after_update",
        /// The time of the device is over, and its checks said neither yes nor no.
        Inconclusive = "inconclusive",
        /// The device is being put back.
        RollingBack = "rolling_back",
        /// The device was put back.
        RolledBack = "rolled_back",
        /// The device did not get back.
        RollbackFailed = "rollback_failed",
        // Left out of a rollout.
        /// Left out: the device was switched off.
        SkippedDisabled = "skipped_disabled",
        /// Left out: this very image failed on the device before.
        FailedHereBefore = "failed_here_before",
        /// Left out: the device is to run this very image already.
        AlreadyThere = "already_there",
        /// Left out: its target was changed meanwhile.
        TargetChanged = "target_changed",
        /// Left out: the rollout ended before the device's turn.
        RolloutEnded = "rollout_ended",
        /// Left out: the device is no longer among those the rollout is for.
        OutOfScope = "out_of_scope",
        /// Left out: the device was deleted.
        Deleted = "deleted",
        /// Left out: the image is older than the one the device is to run.
        Downgrade = "downgrade",
        /// Left out: the device was set aside for a time.
        SkippedSetAside = "skipped_set_aside",
        /// Left out: another rollout of the same image with a higher priority has the device.
        HigherPriority = "higher_priority",
        /// Left out: the image is in quarantine for devices like this one.
        QuarantinedClass = "quarantined_class",
        /// Left out: the image is not made for the device's platform.
        OtherPlatform = "other_platform",
        /// Left out for another reason, which is given.
        SkippedOther = "skipped_other",

        // An image that was pushed, or not.
        /// No delivery told of the image.
        NeverPushed = "never_pushed",
        /// The last delivery about it was no image push.
        DeliveryIgnored = "delivery_ignored",
        /// The push was told of more than once; it counts once.
        DeliveryDuplicate = "delivery_duplicate",
        /// The registry has not said which digest the tag names.
        DigestUnknown = "digest_unknown",
        /// The planner decides about the push in a moment.
        NotPlanned = "not_planned",
        /// A newer version of the tag came.
        Replaced = "replaced",
        /// The image is in quarantine.
        ImageQuarantined = "image_quarantined",
        /// The image is in quarantine for some devices.
        ImageQuarantinedForClass = "image_quarantined_for_class",
        /// The image is older than what the devices are to run.
        ImageDowngrade = "image_downgrade",
        /// The tag named another image before: this one is a version of its own.
        TagMoved = "tag_moved",
        /// The policy ships the newest version it takes, and a newer one is there.
        BelowNewest = "below_newest",
        /// It has not been known for as long as the policy wants.
        TooYoung = "too_young",
        /// The policy or the repository is held.
        Held = "held",
        /// It has no signature yet, and the policy wants one.
        Unsigned = "unsigned",
        /// It has signatures, of which none counts.
        WrongSignature = "wrong_signature",
        /// The registry has not told its signatures, so that nothing ships.
        SignatureUnknown = "signature_unknown",
        /// No signature that counts has come in all the time it was waited for.
        NeverSigned = "never_signed",
        /// The registry has not said which platforms it is made for.
        PlatformsUnknown = "platforms_unknown",
        /// The registry has not said when it was built.
        BuildDateUnknown = "build_date_unknown",
        /// What was pushed is no image.
        NotAnImage = "not_an_image",
        /// No policy took the push.
        NoPolicyTookIt = "no_policy_took_it",
        /// No device in the policy's scope can take the image.
        NoDevices = "no_devices",
        /// The push led to a rollout.
        RolloutMade = "rollout_made",
    }
}
