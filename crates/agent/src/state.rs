//! The state directory: what the agent must not forget, in files that are whole or the one before.

mod file;
mod lock;

pub use file::{Kept, StateError, read, remove, write, write_loosely};
pub use lock::{LockError, StateLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Who the device is. Never removed, never made anew beside other state.
pub const IDENTITY: &str = "identity.json";
/// That the server knows the device.
pub const REGISTERED: &str = "registered.json";
/// The target that was taken last.
pub const TARGET: &str = "target.json";
/// What is remembered of the services.
pub const MEMORY: &str = "memory.json";
/// Containers that a person gave to services; written by `windlass agent adopt`.
pub const CLAIMS: &str = "claims.json";
/// Containers that were taken in watch mode, and what they had.
pub const TAKEN: &str = "taken.json";
/// How far the logs of containers were shipped.
pub const POSITIONS: &str = "log-positions.json";
/// How the agent stands, for `windlass agent status`.
pub const STATUS: &str = "status.json";
/// Reports of the past that were not sent.
pub const HISTORY: &str = "history.ndjson";

/// A state directory. Clones name the same one.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory, made where it is not there; nobody else may look into it.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StateError::io("make", path, source))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The directory without making it, for those that only read.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one file.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file, or the one before it where it is broken.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be read, or it and the one before are broken.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<Kept<T>>, StateError> {
        read(&self.path, name)
    }

    /// Writes a file so that a crash leaves it or the one before; returns once it is durable.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be written; then the one before is there.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        write(&self.path, name, value)
    }

    /// Writes a file whole, but not durably, and keeps no copy: for what is true only while the agent runs.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be written.
    pub fn write_loosely<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        write_loosely(&self.path, name, value)
    }

    /// Removes a file and the one before it.
    ///
    /// # Errors
    /// [`StateError`] where it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        remove(&self.path, name)
    }

    /// Keeps others from changing a file that more than one program writes, as long as what is returned lives. Waits
    /// for whoever has it, which is short.
    ///
    /// # Errors
    /// [`StateError`] where the file system refuses.
    pub fn guard(&self, name: &str) -> Result<std::fs::File, StateError> {
        let path = self.file(&format!(".{name}.guard"));
        let open = || {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|source| StateError::io("write", &path, source))
    }

    /// Takes the directory for this process alone, as long as the lock lives.
    ///
    /// # Errors
    /// [`LockError::Held`] where another agent has it.
    pub fn lock(&self) -> Result<StateLock, LockError> {
        StateLock::take(&self.path)
    }
}
