//! `windlass up`: every service in this process, on one listener.

use crate::cli::{CheckConfig, Up};
use crate::exit::Failure;
use crate::local::{Local, Place};
use crate::output::Out;
use std::fs::{File, Permissions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tokio_util::sync::CancellationToken;
use windlass_service::config::{Config, StoreSection, environment};
use windlass_service::{Deps, Part, StartError, cancel_on_signal, listen, open_files, serve};

/// The data folder, where none is named.
pub(crate) const DATA: &str = "windlass-data";

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
    keep_data(&mut config, given.data.as_deref())?;
    windlass_settings::log::init(&config.log);
    let shutdown = CancellationToken::new();
    cancel_on_signal(&shutdown);
    let system = System::open(&config, shutdown).await?;
    // The key can be shown only once: it is made when nothing is left that could end the program first.
    let file = given.key_file.as_deref().map(KeyFile::open).transpose()?;
    let key = system.first_key().await?;
    // After the first key, which is for people.
    let local = match given.agent {
        false => None,
        true => {
            let place = Place {
                data: given.data.as_deref(),
                engine: given.engine.as_deref(),
                address: system.address,
            };
            Some(Local::open(&place, &system.deps).await?)
        }
    };
    // The file first: whoever reads the address may look for the key at once.
    let shown = match (key, file) {
        (Some(key), Some(file)) => file.write(&key).err().map(|error| {
            eprintln!("windlass: {}", error.message);
            key
        }),
        (None, Some(file)) => {
            file.leave();
            None
        }
        (key, None) => key,
    };
    println!("{}", system.url());
    if let Some(key) = shown {
        println!("operator key (shown only now): {key}");
    }
    // A pipe would keep it back otherwise.
    std::io::stdout().flush()?;
    match local {
        None => system.run().await,
        Some(local) => beside(system, local).await,
    }
}

/// Serves, with this machine's agent beside it: where one ends the other does.
async fn beside(system: System, local: Local) -> Result<(), Failure> {
    let shutdown = system.deps.shutdown.clone();
    let agent = async {
        let ended = local.run(&shutdown).await;
        shutdown.cancel();
        ended
    };
    let (served, ended) = tokio::join!(system.run(), agent);
    served.and(ended)
}

/// Puts the database into the folder `data`, unless the settings say where it is.
fn keep_data(config: &mut Config, data: Option<&Path>) -> Result<(), Failure> {
    if config.store.url != StoreSection::default().url {
        return match data {
            Some(_) => Err(Failure::usage(
                "--data (or WINDLASS_DATA) and store.url both say where the database is; give one of them",
            )),
            None => Ok(()),
        };
    }
    let data = data.unwrap_or_else(|| Path::new(DATA));
    std::fs::create_dir_all(data)
        .map_err(|error| Failure::usage(format!("{} cannot be made: {error}", data.display())))?;
    config.store.url = format!("sqlite:{}", data.join("windlass.db").display());
    Ok(())
}

/// Where the first operator's key goes: opened before there is one. A key of an earlier start that
/// stands there stays until there is another.
struct KeyFile<'p> {
    path: &'p Path,
    file: File,
}

impl<'p> KeyFile<'p> {
    fn open(path: &'p Path) -> Result<Self, Failure> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .and_then(|file| {
                // The mode above is only for a file that was not there.
                if file.metadata()?.is_file() {
                    file.set_permissions(Permissions::from_mode(0o600))?;
                }
                Ok(file)
            })
            .map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path, file })
    }

    /// For a start that made no key: an empty file would look like one that was lost.
    fn leave(self) {
        let empty = |found: std::fs::Metadata| found.is_file() && found.len() == 0;
        if self.file.metadata().is_ok_and(empty) {
            std::fs::remove_file(self.path).ok();
        }
    }

    fn write(mut self, key: &str) -> Result<(), Failure> {
        let mut write = || {
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            writeln!(self.file, "{key}")
        };
        write().map_err(|error| cannot_write(self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}

/// The whole system, opened and listening, not yet serving.
pub(crate) struct System {
    pub(crate) address: SocketAddr,
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
        open_files(&config.http);
        let listener = listen(&config.http.listen)?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.http.listen.clone(),
            source,
        })?;
        let deps = Deps::open(config, shutdown).await?;
        let parts = vec![
            windlass_webhook_ingest::part(config, &deps).await?,
            windlass_rollout_planner::part(config, &deps).await?,
            windlass_health_checker::part(config, &deps).await?,
            windlass_rollback_manager::part(config, &deps).await?,
            windlass_state_api::part(config, &deps).await?,
        ];
        Ok(Self {
            address,
            config: config.clone(),
            deps,
            parts,
            listener,
        })
    }

    /// The operator's key, where none was made before. It cannot be had again.
    pub(crate) async fn first_key(&self) -> Result<Option<String>, StartError> {
        windlass_state_api::ensure_operator_key(&self.deps, &self.config).await
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
