//! `windlass up`: every service in this process, on one listener.

use crate::cli::{CheckConfig, Up};
use crate::exit::Failure;
use crate::output::Out;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use tokio_util::sync::CancellationToken;
use windlass_service::config::{Config, StoreSection, environment};
use windlass_service::{Deps, Part, StartError, cancel_on_signal, listen, serve, telemetry};

/// Prints the settings in force.
pub(crate) fn check_config(given: &CheckConfig, out: &mut Out) -> Result<(), Failure> {
    let config = load(given.config.as_deref())?;
    if out.is_json() {
        let table: toml::Table =
            toml::from_str(&config.masked()).map_err(|error| Failure::failed(error.to_string()))?;
        return out.json(&table);
    }
    out.raw(config.masked().as_bytes())
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    Config::load(file, &environment())
        .map_err(StartError::from)
        .map_err(Failure::from)
}

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn up(given: &Up) -> Result<(), Failure> {
    let mut config = load(given.config.as_deref())?;
    if let Some(address) = &given.listen {
        config.http.listen.clone_from(address);
    }
    if config.store.url == StoreSection::default().url {
        std::fs::create_dir_all(&given.data).map_err(|error| {
            Failure::usage(format!("{} cannot be made: {error}", given.data.display()))
        })?;
        config.store.url = format!("sqlite:{}", given.data.join("windlass.db").display());
    }
    telemetry::init(&config.log);
    let shutdown = CancellationToken::new();
    cancel_on_signal(&shutdown);
    let system = System::open(&config, shutdown).await?;
    // The file first: whoever reads the address may look for the key at once.
    let written = match (&system.first_key, &given.key_file) {
        (Some(key), Some(path)) => write_key(path, key).map(|()| true)?,
        _ => false,
    };
    println!("{}", system.url());
    if let Some(key) = system.first_key.as_ref().filter(|_| !written) {
        println!("operator key (shown only now): {key}");
    }
    // A pipe would keep it back otherwise.
    std::io::stdout().flush()?;
    system.run().await
}

/// For its owner's eyes only.
fn write_key(path: &Path, key: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{key}"))
        .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", path.display())))
}

/// The whole system, opened and listening, not yet serving.
pub(crate) struct System {
    pub(crate) address: SocketAddr,
    /// The operator's key, where this was the first start.
    pub(crate) first_key: Option<String>,
    config: Config,
    deps: Deps,
    parts: Vec<Part>,
    listener: TcpListener,
}

impl System {
    /// Opens the store and binds the listener.
    pub(crate) async fn open(
        config: &Config,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        let listener = listen(&config.http.listen)?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.http.listen.clone(),
            source,
        })?;
        let deps = Deps::open(config, shutdown).await?;
        let first_key = windlass_state_api::ensure_operator_key(&deps, config).await?;
        let parts = vec![
            windlass_webhook_ingest::part(config, &deps).await?,
            windlass_rollout_planner::part(config, &deps).await?,
            windlass_health_checker::part(config, &deps).await?,
            windlass_rollback_manager::part(config, &deps).await?,
            windlass_state_api::part(config, &deps).await?,
        ];
        Ok(Self {
            address,
            first_key,
            config: config.clone(),
            deps,
            parts,
            listener,
        })
    }

    /// Its address as people and devices give it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until shutdown.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let served = serve(self.parts, &self.deps, &self.config.http, self.listener)
            .await
            .map_err(StartError::from);
        self.deps.store.close().await;
        Ok(served?)
    }
}
