//! Devices that wait in long polls: a task and a connection for each, and next to nothing besides, since
//! they share the machine with what is measured.

use crate::fleet;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Devices that connect at once.
const DOORS: i64 = 256;

/// Devices that wait.
pub(crate) struct Waiting {
    told: mpsc::UnboundedReceiver<Instant>,
    devices: usize,
    tasks: JoinSet<Result<()>>,
}

impl Waiting {
    /// Lets the first `devices` of the fleet poll one after the other, again and again, each held as long as
    /// the server does it.
    pub(crate) async fn start(port: u16, devices: i64) -> Result<Self> {
        let (tell, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for first in (0..devices).step_by(usize::try_from(DOORS)?) {
            for device in first..(first + DOORS).min(devices) {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                tasks.spawn(poll(stream, device, tell.clone()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self {
            told,
            devices: usize::try_from(devices)?,
            tasks,
        })
    }

    /// Waits until every device was told something new once; when the first and when the last was.
    pub(crate) async fn all_told(&mut self, within: Duration) -> Result<(Instant, Instant)> {
        let (mut first, mut last) = (None, None);
        let all = async {
            for _ in 0..self.devices {
                let at = self.told.recv().await?;
                first = Some(first.map_or(at, |first: Instant| first.min(at)));
                last = Some(last.map_or(at, |last: Instant| last.max(at)));
            }
            Some(())
        };
        let done = tokio::time::timeout(within, all).await;
        if let Some(Ok(Err(error))) = self.tasks.try_join_next() {
            return Err(error.context("a waiting device was turned away"));
        }
        if done.is_err() {
            bail!("not every device was told within {within:?}");
        }
        Ok((
            first.context("nobody waits")?,
            last.context("nobody waits")?,
        ))
    }
}

/// One device: polls with what it has until the task is dropped.
async fn poll(
    mut stream: TcpStream,
    device: i64,
    tell: mpsc::UnboundedSender<Instant>,
) -> Result<()> {
    let (uuid, key) = (fleet::uuid_of(device), fleet::key_of(device));
    let mut etag = "\"1\"".to_owned();
    let mut answer = Vec::new();
    loop {
        let request = format!(
            "GET /api/v1/device/{uuid}/state HTTP/1.1\r\nHost: bench\r\nX-Device-API-Key: {key}\r\n\
             If-None-Match: {etag}\r\nPrefer: wait=600\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        let head = loop {
            let read = stream.read_buf(&mut answer).await?;
            if read == 0 {
                bail!("the server hung up");
            }
            if let Some(head) = Head::of(&answer)
                && answer.len() >= head.length
            {
                break head;
            }
        };
        match head.status {
            200 => {
                etag = head.etag;
                tell.send(Instant::now())?;
            }
            304 => {}
            status => bail!("{status} instead of 200 or 304"),
        }
        // Nobody keeps a body of several kilobytes while it waits.
        answer.shrink_to(512);
    }
}

/// What is read of an answer's head.
struct Head {
    status: u16,
    etag: String,
    /// Of the whole answer.
    length: usize,
}

impl Head {
    /// Of an answer whose head has come as a whole.
    fn of(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(answer.get(..end)?).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let body: usize = field("content-length").map_or(Some(0), |length| length.parse().ok())?;
        Some(Self {
            status,
            etag: field("etag").unwrap_or_default().to_owned(),
            // 304 names a length that it does not send (RFC 9110, section 8.6).
            length: end + if status == 304 { 0 } else { body },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        assert!(Head::of(b"HTTP/1.1 200 OK\r\nETag: \"7\"\r\n").is_none());
        let text = b"HTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Length: 3\r\n\r\nabc";
        let head = Head::of(text).unwrap();
        assert_eq!(
            (head.status, head.etag.as_str(), head.length),
            (200, "\"7\"", text.len())
        );
    }
}
