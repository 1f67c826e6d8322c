//! Long polls that are held: what each takes in memory, and how soon all are told of a change that comes to all.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::served::Served;
use crate::{fleet, known};
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Polls to be held.
const WANTED: usize = 50_000;
/// Files that a process has open beside its connections.
const OTHER_FILES: usize = 200;
/// Polls of one source address: the kernel gives about 28,000 ports to each.
const FROM_ONE_ADDRESS: usize = 20_000;
/// Connections that are being made at once: fewer than the kernel queues for who accepts them.
const AT_ONCE: usize = 100;
/// How long they are held before the change.
const HELD: Duration = Duration::from_secs(5);
/// What each may take in memory, in KiB, and how soon all are to be told, in seconds.
const ALLOWED: (f64, f64) = (10.0, 5.0);

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let count = WANTED.min(files()?.saturating_sub(OTHER_FILES));
    let mut memory = Row::new(format!("memory for each of {count} held polls"), "KiB")
        .goal(Goal::AtMost(ALLOWED.0));
    let mut woken = Row::new(
        format!("{count} held polls told of a change, the last"),
        "s",
    )
    .goal(Goal::AtMost(ALLOWED.1));
    let mut cpu = Vec::new();
    let devices = i64::try_from(count)?;
    let name = "windlass_bench_idle";
    let store = bench.database(name).await?;
    fleet::fill(&store, devices, &fleet::state("demo/app:v1", 4000)?).await?;
    for run in 1..=bench.runs {
        let version = i64::try_from(run)?;
        let served = Served::knowing(&known::address(bench, name)?, devices).await?;
        let before = served.memory()?;
        let mut polls = hold(served.port, devices, version).await?;
        let all = f64::from(u32::try_from(count)?);
        let waiting = "windlass_devices_waiting";
        served.until(waiting, &[], |held| held >= all).await?;
        tokio::time::sleep(HELD).await;
        if served.metric(waiting, &[]).await? < all {
            bail!("some polls were not held");
        }
        memory.run((served.memory()? - before) / all / 1024.0);
        let state = fleet::state(&format!("demo/app:v{}", version + 1), 4000)?;
        let used = served.processor_time()?;
        known::change(&store, devices, &state).await?;
        let changed = Instant::now();
        let mut last = changed;
        while let Some(told) = polls.join_next().await {
            last = last.max(told??);
        }
        woken.run((last - changed).as_secs_f64());
        cpu.push((served.processor_time()? - used).as_secs_f64());
        if served.polls("200").await? < all {
            bail!("some polls were not answered 200");
        }
        served.end().await?;
    }
    if count < WANTED {
        let files = count + OTHER_FILES;
        let few = format!("{count} and not {WANTED}: a process may open {files} files here");
        memory.untrusted.push(few.clone());
        woken.untrusted.push(few);
    }
    let woken = woken.note(format!(
        "from the commit to the last answer, without a bus; the server took {:.2} s of processor time at most",
        cpu.into_iter().fold(0.0, f64::max)
    ));
    store.close().await;
    Ok(vec![memory, woken])
}

/// Files that this process may open, and so the server that it starts.
fn files() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .context("no limit of open files")?;
    let soft = line
        .split_whitespace()
        .next()
        .context("no limit of open files")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}

/// One held poll of each device that has this version; each ends when it is answered.
async fn hold(port: u16, devices: i64, version: i64) -> Result<JoinSet<Result<Instant>>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut polls = JoinSet::new();
    for n in 0..devices {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let from = Ipv4Addr::new(
            127,
            0,
            0,
            2 + u8::try_from(usize::try_from(n)? / FROM_ONE_ADDRESS)?,
        );
        polls.spawn(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            let mut stream = socket
                .connect(SocketAddr::from(([127, 0, 0, 1], port)))
                .await?;
            let request = format!(
                "GET /api/v1/device/{}/state HTTP/1.1\r\nHost: windlass.example\r\n\
                 User-Agent: windlass-agent/0.1.0\r\nAccept-Encoding: gzip\r\n\
                 X-Device-API-Key: {}\r\nIf-None-Match: \"{version}\"\r\nPrefer: wait=60\r\n\r\n",
                fleet::uuid_of(n),
                fleet::key_of(n)
            );
            stream.write_all(request.as_bytes()).await?;
            drop(turn);
            answered(stream, version + 1)
                .await
                .with_context(|| format!("device {n}"))
        });
    }
    Ok(polls)
}

/// When the answer was there, which must be this version.
async fn answered(mut stream: TcpStream, version: i64) -> Result<Instant> {
    // A small buffer: fifty thousand of them are this process's.
    let mut head = [0_u8; 512];
    let read = stream.read(&mut head).await?;
    let at = Instant::now();
    let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
    let tag = format!("etag: \"{version}\"");
    if !head.starts_with("HTTP/1.1 200") || !head.to_lowercase().contains(&tag) {
        bail!("answered {head:?}");
    }
    Ok(at)
}
