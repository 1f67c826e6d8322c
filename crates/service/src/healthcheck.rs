//! `--healthcheck`: asks the program that runs with the same settings whether it is ready, so that a
//! container needs no other program for that.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a program does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unready {
    /// It cannot be asked.
    #[error("{address} does not answer")]
    Silent {
        /// The address of the settings.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It says no.
    #[error("the answer is {0:?}")]
    Answer(String),
}

/// Asks `/readyz` at the address that is listened on.
pub(crate) fn ask(listen: &str) -> Result<(), Unready> {
    let silent = |source| Unready::Silent {
        address: listen.to_owned(),
        source,
    };
    let address = listen
        .to_socket_addrs()
        .map_err(silent)?
        .next()
        .map(reachable)
        .ok_or_else(|| silent(std::io::ErrorKind::AddrNotAvailable.into()))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(silent)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream
        .write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .map_err(silent)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(silent)?;
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(Unready::Answer(line.to_owned())),
    }
}

/// Listening on all addresses includes this machine's own.
const fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        });
    }
    address
}
