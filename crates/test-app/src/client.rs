//! A client that asks all the time, as clients do: the name is resolved for each request, and of its addresses one
//! after the other is tried until one takes the connection. Nothing is asked twice: a connection that was taken and
//! gives no whole answer is a request that is lost.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

/// How long a connection may take: within one machine it takes microseconds or is lost.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) async fn run(server: &str) -> ExitCode {
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return ExitCode::FAILURE;
    };
    let (mut asked, mut lost, mut passed_over) = (0_u64, 0_u64, 0_u64);
    let mut answers: BTreeMap<String, u64> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    // What is not there yet is not lost.
    let mut served = false;
    loop {
        let begun = Instant::now();
        tokio::select! {
            _ = term.recv() => break,
            answer = ask(server, &mut passed_over) => match answer {
                Ok(answer) => {
                    asked += 1;
                    served = true;
                    longest = longest.max(begun.elapsed());
                    if !answers.contains_key(&answer) {
                        println!("first {answer}");
                    }
                    *answers.entry(answer).or_default() += 1;
                }
                Err(reason) if served => {
                    asked += 1;
                    lost += 1;
                    println!("lost: {reason}");
                }
                Err(_) => {}
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
    println!(
        "asked={asked} lost={lost} passed_over={passed_over} longest_ms={} answers={answers:?}",
        longest.as_millis()
    );
    ExitCode::SUCCESS
}

/// Asks once; counts the addresses that took no connection.
async fn ask(server: &str, passed_over: &mut u64) -> Result<String, String> {
    let addresses = tokio::net::lookup_host(server)
        .await
        .map_err(|error| format!("no address: {error}"))?;
    let mut refused = Vec::new();
    for address in addresses {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => {
                for reason in &refused {
                    println!("passed over: {reason}");
                    *passed_over += 1;
                }
                return tokio::time::timeout(ANSWER, talk(connection))
                    .await
                    .unwrap_or_else(|_late| Err("no answer".to_owned()))
                    .map_err(|reason| format!("{address}: {reason}"));
            }
            Ok(Err(error)) => refused.push(format!("{address}: {error}")),
            Err(_late) => refused.push(format!("{address}: no connection")),
        }
    }
    Err(refused.join(", "))
}

async fn talk(mut connection: TcpStream) -> Result<String, String> {
    let mut text = String::new();
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        .await
        .map_err(|error| error.to_string())?;
    connection
        .read_to_string(&mut text)
        .await
        .map_err(|error| error.to_string())?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") && body.starts_with("version ") => {
            Ok(body.to_owned())
        }
        Some(_) | None => Err(format!("a broken answer: {text:?}")),
    }
}
