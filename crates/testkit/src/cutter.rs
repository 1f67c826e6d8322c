//! A line to a server that is cut in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on, and ends each after so many bytes of answers.
#[derive(Debug)]
pub struct Cutter {
    /// `127.0.0.1:PORT`.
    pub host: String,
    after: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Cutter {
    /// Begins to pass connections on to a server, and cuts none.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("its address").to_string();
        let after = Arc::new(AtomicU64::new(u64::MAX));
        let (server, limit) = (server.to_owned(), Arc::clone(&after));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, limit) = (server.clone(), Arc::clone(&limit));
                tokio::spawn(async move {
                    // A line that breaks by itself is as good.
                    pass(client, &server, &limit).await.ok();
                });
            }
        });
        Self { host, after, task }
    }

    /// From now on each connection ends after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.after.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, server: &str, limit: &AtomicU64) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = tokio::spawn(async move {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    });
    let (mut passed, mut part) = (0, vec![0; 16 * 1024]);
    loop {
        let read = from_server.read(&mut part).await?;
        passed += u64::try_from(read).unwrap_or(u64::MAX);
        if read == 0 || passed > limit.load(Ordering::Relaxed) {
            break;
        }
        to_client
            .write_all(part.get(..read).unwrap_or_default())
            .await?;
    }
    asks.abort();
    Ok(())
}
