//! What every binary does first and last: arguments, configuration, logs, dependencies, signals.

use crate::config::{Config, ConfigError, environment};
use crate::http::{Part, ServeError};
use crate::problem::chain;
use crate::{Deps, healthcheck, listen, open_files};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;
use windlass_bus::{Bus, RedisOptions};
use windlass_store::{Options, Store};

/// Why a program could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The database.
    #[error("the store cannot be opened")]
    Store(#[from] windlass_store::Error),
    /// Redis' address.
    #[error("the bus cannot be started")]
    Bus(#[from] windlass_bus::Error),
    /// The listener.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address that was given.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Serving.
    #[error("the service ended")]
    Serve(#[from] ServeError),
    /// A part of the program could not be made.
    #[error("{0}")]
    Part(String),
    /// The program that runs already is not ready.
    #[error("not ready")]
    Unready(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The runtime.
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

impl Deps {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// [`StartError`] where the store cannot be opened or an address is not valid.
    pub async fn open(config: &Config, shutdown: CancellationToken) -> Result<Self, StartError> {
        // One TLS provider for the whole process; a second install is no error.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let options = Options {
            password: config.store.password.clone(),
            max_connections: config.store.max_connections,
            ..Options::new(config.store.url.clone())
        };
        let store = Store::open(&options).await?;
        let bus = match &config.bus.redis_url {
            None => Bus::local(),
            Some(url) => {
                let options = RedisOptions {
                    url: url.clone(),
                    prefix: config.bus.prefix.clone(),
                };
                Bus::redis(&options, shutdown.clone())?
            }
        };
        Ok(Self {
            store,
            bus,
            metrics: prometheus::Registry::new(),
            shutdown,
        })
    }
}

const USAGE: &str = "[--config FILE] [--check-config] [--healthcheck] [--version]";

/// The whole `main` of a service: reads `--config FILE` (or `WINDLASS_CONFIG`), or with
/// `--check-config` prints the settings in force and ends; makes the dependencies, and runs `service`
/// until SIGTERM or SIGINT. With `--healthcheck` asks the program that runs already whether it is
/// ready. Exit code 0 after a clean end, 1 after a failure, 2 for wrong arguments.
///
/// `service` is compiled once, in the service's library; binaries stay a few lines.
pub fn main_with(
    name: &'static str,
    service: impl AsyncFnOnce(&Config, &Deps) -> Result<Vec<Part>, StartError>,
) -> ExitCode {
    let mut file = std::env::var_os("WINDLASS_CONFIG").map(PathBuf::from);
    let (mut check, mut healthcheck) = (false, false);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => match arguments.next() {
                Some(path) => file = Some(PathBuf::from(path)),
                None => {
                    eprintln!("{name}: --config needs a file; usage: {name} {USAGE}");
                    return ExitCode::from(2);
                }
            },
            Some("--check-config") => check = true,
            Some("--healthcheck") => healthcheck = true,
            Some("--version") => {
                println!("{name} {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            Some("--help" | "-h") => {
                println!("usage: {name} {USAGE}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("{name}: unknown argument {argument:?}; usage: {name} {USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let run = || -> Result<(), StartError> {
        let config = Config::load(file.as_deref(), &environment())?;
        if check {
            print!("{}", config.masked());
            return Ok(());
        }
        if healthcheck {
            return healthcheck::ask(&config.http.listen)
                .map_err(|error| StartError::Unready(error.into()));
        }
        windlass_settings::log::init(&config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        runtime.block_on(run_service(name, &config, service))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run_service(
    name: &'static str,
    config: &Config,
    service: impl AsyncFnOnce(&Config, &Deps) -> Result<Vec<Part>, StartError>,
) -> Result<(), StartError> {
    let shutdown = CancellationToken::new();
    cancel_on_signal(&shutdown);
    let deps = Deps::open(config, shutdown).await?;
    let parts = service(config, &deps).await?;
    open_files(&config.http);
    let listener = listen(&config.http.listen)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(service = name, %address, "listening");
    }
    crate::serve(parts, &deps, &config.http, listener).await?;
    deps.store.close().await;
    tracing::info!(service = name, "stopped");
    Ok(())
}

/// Cancels the token at SIGTERM or SIGINT.
pub fn cancel_on_signal(shutdown: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        match signal(kind) {
            Ok(mut signals) => {
                let shutdown = shutdown.clone();
                tokio::spawn(async move {
                    signals.recv().await;
                    shutdown.cancel();
                });
            }
            Err(error) => tracing::warn!(%error, "a signal cannot be waited for"),
        }
    }
}
