//! What a registry says instead of an answer.

use std::time::Duration;
use windlass_types::image::Digest;

/// Why a registry's answer could not be had. `image` is what was asked for, as people write it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not know the repository or the tag.
    #[error("{image} is not in the registry")]
    NotFound {
        /// What was asked for.
        image: String,
    },
    /// The registry wants credentials, or other ones.
    #[error(
        "the registry refuses to tell about {image}; set registry.users and registry.passwords for its host"
    )]
    Unauthorized {
        /// What was asked for.
        image: String,
    },
    /// Asked too often.
    #[error("the registry wants fewer requests for {image}")]
    RateLimited {
        /// What was asked for.
        image: String,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// Nothing was asked: the registry's budget is used up for now.
    #[error("the registry of {image} is left alone for now: {reason}")]
    Held {
        /// What was to be asked for.
        image: String,
        /// Why.
        reason: String,
        /// For how long.
        retry_after: Duration,
    },
    /// No answer, or only that something is broken.
    #[error("the registry of {image} does not answer: {reason}")]
    Unreachable {
        /// What was asked for.
        image: String,
        /// What happened instead of an answer.
        reason: String,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// A list that broke off: what came of it says nothing about what is missing.
    #[error("the list of {image} is not whole: {reason}")]
    Incomplete {
        /// What was asked for.
        image: String,
        /// Where it broke off.
        reason: String,
    },
    /// The content is not what its digest says.
    #[error("what the registry sent as {image} has the digest {got}")]
    Mismatch {
        /// What was asked for.
        image: String,
        /// The digest of what came.
        got: Digest,
    },
    /// The credentials of its host cannot be read.
    #[error("no credentials for {image}: {reason}")]
    Credentials {
        /// What was asked for.
        image: String,
        /// Why not.
        reason: String,
    },
    /// An answer that is none.
    #[error("the registry's answer about {image} cannot be used: {reason}")]
    Other {
        /// What was asked for.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be made.
    #[error("no registry can be asked: {0}")]
    Setup(String),
}

impl Error {
    /// How long the registry wants to be left alone, where it says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unreachable { retry_after, .. } => {
                *retry_after
            }
            Self::Held { retry_after, .. } => Some(*retry_after),
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Incomplete { .. }
            | Self::Mismatch { .. }
            | Self::Credentials { .. }
            | Self::Other { .. }
            | Self::Setup(_) => None,
        }
    }

    /// What kind it is, as a metric's label.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Unauthorized { .. } => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::Held { .. } => "held",
            Self::Unreachable { .. } => "unreachable",
            Self::Incomplete { .. } => "incomplete",
            Self::Mismatch { .. } => "mismatch",
            Self::Credentials { .. } => "credentials",
            Self::Other { .. } | Self::Setup(_) => "other",
        }
    }

    /// The same about what was asked for in its place: a token is got for an image.
    pub(crate) fn about(mut self, asked: &str) -> Self {
        match &mut self {
            Self::NotFound { image }
            | Self::Unauthorized { image }
            | Self::RateLimited { image, .. }
            | Self::Held { image, .. }
            | Self::Unreachable { image, .. }
            | Self::Incomplete { image, .. }
            | Self::Mismatch { image, .. }
            | Self::Credentials { image, .. }
            | Self::Other { image, .. } => asked.clone_into(image),
            Self::Setup(_) => {}
        }
        self
    }

    /// An answer that is none.
    pub(crate) fn other(image: &str, reason: impl std::fmt::Display) -> Self {
        Self::Other {
            image: image.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What a request failed with before there was an answer.
    pub(crate) fn of_request(image: &str, error: &reqwest::Error) -> Self {
        Self::Unreachable {
            image: image.to_owned(),
            reason: chain(error),
            retry_after: None,
        }
    }
}

/// An error and its causes without addresses: a token's address may carry what is nobody's business.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "time is up".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
