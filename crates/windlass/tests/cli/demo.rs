//! The demo, as it comes.

use crate::server::{BINARY, PATIENCE, run};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: Vec<String>,
    /// Where it puts its folder.
    scratch: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            told: Vec::new(),
            scratch,
        }
    }

    /// The first line from here on with this part.
    async fn line(&mut self, part: &str) -> String {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.told.push(line.clone());
                if line.contains(part) {
                    return Some(line);
                }
            }
            None
        })
        .await;
        match found {
            Ok(Some(line)) => line,
            _ => panic!("no line with {part:?} in:\n{}", self.told.join("\n")),
        }
    }

    /// Ctrl-C; returns the exit code.
    async fn interrupt(&mut self) -> i32 {
        let pid = self.child.id().unwrap();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {pid}")])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        let ended = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        ended.code().unwrap()
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn the_demo_ends_as_it_should_stays_when_asked_and_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--keep", "--devices", "30"]);
    let export = demo.line("export WINDLASS_URL=").await;
    assert!(
        !demo.told.iter().any(|line| line.contains('✗')),
        "{:#?}",
        demo.told
    );
    assert!(
        demo.told
            .iter()
            .any(|line| line.contains("ended as it should")),
        "{:#?}",
        demo.told
    );
    let value = |name: &str| {
        let rest = export.split_once(name).unwrap().1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (url, key) = (value("WINDLASS_URL="), value("WINDLASS_API_KEY="));
    let server = [("WINDLASS_URL", &*url), ("WINDLASS_API_KEY", &*key)];
    let rollouts = run(&["rollouts", "--json"], &server).await.json();
    let statuses: Vec<_> = rollouts
        .as_array()
        .unwrap()
        .iter()
        .map(|rollout| rollout["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["paused", "completed"]);
    assert_eq!(demo.interrupt().await, 0, "{:#?}", demo.told);
    assert!(is_empty(demo.scratch.path()), "its folder is removed");
}

#[tokio::test]
async fn ctrl_c_ends_the_demo_at_once_and_leaves_nothing_behind() {
    let mut demo = Demo::start(&[]);
    demo.line("registered").await;
    assert_eq!(demo.interrupt().await, 1);
    assert!(is_empty(demo.scratch.path()), "its folder is removed");
}

#[tokio::test]
async fn the_demo_tells_programs_what_came_out_and_where_it_goes_on() {
    let arguments = ["--json", "--keep", "--devices", "30", "--seed", "3"];
    let mut demo = Demo::start(&arguments);
    let told = loop {
        demo.line("}").await;
        if let Ok(told) = serde_json::from_str::<serde_json::Value>(&demo.told.join("\n")) {
            break told;
        }
    };
    assert_eq!(
        (&told["ok"], &told["numbers"]["v2_healthy"]),
        (&true.into(), &30.into()),
        "{told}"
    );
    let (url, key) = (told["url"].as_str(), told["key"].as_str());
    let server = [
        ("WINDLASS_URL", url.unwrap()),
        ("WINDLASS_API_KEY", key.unwrap()),
    ];
    assert_eq!(run(&["status"], &server).await.code, 0);
    assert_eq!(demo.interrupt().await, 0);
    let more = demo.lines.next_line().await.unwrap();
    assert_eq!(more, None, "nothing but the value is written");
}
