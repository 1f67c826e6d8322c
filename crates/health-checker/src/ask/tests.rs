#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::*;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use windlass_testkit::{Registry, Setup};

/// A name server that gives another answer each time.
struct Rebinding(Mutex<VecDeque<Vec<IpAddr>>>);

impl Rebinding {
    fn new(answers: &[&[[u8; 4]]]) -> Self {
        let address = |bytes: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*bytes));
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(address).collect());
        Self(Mutex::new(answers.collect()))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Names for Rebinding {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<IpAddr>> {
        let answer = self.0.lock().unwrap().pop_front();
        answer.ok_or_else(|| io::Error::other("asked too often"))
    }
}

/// A server at this address that says who it is, over and over.
async fn server(address: &str, port: u16) -> u16 {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{address}",
        address.len()
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            if stream.read(&mut asked).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    port
}

async fn get(names: &impl Names, allowed: &[&str], url: &str) -> Result<String, Said> {
    rustls_provider();
    let allowed: Vec<String> = allowed.iter().map(|rule| (*rule).to_owned()).collect();
    let question = Question {
        method: Method::GET,
        url,
        json: None,
        read_body: true,
    };
    let allowed = Allowed::new(&allowed).unwrap();
    let answer = ask_by(names, &allowed, question, Duration::from_secs(20)).await?;
    Ok(answer.body)
}

/// The process's TLS provider, which a service sets when it starts.
fn rustls_provider() {
    drop(windlass_testkit::http());
}

#[tokio::test]
async fn the_address_that_was_looked_at_is_the_one_that_is_asked() {
    let port = server("127.0.0.1", 0).await;
    assert_eq!(server("127.0.0.2", port).await, port);
    let url = format!("http://device.example:{port}/");
    let first: &[[u8; 4]] = &[[127, 0, 0, 1]];
    let second: &[[u8; 4]] = &[[127, 0, 0, 2]];

    let names = Rebinding::new(&[first, second]);
    let said = get(&names, &["127.0.0.1"], &url).await;
    assert_eq!(said, Ok("127.0.0.1".to_owned()));
    assert_eq!(names.left(), 1, "a name is looked up once for a question");

    // The second time, the same name leads to an address that may not be asked.
    let said = get(&names, &["127.0.0.1"], &url).await;
    assert!(matches!(said, Err((Try::Impossible, _))), "{said:?}");
}

#[tokio::test]
async fn of_several_addresses_only_one_that_may_be_asked_is_asked() {
    let port = server("127.0.0.1", 0).await;
    let url = format!("http://device.example:{port}/");
    let metadata = [169, 254, 169, 254];

    let names = Rebinding::new(&[&[metadata, [127, 0, 0, 1]], &[metadata]]);
    let said = get(&names, &["127.0.0.1"], &url).await;
    assert_eq!(said, Ok("127.0.0.1".to_owned()));
    let said = get(&names, &["127.0.0.1"], &url).await;
    let Err((Try::Impossible, why)) = said else {
        panic!("{said:?}");
    };
    assert!(why.contains("169.254.169.254"), "{why}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_no() {
    let registry = Registry::start_as(Setup {
        tls: true,
        ..Setup::default()
    })
    .await;
    let url = format!("https://{}/v2/", registry.host);
    let said = get(&System, &["127.0.0.1"], &url).await;
    let Err((Try::Failed, why)) = said else {
        panic!("{said:?}");
    };
    assert!(why.contains("certificate"), "{why}");
}
