//! Why settings cannot be used.

use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. Only the place is told: the parser's own words quote the line, and there
    /// may be a secret on it.
    #[error("{path} is not valid TOML at line {line}, column {column}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where the parser does not know.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
    },
    /// A setting that does not exist.
    #[error("there is no setting {name}{}", .nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown {
        /// As it was written.
        name: String,
        /// The one it is most like.
        nearest: Option<String>,
    },
    /// A value of the wrong kind; the value itself is not told, since it may be a secret.
    #[error("{name} does not fit: expected {expected}")]
    Value {
        /// The setting.
        name: String,
        /// What would fit.
        expected: String,
    },
    /// A variable that is not JSON where JSON is needed.
    #[error("{name} is not valid JSON at line {line}, column {column}")]
    Json {
        /// The variable.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Contradiction(String),
}
