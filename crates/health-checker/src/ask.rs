//! Asking over the network, and only whom checks may ask.
//!
//! A name is resolved once, and the connection goes to exactly the address that was looked at:
//! a second answer of the name server changes nothing. No redirect is followed, no proxy used, and
//! no more than 64 KiB of an answer are read.
//!
//! What keeps the question from being asked is no answer: a name that is not resolved, a network that
//! is not reached from here, this program's own want of sockets say nothing of the other side.

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};
use windlass_core::checks::{Allowed, Try};

#[cfg(test)]
mod tests;

/// How much of an answer is read.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// What comes of a question: a yes or a no with a sentence, or, before anything was asked, the same.
pub(crate) type Said = (Try, String);

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The beginning of the body.
    pub(crate) body: String,
    /// Whether the body was longer than what is read.
    pub(crate) cut: bool,
}

/// What is asked over HTTP.
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) json: Option<serde_json::Value>,
    /// Whether the body matters.
    pub(crate) read_body: bool,
}

/// Opens a connection to a port and closes it again.
pub(crate) async fn connect(
    allowed: &Allowed,
    address: IpAddr,
    port: u16,
    limit: Duration,
) -> Result<(), Said> {
    allowed
        .permits(&address.to_string(), address, port)
        .map_err(|why| (Try::Impossible, why))?;
    match timeout(limit, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err((meaning(&error), format!("{address} port {port}: {error}"))),
        Err(_) => Err((
            Try::Failed,
            format!("{address} port {port}: no answer in {} s", limit.as_secs()),
        )),
    }
}

/// Who says where names are.
trait Names {
    /// The addresses of a name.
    fn look_up(
        &self,
        name: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// The system's resolver.
struct System;

impl Names for System {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, port)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Asks over HTTP.
pub(crate) async fn ask(
    allowed: &Allowed,
    question: Question<'_>,
    limit: Duration,
) -> Result<Answer, Said> {
    ask_by(&System, allowed, question, limit).await
}

async fn ask_by(
    names: &impl Names,
    allowed: &Allowed,
    question: Question<'_>,
    limit: Duration,
) -> Result<Answer, Said> {
    let until = Instant::now() + limit;
    // Whoever is asked has half of the time at least; what the name server takes is not theirs.
    let (client, url) = aim(names, allowed, question.url, limit / 2).await?;
    match timeout_at(until, send(&client, url, question)).await {
        Ok(answer) => answer,
        Err(_) => Err((Try::Failed, format!("no answer in {} s", limit.as_secs()))),
    }
}

/// The URL, and a client that goes to the one address it may be asked at.
async fn aim(
    names: &impl Names,
    allowed: &Allowed,
    url: &str,
    limit: Duration,
) -> Result<(Client, Url), Said> {
    let impossible = |why: String| (Try::Impossible, why);
    let url = Url::parse(url).map_err(|error| impossible(format!("{url:?} is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(impossible(format!(
            "{} is neither http nor https",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(impossible("a URL with a user name is not asked".to_owned()));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(impossible("the URL names no host".to_owned()));
    };
    let mut builder = Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .no_gzip()
        .pool_max_idle_per_host(0);
    let address = address_of(names, allowed, &host, port, limit).await?;
    if let Host::Domain(name) = host {
        builder = builder.resolve(name, address);
    }
    let client = builder.build().map_err(failed)?;
    Ok((client, url))
}

async fn send(client: &Client, url: Url, question: Question<'_>) -> Result<Answer, Said> {
    let mut request = client.request(question.method, url);
    if let Some(body) = &question.json {
        request = request.json(body);
    }
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    let mut cut = false;
    if question.read_body {
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let room = MAX_BODY_BYTES - body.len();
            body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
    }
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
        cut,
    })
}

/// The one address that is asked.
async fn address_of(
    names: &impl Names,
    allowed: &Allowed,
    host: &Host<&str>,
    port: u16,
    limit: Duration,
) -> Result<SocketAddr, Said> {
    let undecided = |why: String| Err((Try::Undecided, why));
    let (name, found) = match host {
        Host::Ipv4(v4) => (v4.to_string(), vec![IpAddr::V4(*v4)]),
        Host::Ipv6(v6) => (v6.to_string(), vec![IpAddr::V6(*v6)]),
        Host::Domain(name) => {
            let found = match timeout(limit, names.look_up(name, port)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => return undecided(format!("{name} has no address: {error}")),
                Err(_) => return undecided(format!("no name server says where {name} is")),
            };
            ((*name).to_owned(), found)
        }
    };
    let mut refused = format!("{name} has no address");
    for address in found {
        match allowed.permits(&name, address, port) {
            Ok(()) => return Ok(SocketAddr::new(address, port)),
            Err(why) => refused = why,
        }
    }
    Err((Try::Impossible, refused))
}

/// What an error of a connection says: a no only where it came from the other side.
fn meaning(error: &io::Error) -> Try {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::TimedOut => Try::Failed,
        _ => Try::Undecided,
    }
}

fn failed(error: reqwest::Error) -> Said {
    let error = error.without_url();
    let mut outcome = if error.is_builder() {
        Try::Undecided
    } else {
        Try::Failed
    };
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        // Without a number of the system it is about what the other side said: its certificate, an
        // answer that breaks off.
        if let Some(cause) = cause.downcast_ref::<io::Error>()
            && cause.raw_os_error().is_some()
        {
            outcome = meaning(cause);
        }
        source = cause.source();
    }
    (outcome, chain(&error))
}

/// An error with what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
