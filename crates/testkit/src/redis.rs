//! Redis: the shared one, and private ones that can be killed.

use crate::process::Process;
use crate::wait::{eventually, free_port};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The shared Redis. Use a channel prefix of the test's own.
///
/// # Panics
/// Where none is to be had.
#[must_use]
pub fn redis_url() -> String {
    std::env::var("WINDLASS_TEST_REDIS_URL").unwrap_or_else(|_| {
        panic!("WINDLASS_TEST_REDIS_URL is not set: run the tests with scripts/test")
    })
}

/// A Redis of the test's own, to be killed, hung and started again on the same port.
#[derive(Debug)]
pub struct RedisServer {
    /// Its address.
    pub url: String,
    port: u16,
    process: Process,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    /// Starts one on this port and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn start_on(port: u16) -> Self {
        let number = port.to_string();
        let arguments = [
            "--port",
            &number,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let server = Self {
            url: format!("redis://127.0.0.1:{port}"),
            port,
            process: Process::start(Path::new("redis-server"), &arguments, &[]),
        };
        server.answers().await;
        server
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn restart(&mut self) {
        self.process.restart();
        self.answers().await;
    }

    /// Hangs it: connections stay open and nothing answers.
    pub fn hang(&self) {
        self.process.hang();
    }

    /// Lets it go on after [`RedisServer::hang`].
    pub fn go_on(&self) {
        self.process.go_on();
    }

    async fn answers(&self) {
        eventually("Redis answers", Duration::from_secs(10), async || {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else {
                return false;
            };
            let mut answer = [0; 5];
            stream.write_all(b"PING\r\n").await.is_ok()
                && stream.read_exact(&mut answer).await.is_ok()
                && &answer == b"+PONG"
        })
        .await;
    }
}
