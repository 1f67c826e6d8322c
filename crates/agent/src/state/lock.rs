//! One agent for each state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const NAME: &str = "lock";

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("another agent works in {}{}", .path.display(), .by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who, where that can be told.
        by: Option<String>,
    },
    /// The file system refused.
    #[error("{} cannot be locked", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Held as long as it lives; the kernel lets it go when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let fails = |source| LockError::Io {
            path: folder.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(NAME))
            .map_err(fails)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let by = file
                    .read_to_string(&mut by)
                    .is_ok()
                    .then(|| by.trim().to_owned())
                    .filter(|by| !by.is_empty());
                return Err(LockError::Held {
                    path: folder.to_owned(),
                    by,
                });
            }
            Err(TryLockError::Error(source)) => return Err(fails(source)),
        }
        // For people only; the lock is the kernel's.
        file.set_len(0)
            .and_then(|()| write!(file, "process {}", std::process::id()))
            .map_err(fails)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_agents_do_not_work_in_one_directory_and_a_lock_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateLock::take(folder.path()).unwrap();
        let error = StateLock::take(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LockError::Held { .. }), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        StateLock::take(folder.path()).unwrap();
    }
}
