//! A registry that counts who asks it what and that can refuse for a time, before a real one that does neither.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request's head; ours have some hundred.
const HEAD: usize = 16 * 1024;

#[derive(Default)]
struct Seen {
    asked: usize,
    refused: usize,
    refuses_until: Option<Instant>,
}

/// Takes questions for a registry; it can be asked and not pushed to.
pub(crate) struct Limited {
    /// `127.0.0.1:PORT`, as image references begin.
    pub(crate) host: String,
    seen: Arc<Mutex<Seen>>,
}

impl Limited {
    pub(crate) async fn before(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Seen>>::default();
        let (registry, counted) = (registry.to_owned(), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let (registry, seen) = (registry.clone(), Arc::clone(&counted));
                // A client that goes away is its own affair.
                tokio::spawn(async move { one(from, &registry, &seen).await.ok() });
            }
        });
        Self { host, seen }
    }

    /// From now on everybody is told to come again after this.
    pub(crate) fn refuse(&self, time: Duration) {
        self.seen.lock().unwrap().refuses_until = Some(Instant::now() + time);
    }

    /// How often it was asked, and how often it refused.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        (seen.asked, seen.refused)
    }
}

/// One question on one connection.
async fn one(mut from: TcpStream, registry: &str, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
        assert!(head.len() < HEAD, "a request is larger than that");
    }
    let left = {
        let mut seen = seen.lock().unwrap();
        seen.asked += 1;
        let until = seen.refuses_until;
        let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
        seen.refused += usize::from(left.is_some());
        left
    };
    if let Some(left) = left {
        let seconds = left.as_secs() + 1;
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return from.write_all(answer.as_bytes()).await;
    }
    let mut to = TcpStream::connect(registry).await?;
    head.truncate(head.len() - 2);
    head.extend(b"Connection: close\r\n\r\n");
    to.write_all(&head).await?;
    tokio::io::copy(&mut to, &mut from).await?;
    from.shutdown().await
}
