//! What goes wrong in a store.

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached or has no connection to spare.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// A row with this key is there already, or a referenced one is missing, or a rule of the schema
    /// would be broken.
    #[error("the change breaks a rule of the schema ({0})")]
    Constraint(ConstraintKind, #[source] sqlx::Error),
    /// Another transaction got in the way; the whole transaction may be tried again.
    #[error("another transaction got in the way")]
    Conflict(#[source] sqlx::Error),
    /// The address names no database that is supported.
    #[error(
        "{0:?} names no database; expected postgres://user@host/name or sqlite:PATH (the password is better given in a file)"
    )]
    Url(String),
    /// The database was written by a newer program.
    #[error(
        "the database has migration {found}, but this program knows only up to {known}; start the newer program, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The newest migration in the database.
        found: i64,
        /// The newest one this program knows.
        known: i64,
    },
    /// A migration failed or was changed after it ran.
    #[error("the database could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A value could not be encoded for the database.
    #[error("a value could not be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row holds what it cannot hold.
    #[error("column {column} holds {value:?}, which this program does not know")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Anything else the database says.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

/// Which rule of the schema would be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A unique key.
    Unique,
    /// A reference to a row that is not there.
    Reference,
    /// A CHECK or NOT NULL.
    Check,
}

impl std::fmt::Display for ConstraintKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unique => "unique",
            Self::Reference => "reference",
            Self::Check => "check",
        })
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(db) => {
                let kind = match db.kind() {
                    ErrorKind::UniqueViolation => Some(ConstraintKind::Unique),
                    ErrorKind::ForeignKeyViolation => Some(ConstraintKind::Reference),
                    ErrorKind::CheckViolation | ErrorKind::NotNullViolation => {
                        Some(ConstraintKind::Check)
                    }
                    _ => None,
                };
                // 40001, 40P01: serialization failure, deadlock; 57P0x, 53300, 08xxx: shutting
                // down, too many connections, connection lost; 57014, 55P03: a statement or a lock
                // took longer than it may; 5, 6: SQLite busy, locked.
                let code = db.code();
                let code = code.as_deref().unwrap_or("");
                match kind {
                    Some(kind) => Self::Constraint(kind, error),
                    None if matches!(code, "40001" | "40P01" | "5" | "6" | "517") => {
                        Self::Conflict(error)
                    }
                    None if code.starts_with("57P")
                        || code.starts_with("08")
                        || matches!(code, "53300" | "57014" | "55P03") =>
                    {
                        Self::Unavailable(error)
                    }
                    None => Self::Database(error),
                }
            }
            _ => Self::Database(error),
        }
    }
}

impl Error {
    /// Whether a unique key was there already.
    #[must_use]
    pub const fn is_unique(&self) -> bool {
        matches!(self, Self::Constraint(ConstraintKind::Unique, _))
    }

    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

/// Reads a stored text as one of our enums or ids.
///
/// # Errors
/// [`Error::Corrupt`] where the column holds something else.
pub(crate) fn parse<T: std::str::FromStr>(column: &'static str, text: &str) -> Result<T> {
    text.parse().ok().ok_or_else(|| Error::Corrupt {
        column,
        value: text.to_owned(),
    })
}
