//! How a simulated device behaves.

use crate::failure::{Bad, Failure};
use std::net::Ipv4Addr;
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
    /// Between two reports that are sent though nothing has happened; none where only news is told.
    pub report: Option<Duration>,
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
            report: None,
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
    /// Its address in its own network, as it reports it.
    pub address: Option<Ipv4Addr>,
    /// A port at that address where it answers for its containers, over HTTP, as long as they run.
    pub health_port: Option<u16>,
    /// Its IANA time zone, as it reports it.
    pub time_zone: Option<String>,
}

/// An address that stands for any device's (RFC 5737).
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

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
            address: Some(ANYWHERE),
            health_port: None,
            time_zone: None,
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
            tries: None,
        });
        self
    }

    /// On which such images go wrong the first so many times that they are tried.
    #[must_use]
    pub fn bad_at_first(mut self, image: impl Into<String>, failure: Failure, tries: u32) -> Self {
        self.bad.push(Bad {
            image: image.into(),
            failure,
            tries: Some(tries),
        });
        self
    }

    /// That has this address; it answers there at this port, where one is given.
    #[must_use]
    pub const fn at(mut self, address: Option<Ipv4Addr>, health_port: Option<u16>) -> Self {
        self.address = address;
        self.health_port = health_port;
        self
    }

    /// In this time zone.
    #[must_use]
    pub fn in_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = Some(time_zone.into());
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

    /// What goes wrong with an image at this try of it, counted from 1.
    pub(crate) fn failure_of(&self, image: &str, tried: u32) -> Option<Failure> {
        self.bad
            .iter()
            .find(|bad| image.contains(&bad.image) && bad.tries.is_none_or(|tries| tried <= tries))
            .map(|bad| bad.failure)
    }
}
