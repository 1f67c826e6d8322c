//! Waiting on conditions, and ports.

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Waits until the condition holds, looking again every 20 ms.
///
/// # Panics
/// With `what` where it does not hold after `within`.
pub async fn eventually(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(
            begun.elapsed() < within,
            "waited {within:?} in vain for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port of the loopback address that was free a moment ago.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
