//! Exit codes, and what is said with them.

use windlass_client::Error;
use windlass_service::StartError;
use windlass_service::problem::chain;

/// How a command ends when it does not end well. `--help` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed,
    Usage,
    NotFound,
    Refused,
    Unreachable,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Empty where everything was said already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn tell(&self) {
        if !self.message.is_empty() {
            eprintln!("windlass: {}", self.message);
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match (&error, error.status()) {
            (Error::Address(_), _) => Exit::Usage,
            (Error::Transport(_) | Error::Broken, _) | (_, Some(502..=504)) => Exit::Unreachable,
            (_, Some(404)) => Exit::NotFound,
            (_, Some(400..=499)) => Exit::Refused,
            _ => Exit::Failed,
        };
        let mut message = chain(&error);
        if let Some(problem) = error.problem() {
            for field in &problem.errors {
                message.push_str(&format!("\n  {}: {}", field.field, field.message));
            }
        }
        if error.status() == Some(401) {
            message.push_str("; give an operator's key with --api-key or WINDLASS_API_KEY");
        }
        Self::new(exit, message)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Config(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, chain(&error))
    }
}

impl From<windlass_agent::cli::Failure> for Failure {
    fn from(failure: windlass_agent::cli::Failure) -> Self {
        let exit = match failure.code() {
            2 => Exit::Usage,
            3 => Exit::NotFound,
            4 => Exit::Refused,
            5 => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, failure.told())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // The reader went away, such as `head`: nothing to complain of.
        let message = if error.kind() == std::io::ErrorKind::BrokenPipe {
            String::new()
        } else {
            format!("the output cannot be written: {error}")
        };
        Self::failed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_server_become_exit_codes() {
        let of = |status| {
            Failure::from(Error::Unexpected {
                status,
                body: String::new(),
            })
            .exit
            .code()
        };
        let codes = [401, 403, 404, 409, 412, 422, 429, 500, 502, 503].map(of);
        assert_eq!(codes, [4, 4, 3, 4, 4, 4, 4, 1, 5, 5]);
        assert_eq!(Failure::from(Error::Broken).exit.code(), 5);
        assert_eq!(Failure::from(Error::Address("x".to_owned())).exit.code(), 2);
    }
}
