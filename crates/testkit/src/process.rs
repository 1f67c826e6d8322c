//! Processes that tests start, stop, hang and kill.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How much of a log is printed when the test fails, in bytes.
const TAIL: usize = 16 * 1024;

/// A running program. Killed when dropped; when the test is failing then, the end of its log is
/// printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Process {
    /// Starts a program. Its standard output and error go to [`Process::log`].
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let owned = |text: &&str| (*text).to_owned();
        let mut process = Self {
            name: program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(owned).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            child: None,
        };
        process.restart();
        process
    }

    /// Starts one of the workspace's binaries, as it was built last.
    ///
    /// # Panics
    /// Where it is not built or cannot be started.
    #[must_use]
    pub fn workspace(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start(&workspace_binary(binary), arguments, environment)
    }

    /// Where one of the workspace's binaries is, as it was built last.
    ///
    /// # Panics
    /// Where it is not built.
    #[must_use]
    pub fn program(binary: &str) -> PathBuf {
        workspace_binary(binary)
    }

    /// Starts it again with the same arguments, after killing it where it still runs. The log goes on.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{} cannot be started ({error}): run the tests with scripts/test",
                    self.program.display()
                )
            });
        self.child = Some(child);
    }

    /// The process's id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has; returns whether it ended well.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    pub fn terminate(&mut self) -> bool {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it ends by itself; returns whether it ended well.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    pub fn wait(&mut self) -> bool {
        self.child
            .take()
            .is_some_and(|mut child| child.wait().expect("its end").success())
    }

    /// Sends it SIGUSR1.
    pub fn poke(&self) {
        self.signal("USR1");
    }

    /// Hangs it (SIGSTOP): its connections stay open and nothing answers.
    pub fn hang(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Process::hang`].
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// All that it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.log_path()) {
            file.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn signal(&self, name: &str) {
        let Some(id) = self.id() else { return };
        // The shell's own `kill` needs no further program and this crate no unsafe code.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIG{name} could not be sent to {} ({id})",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let mut from = log.len().saturating_sub(TAIL);
            while !log.is_char_boundary(from) {
                from += 1;
            }
            let tail = log.get(from..).unwrap_or_default();
            eprintln!("--- the end of the log of {} ---\n{tail}", self.name);
        }
    }
}

/// Where cargo put the program that images of tests are made of: beside what is built for this machine, since it is
/// linked otherwise.
pub(crate) fn image_program() -> PathBuf {
    const NAME: &str = "windlass-test-app";
    let test = std::env::current_exe().expect("the test's own path");
    let folders = test
        .ancestors()
        .find(|folder| folder.ends_with("debug"))
        .and_then(Path::parent)
        .and_then(|target| std::fs::read_dir(target).ok());
    let found = folders
        .into_iter()
        .flatten()
        .flatten()
        .map(|folder| folder.path().join("debug").join(NAME))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{NAME} is not built: run the tests with scripts/test, which builds it")
    })
}

/// Where cargo put a binary: it says so for the tests of the binary's own package; for others it lies
/// beside the folder of the test that runs.
fn workspace_binary(name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(format!("CARGO_BIN_EXE_{name}")) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("the binary {name} is not built: run the tests with scripts/test, which builds it")
    })
}
