//! The health port of a device: a small HTTP server that answers for its containers.

use crate::failure::Probe;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What stands behind the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing that listens.
    Nothing,
    /// Containers: what their probes say where they do not pass, and the images, for the answer.
    Containers(Option<Probe>, String),
}

impl Behind {
    fn listens(&self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Containers(Some(Probe::Refuses), _)
        )
    }
}

/// Answers at this address, as long as there is something that listens, until its task is dropped.
pub(crate) async fn serve(address: SocketAddr, mut behind: watch::Receiver<Behind>) {
    loop {
        if behind.wait_for(Behind::listens).await.is_err() {
            return;
        }
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let mut callers = JoinSet::new();
                let view = behind.clone();
                loop {
                    tokio::select! {
                        gone = behind.wait_for(|now| !now.listens()) => match gone {
                            Ok(_) => break,
                            Err(_) => return,
                        },
                        Ok((caller, _)) = listener.accept() => {
                            let now = view.borrow().clone();
                            callers.spawn(answer(caller, now));
                        }
                        Some(_) = callers.join_next() => {}
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%address, %error, "a health port cannot be opened");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Answers one request, whatever it asks.
async fn answer(mut caller: TcpStream, behind: Behind) {
    let Behind::Containers(probe, images) = behind else {
        return;
    };
    let mut asked: Vec<u8> = Vec::new();
    let mut part = [0_u8; 1024];
    while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
        match caller.read(&mut part).await {
            Ok(count @ 1..) if asked.len() < 16 * 1024 => {
                asked.extend(part.iter().take(count));
            }
            _ => return,
        }
    }
    let (status, word) = match probe {
        None => ("200 OK", "healthy"),
        Some(Probe::Fails) => ("503 Service Unavailable", "unhealthy"),
        // For as long as the caller has patience.
        Some(Probe::Hangs | Probe::Refuses) => return std::future::pending().await,
    };
    let body = format!("{word}: {images}\n");
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A caller who has gone needs no answer.
    caller.write_all(text.as_bytes()).await.ok();
    caller.shutdown().await.ok();
}
