//! What an engine says instead of doing what it was asked for.

use bollard::errors::Error as ClientError;
use std::time::Duration;
use windlass_reconcile::memory::FailureClass;

/// Why an engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or went away in the middle: whether it did it is unknown.
    #[error("the container engine is away ({action}): {reason}")]
    Away {
        /// What it was asked for.
        action: &'static str,
        /// What happened instead of an answer.
        reason: String,
    },
    /// It did not answer in time: whether it did it is unknown.
    #[error("the container engine has not answered within {} s ({action})", limit.as_secs())]
    Late {
        /// What it was asked for.
        action: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// What it was asked about is not there.
    #[error("{action}: {message}")]
    Missing {
        /// What it was asked for.
        action: &'static str,
        /// The engine's words.
        message: String,
    },
    /// It cannot be done as things are: a name that is taken, a container that runs, one that is
    /// being removed.
    #[error("{action}: {message}")]
    Conflict {
        /// What it was asked for.
        action: &'static str,
        /// The engine's words.
        message: String,
    },
    /// It refused.
    #[error("{action}: {message}")]
    Refused {
        /// What it was asked for.
        action: &'static str,
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// Its answer cannot be read.
    #[error("{action}: the container engine's answer cannot be read: {reason}")]
    Unreadable {
        /// What it was asked for.
        action: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An image could not be pulled.
    #[error("{message}")]
    Pull {
        /// Whose fault it is: registry, auth, disk or pull.
        class: FailureClass,
        /// For people.
        message: String,
    },
}

impl Error {
    /// Whether nothing can be said of the engine: callers ask again later.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Late { .. })
    }

    /// Whether the engine says that it is not there.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether the engine ran out of space.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Missing { message, .. }
            | Self::Conflict { message, .. }
            | Self::Refused { message, .. }
            | Self::Pull { message, .. } => is_out_of_space(message),
            Self::Away { .. } | Self::Late { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// What the client's error means.
    pub(crate) fn of(action: &'static str, error: &ClientError) -> Self {
        match error {
            ClientError::DockerResponseServerError {
                status_code,
                message,
            } => Self::of_status(action, *status_code, message.trim()),
            ClientError::JsonDataError { .. }
            | ClientError::JsonSerdeError { .. }
            | ClientError::StrParseError { .. }
            | ClientError::APIVersionParseError {} => Self::Unreadable {
                action,
                reason: chain(error),
            },
            // A stream that tells of an error in its middle; the engine is there.
            ClientError::DockerStreamError { error } => Self::Refused {
                action,
                status: 500,
                message: error.trim().to_owned(),
            },
            // Sockets, HTTP, time: no answer.
            other => Self::Away {
                action,
                reason: chain(other),
            },
        }
    }

    fn of_status(action: &'static str, status: u16, message: &str) -> Self {
        let message = message.to_owned();
        match status {
            404 => Self::Missing { action, message },
            // Podman's word for one that goes while it is asked about.
            500 if message.contains("no such container") => Self::Missing { action, message },
            409 => Self::Conflict { action, message },
            // An engine that was replaced under us by an older or newer one: asked again, another
            // version is agreed upon.
            400 if message.contains("client version") => Self::Away {
                action,
                reason: message,
            },
            // A proxy in front of it has nobody behind.
            502..=504 => Self::Away {
                action,
                reason: message,
            },
            status => Self::Refused {
                action,
                status,
                message,
            },
        }
    }
}

/// Whether a text tells of a full disk.
#[must_use]
pub fn is_out_of_space(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "no space left on device",
        "not enough space",
        "quota exceeded",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// An error and its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, message: &str) -> Error {
        Error::of(
            "start",
            &ClientError::DockerResponseServerError {
                status_code: status,
                message: message.to_owned(),
            },
        )
    }

    #[test]
    fn a_status_means_what_the_api_says_it_means() {
        assert!(of(404, "No such container: x").is_missing());
        assert!(matches!(
            of(409, "removal of container x is already in progress"),
            Error::Conflict { .. }
        ));
        assert!(matches!(
            of(500, "port is already allocated"),
            Error::Refused { status: 500, .. }
        ));
        assert!(
            of(
                500,
                "container x does not exist in database: no such container"
            )
            .is_missing()
        );
        assert!(of(503, "").is_away());
        assert!(
            of(
                400,
                "client version 1.53 is too new. Maximum supported API version is 1.41"
            )
            .is_away()
        );
        assert!(!of(400, "invalid mount config").is_away());
    }

    #[test]
    fn a_full_disk_is_told_from_other_refusals() {
        assert!(of(500, "write /var/lib/x: no space left on device").is_out_of_space());
        assert!(!of(500, "driver failed").is_out_of_space());
    }
}
