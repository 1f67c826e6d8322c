//! The program in the images of tests: it can be told to crash, hang, fail its probe, ignore SIGTERM, eat memory and
//! drain. Not shipped.
//!
//! * Owns: nothing; it is told what to do by variables that its image carries, and over HTTP while it runs.
//! * Never: links anything dynamically in an image: it is built with `-C target-feature=+crt-static` by
//!   `scripts/test`, and is the only file of its images.
//! * Test it with: it is what others are tested with.
//!
//! | Variable | What |
//! |---|---|
//! | `APP_VERSION` | what `/` answers |
//! | `APP_PORT` | where it listens; 8080 |
//! | `APP_CRASH_AFTER_MS` | ends with 3 after so long |
//! | `APP_HANG` | never listens |
//! | `APP_UNHEALTHY` | `/health` answers 503 |
//! | `APP_IGNORE_TERM` | does nothing on SIGTERM |
//! | `APP_EAT_MIB` | takes so much memory |
//!
//! On SIGTERM it listens no more, answers what it was asked, and ends with 0.
//!
//! Commands: `app ok`, `app fail` and `app hang` for probes; `app client HOST:PORT` asks `/` all the time until
//! SIGTERM and then prints what it lost.

mod client;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ok"] => {
            println!("well");
            ExitCode::SUCCESS
        }
        ["fail"] => {
            println!("not well");
            ExitCode::FAILURE
        }
        ["hang"] => {
            tokio::time::sleep(Duration::MAX).await;
            ExitCode::SUCCESS
        }
        ["client", server] => client::run(server).await,
        _ => serve::run().await,
    }
}
