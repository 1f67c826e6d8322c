//! What a registry says instead of a digest.

use oci_client::errors::OciDistributionError;
use std::time::Duration;

/// Why a tag's digest could not be learned.
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
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
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
            Self::Unreachable { .. } => "unreachable",
            Self::Other { .. } | Self::Setup(_) => "other",
        }
    }

    /// What getting a token failed with.
    pub(crate) fn of_token(image: &str, error: &OciDistributionError) -> Self {
        let image = image.to_owned();
        match error {
            OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::UnauthorizedError { .. } => Self::Unauthorized { image },
            OciDistributionError::RequestError(error) => Self::of_request(&image, error),
            other => Self::Other {
                image,
                reason: other.to_string(),
            },
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
