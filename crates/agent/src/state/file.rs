//! One file: written beside, made durable, renamed. The one before is kept under another name, for the day
//! on which a disk gives back garbage.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("{} cannot be {}", .path.display(), done(.verb))]
    Io {
        /// What was attempted: read, write, make, remove.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file and the one before it are both no state of ours.
    #[error("{} and the copy before it are broken ({reason}); nothing was changed", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value cannot be written as JSON.
    #[error("a value cannot be written to {}", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

fn done(verb: &str) -> &'static str {
    match verb {
        "read" => "read",
        "make" => "made",
        "remove" => "removed",
        _ => "written",
    }
}

impl StateError {
    pub(crate) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// The value.
    pub value: T,
    /// What was wrong with the file itself, where the value is from the copy before it.
    pub recovered: Option<String>,
}

/// The steps of a write. A crash can come between any two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    /// Write the new text beside, and make it durable.
    Beside,
    /// Give the present file a second name.
    LinkPrevious,
    /// Let that be the copy before.
    KeepPrevious,
    /// Let the new text be the file.
    Replace,
    /// Make the names durable.
    Settle,
}

const MOVES: [Move; 5] = [
    Move::Beside,
    Move::LinkPrevious,
    Move::KeepPrevious,
    Move::Replace,
    Move::Settle,
];

struct Names {
    file: PathBuf,
    beside: PathBuf,
    linked: PathBuf,
    previous: PathBuf,
}

impl Names {
    fn of(folder: &Path, name: &str) -> Self {
        Self {
            file: folder.join(name),
            beside: folder.join(format!(".{name}.new")),
            linked: folder.join(format!(".{name}.old")),
            previous: folder.join(format!("{name}.previous")),
        }
    }
}

fn act(folder: &Path, names: &Names, text: &[u8], step: Move) -> Result<(), StateError> {
    let fails = |path: &Path| {
        let path = path.to_owned();
        move |source| StateError::io("write", &path, source)
    };
    match step {
        Move::Beside => {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&names.beside)
                .map_err(fails(&names.beside))?;
            file.write_all(text)
                .and_then(|()| file.sync_all())
                .map_err(fails(&names.beside))
        }
        Move::LinkPrevious => {
            absent_is_fine(std::fs::remove_file(&names.linked)).map_err(fails(&names.linked))?;
            absent_is_fine(std::fs::hard_link(&names.file, &names.linked))
                .map_err(fails(&names.linked))
        }
        Move::KeepPrevious => absent_is_fine(std::fs::rename(&names.linked, &names.previous))
            .map_err(fails(&names.previous)),
        Move::Replace => std::fs::rename(&names.beside, &names.file).map_err(fails(&names.file)),
        Move::Settle => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fails(folder)),
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes `name` in `folder`: a crash leaves the file as it was or as it is to be.
///
/// # Errors
/// [`StateError`]; then the file is as it was.
pub fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), StateError> {
    let names = Names::of(folder, name);
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| StateError::Encode {
        path: names.file.clone(),
        source,
    })?;
    text.push(b'\n');
    for step in MOVES {
        act(folder, &names, &text, step)?;
    }
    Ok(())
}

/// Writes `name` in `folder` whole, without waiting for the disk.
///
/// # Errors
/// [`StateError`]; then the file is as it was.
pub fn write_loosely<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), StateError> {
    let names = Names::of(folder, name);
    let text = serde_json::to_vec_pretty(value).map_err(|source| StateError::Encode {
        path: names.file.clone(),
        source,
    })?;
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&names.beside)?;
        file.write_all(&text)?;
        std::fs::rename(&names.beside, &names.file)
    };
    write().map_err(|source| StateError::io("write", &names.file, source))
}

/// Reads `name` in `folder`; where it is broken, puts it aside as `<name>.broken` and reads the copy
/// before it.
///
/// # Errors
/// [`StateError::Broken`] where neither can be used, [`StateError::Io`] where one is there and cannot be
/// read.
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<Kept<T>>, StateError> {
    let names = Names::of(folder, name);
    let (file, previous) = (bytes(&names.file)?, bytes(&names.previous)?);
    let reason = match file.as_deref().map(serde_json::from_slice::<T>) {
        Some(Ok(value)) => {
            let recovered = None;
            return Ok(Some(Kept { value, recovered }));
        }
        Some(Err(error)) => format!("{name}: {error}"),
        None if previous.is_none() => return Ok(None),
        None => format!("{name} is not there"),
    };
    match previous.as_deref().map(serde_json::from_slice::<T>) {
        Some(Ok(value)) => {
            // Out of the way, so that the next write does not keep garbage as the copy before.
            let broken = folder.join(format!("{name}.broken"));
            absent_is_fine(std::fs::rename(&names.file, &broken))
                .map_err(|source| StateError::io("write", &broken, source))?;
            let recovered = Some(reason);
            Ok(Some(Kept { value, recovered }))
        }
        Some(Err(_)) | None => Err(StateError::Broken {
            path: names.file,
            reason,
        }),
    }
}

/// Removes `name` and the copy before it, that first: a crash leaves the file.
///
/// # Errors
/// [`StateError`] where the file system refuses.
pub fn remove(folder: &Path, name: &str) -> Result<(), StateError> {
    let names = Names::of(folder, name);
    for path in [&names.previous, &names.file] {
        absent_is_fine(std::fs::remove_file(path))
            .map_err(|source| StateError::io("remove", path, source))?;
    }
    Ok(())
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::io("read", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn read_it(folder: &Path) -> Option<Kept<String>> {
        read(folder, "x.json").unwrap()
    }

    #[test]
    fn a_crash_between_any_two_moves_leaves_the_old_or_the_new_and_the_next_write_works() {
        for had in [None, Some("old")] {
            for done in 0..=MOVES.len() {
                let folder = tempfile::tempdir().unwrap();
                let folder = folder.path();
                if let Some(old) = had {
                    write(folder, "x.json", &"older").unwrap();
                    write(folder, "x.json", &old).unwrap();
                }
                let names = Names::of(folder, "x.json");
                for step in MOVES.iter().take(done) {
                    act(folder, &names, b"\"new\"", *step).unwrap();
                }
                let found = read_it(folder).map(|kept| (kept.value, kept.recovered));
                let new = done >= 4;
                let expected = if new { Some("new") } else { had };
                assert_eq!(found, expected.map(|v| (v.to_owned(), None)), "{done}");
                write(folder, "x.json", &"newest").unwrap();
                assert_eq!(read_it(folder).unwrap().value, "newest", "{done}");
            }
        }
    }

    #[test]
    fn garbage_empty_and_truncated_files_are_replaced_by_the_copy_before() {
        for garbage in [&b""[..], b"\"ne", b"\xff\xfe", b"{}"] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            write(folder, "x.json", &"one").unwrap();
            write(folder, "x.json", &"two").unwrap();
            std::fs::write(folder.join("x.json"), garbage).unwrap();
            let kept = read_it(folder).unwrap();
            assert_eq!(kept.value, "one");
            assert!(kept.recovered.is_some());
            assert_eq!(
                std::fs::read(folder.join("x.json.broken")).unwrap(),
                garbage
            );
            // The copy before is not overwritten with garbage.
            write(folder, "x.json", &"three").unwrap();
            assert_eq!(read_it(folder).unwrap().recovered, None);
            std::fs::write(folder.join("x.json"), garbage).unwrap();
            assert_eq!(read_it(folder).unwrap().value, "one");
        }
    }

    #[test]
    fn where_both_are_broken_that_is_said_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["x.json", "x.json.previous"] {
            std::fs::write(folder.join(name), b"garbage").unwrap();
        }
        let error = read::<String>(folder, "x.json").unwrap_err();
        assert!(matches!(error, StateError::Broken { .. }), "{error}");
        assert_eq!(std::fs::read(folder.join("x.json")).unwrap(), b"garbage");
    }

    #[test]
    fn only_the_owner_may_read_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "x.json", &"secret").unwrap();
        let mode = std::fs::metadata(folder.path().join("x.json")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_removed_does_not_come_back_from_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        for value in ["one", "two"] {
            write(folder.path(), "x.json", &value).unwrap();
        }
        remove(folder.path(), "x.json").unwrap();
        assert_eq!(read_it(folder.path()), None);
    }
}
