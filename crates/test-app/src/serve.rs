//! The server.

use crate::{number, variable};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[derive(Debug, Default)]
struct State {
    unhealthy: AtomicBool,
    hangs: AtomicBool,
    locked: AtomicBool,
}

pub(crate) async fn run() -> ExitCode {
    let version = variable("APP_VERSION").unwrap_or_default();
    println!("version {version} starts");
    if let Some(after) = number("APP_CRASH_AFTER_MS") {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            eprintln!("crashing as told");
            std::process::exit(3);
        });
    }
    if let Some(mib) = number("APP_EAT_MIB") {
        tokio::spawn(eat(mib));
    }
    let state = Arc::new(State::default());
    state
        .unhealthy
        .store(variable("APP_UNHEALTHY").is_some(), Ordering::Relaxed);
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return ExitCode::FAILURE;
    };
    let ignores = variable("APP_IGNORE_TERM").is_some();
    let port = number("APP_PORT").unwrap_or(8080);
    let listener = if variable("APP_HANG").is_some() {
        None
    } else {
        match TcpListener::bind(format!("0.0.0.0:{port}")).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                eprintln!("port {port}: {error}");
                return ExitCode::FAILURE;
            }
        }
    };
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = term.recv() => {
                if ignores {
                    println!("SIGTERM, and nothing happens");
                    continue;
                }
                break;
            }
            connection = accept(listener.as_ref()) => {
                asked.spawn(answer(connection, Arc::clone(&state), version.clone()));
            }
            Some(_) = asked.join_next() => {}
        }
    }
    println!("SIGTERM: {} are being answered", asked.len());
    if let Some(Ok(listener)) = listener.map(TcpListener::into_std) {
        // Whoever is in the queue was promised an answer by the kernel.
        while let Ok((connection, _)) = listener.accept() {
            if connection.set_nonblocking(true).is_ok()
                && let Ok(connection) = TcpStream::from_std(connection)
            {
                asked.spawn(answer(connection, Arc::clone(&state), version.clone()));
            }
        }
    }
    while asked.join_next().await.is_some() {}
    println!("all are answered");
    ExitCode::SUCCESS
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    if let Some(listener) = listener {
        loop {
            if let Ok((connection, _)) = listener.accept().await {
                return connection;
            }
        }
    }
    std::future::pending().await
}

async fn eat(mib: u64) {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        // Written to, or the kernel gives nothing for it.
        eaten.push(vec![1; 1 << 20]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("ate {} MiB", eaten.len());
    std::future::pending::<()>().await;
}

async fn answer(mut connection: TcpStream, state: Arc<State>, version: String) {
    let Some(path) = path(&mut connection).await else {
        return;
    };
    if state.hangs.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let set = |flag: &AtomicBool, to: bool| {
        flag.store(to, Ordering::Relaxed);
        (200, "done".to_owned())
    };
    let (status, body) = match path.as_str() {
        "/" => (200, format!("version {version}")),
        "/health" if state.unhealthy.load(Ordering::Relaxed) => (503, "not well".to_owned()),
        "/health" => (200, "well".to_owned()),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (200, format!("version {version}"))
        }
        "/lock" if state.locked.load(Ordering::Relaxed) => (423, "a person at work".to_owned()),
        "/lock" => (200, String::new()),
        "/do/lock" => set(&state.locked, true),
        "/do/unlock" => set(&state.locked, false),
        "/do/sicken" => set(&state.unhealthy, true),
        "/do/hang" => set(&state.hangs, true),
        "/do/crash" => std::process::exit(4),
        _ => (404, "no such path".to_owned()),
    };
    let text = format!(
        "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Who went away needs no answer.
    if connection.write_all(text.as_bytes()).await.is_ok() {
        connection.shutdown().await.ok();
    }
}

/// The path of a request, after all of its head was read.
async fn path(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = connection.read(&mut part).await.ok()?;
        if read == 0 || head.len() > 16 * 1024 {
            return None;
        }
        head.extend_from_slice(part.get(..read)?);
    }
    let head = String::from_utf8_lossy(&head);
    head.split(' ').nth(1).map(str::to_owned)
}
