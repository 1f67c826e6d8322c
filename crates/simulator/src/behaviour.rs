//! How a simulated device behaves.

use std::time::Duration;

/// Which agent a device seems to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The agents in the field: polls by the clock, reports without the optional fields, says
    /// nothing of probes or errors.
    Existing,
    /// Our own: long polls, report ids, phases, errors and health.
    Ours,
}

/// What goes wrong on a device with a bad image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The container starts, ends and is started again, for ever.
    CrashLoop,
    /// The pull fails and the old container is gone by then: nothing runs.
    RemovesContainer,
    /// The container does not start. Our agent says so; an existing one shows it as exited.
    ReportsError,
}

/// An image that is bad on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// A part of the image reference: a digest, `:v3@`, or a whole reference.
    pub image: String,
    /// What happens.
    pub failure: Failure,
}

/// A time in which a device neither polls nor reports; its containers go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offline {
    /// From so long after the device was provisioned.
    pub after: Duration,
    /// For so long.
    pub lasts: Duration,
}

/// How long things take. Each wait is drawn between half and one and a half of what is given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two polls; our style holds long polls instead and waits this long only after errors.
    pub poll: Duration,
    /// How long our style asks the server to hold a poll, in whole seconds.
    pub wait: Duration,
    /// To pull an image.
    pub pull: Duration,
    /// From a pulled image to a running container.
    pub start: Duration,
    /// Between the steps of a crash loop.
    pub crash: Duration,
}

impl Default for Pace {
    /// Quick, for tests and the demo.
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            wait: Duration::from_secs(2),
            pull: Duration::from_millis(400),
            start: Duration::from_millis(200),
            crash: Duration::from_millis(150),
        }
    }
}

impl Pace {
    /// A device so many times slower at pulling and starting.
    #[must_use]
    pub fn slower(mut self, times: u32) -> Self {
        self.pull *= times;
        self.start *= times;
        self
    }
}

/// How a device behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The agent it seems to run.
    pub style: Style,
    /// How long things take.
    pub pace: Pace,
    /// Images that are bad here.
    pub bad: Vec<Bad>,
    /// When it is away.
    pub offline: Option<Offline>,
    /// Sends the report before again after each fresh one: history, as existing agents do after a
    /// bad connection. Our style repeats it unchanged, as a retry does.
    pub replays: bool,
}

impl Behaviour {
    /// A healthy device.
    #[must_use]
    pub fn healthy(style: Style) -> Self {
        Self {
            style,
            pace: Pace::default(),
            bad: Vec::new(),
            offline: None,
            replays: false,
        }
    }

    /// With another pace.
    #[must_use]
    pub const fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// On which images with this part in their reference go wrong.
    #[must_use]
    pub fn bad_on(mut self, image: impl Into<String>, failure: Failure) -> Self {
        self.bad.push(Bad {
            image: image.into(),
            failure,
        });
        self
    }

    /// That is away for a while.
    #[must_use]
    pub const fn offline(mut self, after: Duration, lasts: Duration) -> Self {
        self.offline = Some(Offline { after, lasts });
        self
    }

    /// That replays old reports.
    #[must_use]
    pub const fn replaying(mut self) -> Self {
        self.replays = true;
        self
    }

    pub(crate) fn failure_of(&self, image: &str) -> Option<Failure> {
        self.bad
            .iter()
            .find(|bad| image.contains(&bad.image))
            .map(|bad| bad.failure)
    }
}
