//! What can go wrong with an image on a simulated device.

/// What goes wrong on a device with a bad image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The container starts, ends and is started again, for ever.
    CrashLoop,
    /// The pull fails and the old container is gone by then: nothing runs.
    RemovesContainer,
    /// The container does not start. Our agent says so; an existing one shows it as exited.
    ReportsError,
    /// The update ends with an error of this class, which our agent tells.
    Error(ErrorClass),
    /// The container runs and its probes do not pass.
    Probes(Probe),
    /// The device takes the image up, says so once, and is silent from then on, until it is resumed.
    GoesSilent,
    /// The container runs, and is replaced by a new one again and again.
    Flaps,
    /// Nothing, but so many times slower.
    Slow(u32),
}

/// The classes of errors that our agent tells (device protocol, `error.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The registry does not answer, or has it not now.
    Registry,
    /// The registry refuses the device.
    Auth,
    /// There is no way to the registry.
    Network,
    /// There is no room.
    Disk,
    /// The pull failed for another reason.
    Pull,
    /// The container does not start.
    Start,
    /// The container ends again and again.
    CrashLoop,
    /// The container runs, and its probes fail.
    Health,
}

/// What the probes of a bad image say, to the device and at its health port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// They fail; the port answers 503.
    Fails,
    /// They are never done; the port takes connections and says nothing.
    Hangs,
    /// They fail; nothing listens at the port.
    Refuses,
}

/// An image that is bad on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// A part of the image reference: a digest, `:v3@`, or a whole reference.
    pub image: String,
    /// What happens.
    pub failure: Failure,
    /// Only the first so many tries go wrong; all where it is not given.
    pub tries: Option<u32>,
}

impl Failure {
    /// The error of a pull that this makes fail.
    pub(crate) const fn of_pull(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::RemovesContainer => Some(("pull", "manifest unknown")),
            Self::Error(class) => match class {
                ErrorClass::Registry => Some(("registry", "503 Service Unavailable")),
                ErrorClass::Auth => Some(("auth", "401 Unauthorized")),
                ErrorClass::Network => Some(("network", "no route to host")),
                ErrorClass::Disk => Some(("disk", "no space left on device")),
                ErrorClass::Pull => Some(("pull", "manifest unknown")),
                ErrorClass::Start | ErrorClass::CrashLoop | ErrorClass::Health => None,
            },
            Self::CrashLoop
            | Self::ReportsError
            | Self::Probes(_)
            | Self::GoesSilent
            | Self::Flaps
            | Self::Slow(_) => None,
        }
    }

    /// Whether the container does not come up.
    pub(crate) const fn of_start(self) -> bool {
        matches!(self, Self::ReportsError | Self::Error(ErrorClass::Start))
    }

    /// Whether the container ends again and again.
    pub(crate) const fn loops(self) -> bool {
        matches!(self, Self::CrashLoop | Self::Error(ErrorClass::CrashLoop))
    }

    /// What its probes say, where they do not pass.
    pub(crate) const fn probe(self) -> Option<Probe> {
        match self {
            Self::Probes(probe) => Some(probe),
            Self::Error(ErrorClass::Health) => Some(Probe::Fails),
            _ => None,
        }
    }
}
