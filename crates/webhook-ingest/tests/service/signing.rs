//! Keys and certificates made for a test by openssl, and a network in which they are to be found.

use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;
use url::Url;
use windlass_webhook_ingest::fetch::{Fetch, FetchError, Fetched};

/// An RSA key with a certificate.
pub(crate) struct Signer {
    folder: TempDir,
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("openssl, from the package of that name: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

impl Signer {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        let (key, certificate) = (made.path("key.pem"), made.path("certificate.pem"));
        openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=sns.amazonaws.com",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
            &[],
        );
        made
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn certificate(&self) -> Vec<u8> {
        std::fs::read(self.path("certificate.pem")).unwrap()
    }

    /// A signature by RSA PKCS #1 v1.5 over this hash (`sha1`, `sha256`).
    pub(crate) fn sign(&self, hash: &str, text: &str) -> Vec<u8> {
        let key = self.path("key.pem");
        openssl(
            &["dgst", &format!("-{hash}"), "-sign", &key],
            text.as_bytes(),
        )
    }

    /// The key's modulus.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        let key = self.path("key.pem");
        let told = openssl(&["rsa", "-in", &key, "-noout", "-modulus"], &[]);
        let told = String::from_utf8(told).unwrap();
        hex::decode(told.trim().strip_prefix("Modulus=").unwrap()).unwrap()
    }
}

/// A network of a few addresses that counts what is asked of it.
#[derive(Default)]
pub(crate) struct Network {
    pages: Mutex<HashMap<String, Fetched>>,
    asked: Mutex<Vec<String>>,
}

impl Network {
    pub(crate) fn serve(&self, url: &str, body: Vec<u8>) {
        let page = Fetched {
            body,
            max_age: None,
        };
        self.pages.lock().unwrap().insert(url.to_owned(), page);
    }

    /// What was asked for so far, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Fetch for Network {
    fn get<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        self.asked.lock().unwrap().push(url.to_string());
        let page = self.pages.lock().unwrap().get(url.as_str()).cloned();
        let host = url.host_str().unwrap().to_owned();
        Box::pin(async move { page.ok_or(FetchError::Status { host, status: 503 }) })
    }
}
