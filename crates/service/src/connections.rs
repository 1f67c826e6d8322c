//! Room for connections: each is a file of the process, and waits in a queue until it is accepted.

use crate::StartError;
use crate::config::HttpSection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpListener;

/// Connections that may wait to be accepted: after a power cut a whole fleet comes back in a second, and who
/// finds the queue full tries again a second later, then three. The kernel has a limit of its own
/// (`net.core.somaxconn`, 4096 where nobody has set it).
const QUEUE: i32 = 4096;
/// Files of a process beside its connections: the database, the bus, logs.
const OTHER_FILES: u64 = 100;

/// Binds the configured address.
///
/// # Errors
/// [`StartError::Listen`] where it cannot be had.
pub fn listen(address: &str) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // The standard library's queue is of 128; to listen once more changes that and nothing else.
        let socket = socket2::Socket::from(listener);
        socket.listen(QUEUE)?;
        Ok(socket.into())
    });
    bound.map_err(|source| StartError::Listen {
        address: address.to_owned(),
        source,
    })
}

/// Lets this process open as many files as it may, and says so where that is fewer than the connections that
/// are configured. What a process may open without asking is often 1024, for programs that cannot deal with more.
pub fn open_files(http: &HttpSection) {
    let connections = http.workers.saturating_mul(http.max_connections);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES);
    // No limit is none.
    if let Some(files) = files.filter(|files| *files < wanted) {
        tracing::info!(
            files,
            connections = files.saturating_sub(OTHER_FILES),
            configured = connections,
            "connections are limited by the files that this process may open; raise it with LimitNOFILE= or ulimit -n"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_opened_is_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        open_files(&HttpSection {
            workers: usize::MAX,
            ..HttpSection::default()
        });
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        assert!(after.current >= before.current);
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let first = listen("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap().to_string();
        let Err(StartError::Listen { address: named, .. }) = listen(&address) else {
            panic!("bound twice");
        };
        assert_eq!(named, address);
    }
}
