//! What goes wrong on the way to state-api and back.

use windlass_types::problem::ProblemBody;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{0:?} is no address of state-api; expected http://host:port")]
    Address(String),
    /// No answer came.
    #[error("state-api does not answer")]
    Transport(#[source] reqwest::Error),
    /// The server said no, and why.
    #[error("{} ({})", .problem.detail.as_deref().unwrap_or(&.problem.title), .problem.status)]
    Problem {
        /// What it said.
        problem: Box<ProblemBody>,
        /// How long to wait before the next try, in seconds, where it said that.
        retry_after: Option<u64>,
    },
    /// An answer that is neither what was asked for nor a problem: something else listens there.
    #[error("the answer has status {status} and is not what state-api sends: {body}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The stream of events broke off.
    #[error("the stream of events broke off")]
    Broken,
    /// A request could not be written.
    #[error("the request cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl Error {
    /// What the server said, where it said something.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemBody> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            Self::Address(_)
            | Self::Transport(_)
            | Self::Unexpected { .. }
            | Self::Broken
            | Self::Encode(_) => None,
        }
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { problem, .. } => Some(problem.status),
            Self::Unexpected { status, .. } => Some(*status),
            Self::Address(_) | Self::Transport(_) | Self::Broken | Self::Encode(_) => None,
        }
    }

    /// Whether the same call may succeed a moment later: no answer, too many requests, or the
    /// server's store was away.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::Broken)
            || matches!(self.status(), Some(429 | 500 | 502 | 503 | 504))
    }
}
