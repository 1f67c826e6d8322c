//! A registry in the process: enough of the OCI distribution API to push manifests, resolve digests
//! and tell a webhook of pushes as CNCF Distribution does. It keeps everything in memory.

mod handlers;
mod shelf;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use shelf::Shelf;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use windlass_types::image::Digest;

/// Where pushes are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The webhook's address.
    pub url: String,
    /// The `Authorization` header to send.
    pub authorization: Option<String>,
}

/// Why a registry does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its listener.
    #[error("the registry cannot listen")]
    Listen(#[from] std::io::Error),
    /// Its HTTP client, or a webhook that does not answer.
    #[error("the webhook could not be told of the push")]
    Notify(#[from] reqwest::Error),
    /// A webhook that says no.
    #[error("the webhook answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// A push over HTTP of something that is no manifest.
    #[error("{0}")]
    Invalid(String),
}

/// A running registry. Dropped, it stops.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    handle: ServerHandle,
    server: tokio::task::JoinHandle<()>,
}

impl Registry {
    /// Starts a registry on this listener.
    ///
    /// # Errors
    /// [`RegistryError::Listen`] where the listener cannot be used.
    pub fn start(listener: TcpListener, notify: Option<Notify>) -> Result<Self, RegistryError> {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let address = listener.local_addr()?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let shelf = Arc::new(Shelf::new(address.to_string(), client, notify));
        let state = web::Data::from(Arc::clone(&shelf));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(web::PayloadConfig::new(64 * 1024 * 1024))
                .configure(handlers::routes)
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)?
        .run();
        let handle = server.handle();
        let server = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::warn!(%error, "the simulated registry ended");
            }
        });
        Ok(Self {
            address,
            shelf,
            handle,
            server,
        })
    }

    /// Host and port, as image references name it.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Tells a webhook of pushes from now on.
    pub fn notify(&self, notify: Notify) {
        self.shelf.notify_to(notify);
    }

    /// Makes an image with these contents without pushing it: the digest it will have.
    #[must_use]
    pub fn digest_of(contents: &str) -> Option<Digest> {
        shelf::digest(&shelf::manifest(contents)).parse().ok()
    }

    /// Pushes an image with these contents under a tag and tells the webhook. Equal contents have
    /// equal digests.
    ///
    /// # Errors
    /// [`RegistryError`] where the webhook does not take the notification; the image is there then.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        contents: &str,
    ) -> Result<Digest, RegistryError> {
        let config = shelf::config(contents);
        self.shelf.keep_blob(config);
        let manifest = shelf::manifest(contents);
        self.shelf
            .push(repository, tag, shelf::MANIFEST_TYPE.to_owned(), manifest)
            .await
    }

    /// Ends it.
    pub async fn shutdown(mut self) {
        self.handle.stop(false).await;
        if (&mut self.server).await.is_err() {
            tracing::debug!("the simulated registry's task was gone already");
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}
