//! Assembles the service and shuts it down. The only file that names concrete stores and buses.

mod http_apis;
mod nodes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{FutureExt as _, select_all};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::app::clock::{Clock, SystemClock};
use crate::app::media::PageMediaSource;
use crate::app::{self, App, Drivers, Nodes};
use crate::auth::secret::InternalSecrets;
use crate::auth::token::{KeyError, Tokens};
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::bus::redis::{RedisBus, RedisConfig, RedisConfigError};
use crate::config::{Config, StoreConfig};
use crate::domain::error::Error;
use crate::domain::id::random_id;
use crate::readiness::{Readiness, ReadinessState};
use crate::rest::DescriptorsError;
use crate::rpc::{self, Calls, Health, ServeError};
use crate::store::mongo::{self, MongoStore};
use crate::store::observed::ObservedStore;
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{StoreError, Stores};
use crate::telemetry::metrics::Metrics;
use crate::web;
use http_apis::{HttpApi, http_apis};
use nodes::make_drivers;

pub use nodes::{NodeReloader, ReloadError, UnusableNode};

/// The service could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// An address is in use, or not an address of this machine.
    #[error("cannot listen on {setting} {addr}")]
    Bind {
        /// The setting.
        setting: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The embedded store cannot be opened.
    #[error("the embedded store cannot be opened")]
    Sqlite(#[from] OpenError),
    /// The MongoDB driver refuses MONGO_URI.
    #[error("MONGO_URI cannot be used")]
    Mongo(#[source] StoreError),
    /// The driver refuses REDIS_URL or REDIS_CA_FILE.
    #[error("the bus between instances cannot be used")]
    Redis(#[from] RedisConfigError),
    /// A key cannot be used.
    #[error("the signing key cannot be used")]
    Key(#[from] KeyError),
    /// An SFU node cannot be used as it is configured.
    #[error(transparent)]
    Node(#[from] UnusableNode),
    /// The gRPC server failed.
    #[error("the gRPC edge failed")]
    Rpc(#[from] ServeError),
    /// The JSON edge cannot be set up.
    #[error(transparent)]
    Rest(#[from] DescriptorsError),
    /// A server ended, although nothing had told it to.
    #[error("nothing serves {0} any more")]
    Ended(&'static str),
    /// The store failed and recovers only with a restart.
    #[error("the store has failed; restart the service")]
    StoreLost,
    /// A part of the service panicked.
    #[error("a part of the service panicked")]
    Panicked(#[from] JoinError),
}

/// Where a service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// GRPC_ADDR
    pub grpc: SocketAddr,
    /// ADMIN_ADDR
    pub admin: SocketAddr,
    /// HTTP_ADDR
    pub http: SocketAddr,
    /// HEALTH_ADDR
    pub health: Option<SocketAddr>,
    /// REST_ADDR
    pub rest: Option<SocketAddr>,
    /// LEGACY_ADDR
    pub legacy: Option<SocketAddr>,
}

/// A service that listens but does not serve yet.
pub struct Service {
    config: Config,
    grpc: TcpListener,
    admin: TcpListener,
    http: TcpListener,
    health_only: Option<TcpListener>,
    /// Further HTTP servers, each with its setting.
    http_apis: Vec<HttpApi>,
    app: Arc<App>,
    stores: Stores,
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    calls: Calls,
    health: Health,
    readiness: ReadinessState,
    /// Cancelled when streams must end.
    closing: CancellationToken,
    bus_tasks: BusTasks,
}

/// The bus between instances stops after everything that publishes on it.
#[derive(Default)]
struct BusTasks {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    /// Binds every address first, so that a conflict is found before anything else is done; then opens the store.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn start(config: Config) -> Result<Self, BootError> {
        let grpc = bind("GRPC_ADDR", config.grpc_addr).await?;
        let admin = bind("ADMIN_ADDR", config.admin_addr).await?;
        let http = bind("HTTP_ADDR", config.http_addr).await?;
        let health_only = bind_optional("HEALTH_ADDR", config.health_addr).await?;
        let rest = bind_optional("REST_ADDR", config.rest_addr).await?;
        let legacy = bind_optional("LEGACY_ADDR", config.legacy_addr).await?;
        let metrics = Arc::new(Metrics::default());
        let tokens = Arc::new(Tokens::new(&config.tokens)?);
        let stores = open_stores(&config.store).await?;
        let stores = Stores::of(Arc::new(ObservedStore::new(stores, Arc::clone(&metrics))));
        let closing = CancellationToken::new();
        let shutting_down = Error::ShuttingDown {
            retry_after: config.rpc.retry_after,
        };
        let watches_max = config.rpc.health_watches_max;
        let readiness = ReadinessState::default();
        let health = Health::new(
            readiness.clone(),
            closing.clone(),
            shutting_down,
            watches_max,
        );
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let drivers = make_drivers(&config.nodes, config.sfu)?;
        let listed = config.nodes.iter().map(|settings| settings.node.clone());
        let nodes = Arc::new(Nodes::new(listed.collect(), config.node_health));
        let instance_id = random_id();
        let bus_tasks = BusTasks::default();
        let bus = open_bus(config.redis.as_ref(), &instance_id, &metrics, &bus_tasks)?;
        let app_parts = app::Parts {
            stores: stores.clone(),
            bus,
            tokens: Arc::clone(&tokens),
            page_media: Arc::new(PageMediaSource::new(config.ice.clone(), Arc::clone(&clock))),
            nodes,
            drivers: Arc::new(Drivers::new(drivers)),
            clock,
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            instance_id,
        };
        let app = Arc::new(App::new(app_parts, &config.app, closing.clone()));
        let secrets = InternalSecrets::new(
            &config.internal_secret,
            config.internal_secret_previous.as_ref(),
        );
        let rpc_parts = rpc::Parts {
            api: Api::new(Arc::clone(&app), config.api.clone()),
            secrets: Arc::new(secrets),
            health: health.clone(),
            metrics: Arc::clone(&metrics),
        };
        let calls = Calls::new(&config.rpc, rpc_parts)?;
        let http_apis = http_apis(&config, rest, legacy, &calls, &app, &metrics, &closing)?;
        Ok(Self {
            config,
            grpc,
            admin,
            http,
            health_only,
            http_apis,
            app,
            stores,
            tokens,
            metrics,
            calls,
            health,
            readiness,
            closing,
            bus_tasks,
        })
    }

    /// The addresses, with the ports that the system chose for port 0.
    ///
    /// # Errors
    /// If the system does not return an address.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        let health = self.health_only.as_ref().map(TcpListener::local_addr);
        let address = |setting| {
            let mut apis = self.http_apis.iter();
            let api = apis.find(|api| api.setting == setting);
            api.map(|api| api.listener.local_addr()).transpose()
        };
        Ok(Addresses {
            grpc: self.grpc.local_addr()?,
            admin: self.admin.local_addr()?,
            http: self.http.local_addr()?,
            health: health.transpose()?,
            rest: address("REST_ADDR")?,
            legacy: address("LEGACY_ADDR")?,
        })
    }

    /// Changes the SFU nodes while the service runs; `None` if no file lists them.
    pub fn node_reloader(&self) -> Option<NodeReloader> {
        let file = self.config.nodes_file.clone()?;
        Some(NodeReloader::new(file, &self.config, &self.app))
    }

    /// The application.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Serves until `stop` completes, then drains: stops being ready, accepts calls for `drain_delay` more, then closes
    /// streams and gives calls in progress `drain_timeout` to finish.
    ///
    /// # Errors
    /// [`BootError`] if a part of the service fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), BootError> {
        let Self {
            config,
            grpc,
            admin,
            http,
            health_only,
            http_apis,
            app,
            stores,
            tokens,
            metrics,
            calls,
            health,
            readiness,
            closing,
            bus_tasks,
        } = self;
        let tasks = TaskTracker::new();
        let stop_upkeep = CancellationToken::new();
        let stop_serving = CancellationToken::new();
        app.upkeep.start_tasks(&tasks, &stop_upkeep, &closing);
        // Else the first sessions that need a media server would find none.
        app.nodes.probed(config.app.probes.timeout).await;
        let (signalling, doctors) = (Arc::clone(&app.signalling), Arc::clone(&app.doctors));
        let serving = web::serve(
            http,
            config.web.clone(),
            signalling,
            doctors,
            closing.clone(),
        );
        let serving_http = tasks.spawn(serving.map(Ok));
        let web_parts = web::admin::Parts {
            tokens,
            metrics,
            webhooks: web::Webhooks {
                reconciler: Arc::clone(&app.reconciler),
                limits: config.web.webhooks,
            },
        };
        let serving_admin = tasks
            .spawn(web::admin::serve(admin, web_parts, config.admin, stop_serving.clone()).map(Ok));
        if let Some(listener) = health_only {
            let config = config.rpc.clone();
            let stop = stop_serving.clone();
            tasks.spawn(async move { rpc::serve_health(listener, &config, health, stop).await });
        }
        let mut servers = vec![("HTTP_ADDR", serving_http), ("ADMIN_ADDR", serving_admin)];
        for api in http_apis {
            let (config, tls) = (config.rpc.clone(), config.tls.clone());
            let stop = stop_serving.clone();
            let serving = tasks.spawn(async move {
                rpc::serve_http(api.listener, &config, tls.as_ref(), api.router, stop).await
            });
            servers.push((api.setting, serving));
        }
        let serving_grpc = tasks.spawn({
            let (config, tls) = (config.rpc.clone(), config.tls.clone());
            let stop = stop_serving.clone();
            async move { rpc::serve(grpc, &config, tls.as_ref(), calls, stop).await }
        });
        servers.push(("GRPC_ADDR", serving_grpc));

        let outcome = tokio::select! {
            failed = first_end(servers) => Err(failed),
            () = stores.health.lost() => Err(BootError::StoreLost),
            () = stop => Ok(()),
        };
        tracing::info!("draining");
        stop_upkeep.cancel();
        readiness.set(Readiness::Draining);
        tokio::time::sleep(config.drain_delay).await;
        closing.cancel();
        stop_serving.cancel();
        tasks.close();
        finish_calls(&tasks, &app, config.drain_timeout).await;
        bus_tasks.finish().await;
        stores.health.close().await;
        tracing::info!("stopped");
        outcome
    }
}

impl BusTasks {
    async fn finish(self) {
        self.stop.cancel();
        self.tasks.close();
        // Takes as long as an answer of Redis at most.
        self.tasks.wait().await;
    }
}

fn open_bus(
    config: Option<&RedisConfig>,
    instance_id: &str,
    metrics: &Arc<Metrics>,
    tasks: &BusTasks,
) -> Result<Arc<dyn Bus>, RedisConfigError> {
    let Some(config) = config else {
        return Ok(Arc::new(LocalBus::default()));
    };
    let (bus, link) = RedisBus::new(config, instance_id, Arc::clone(metrics))?;
    tasks.tasks.spawn(link.run(tasks.stop.clone()));
    Ok(Arc::new(bus))
}

/// Waits until a server fails, or ends.
async fn first_end(servers: Vec<(&'static str, JoinHandle<Result<(), ServeError>>)>) -> BootError {
    let ends = servers.into_iter().map(|(setting, serving)| {
        serving
            .map(move |end| match end {
                Ok(Ok(())) => BootError::Ended(setting),
                Ok(Err(failed)) => failed.into(),
                Err(panicked) => panicked.into(),
            })
            .boxed()
    });
    select_all(ends).await.0
}

async fn finish_calls(tasks: &TaskTracker, app: &App, drain_timeout: Duration) {
    let finished = async {
        tasks.wait().await;
        app.finish().await;
    };
    if tokio::time::timeout(drain_timeout, finished).await.is_err() {
        tracing::warn!("calls were still in progress after DRAIN_TIMEOUT_SECS");
    }
}

async fn bind(setting: &'static str, addr: SocketAddr) -> Result<TcpListener, BootError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| BootError::Bind {
            setting,
            addr,
            source,
        })
}

async fn bind_optional(
    setting: &'static str,
    addr: Option<SocketAddr>,
) -> Result<Option<TcpListener>, BootError> {
    match addr {
        Some(addr) => bind(setting, addr).await.map(Some),
        None => Ok(None),
    }
}

async fn open_stores(config: &StoreConfig) -> Result<Stores, BootError> {
    Ok(match config {
        StoreConfig::Embedded(config) => Stores::of(Arc::new(SqliteStore::open(config)?)),
        StoreConfig::Mongo(config) => {
            let options = mongo::client_options(config)
                .await
                .map_err(BootError::Mongo)?;
            let store = MongoStore::new(options, config).map_err(BootError::Mongo)?;
            Stores::of(Arc::new(store))
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::config::env::Env;

    const SETTINGS: [&str; 3] = ["GRPC_ADDR", "HTTP_ADDR", "ADMIN_ADDR"];
    const LIMIT: Duration = Duration::from_secs(60);

    fn serving() -> JoinHandle<Result<(), ServeError>> {
        tokio::spawn(std::future::pending())
    }

    #[tokio::test]
    async fn each_server_is_watched_for_its_end_and_for_panics() {
        for one in SETTINGS {
            let or = |other: JoinHandle<_>| {
                let mut other = Some(other);
                let servers = SETTINGS.map(|setting| {
                    let is_one = setting == one;
                    let handle = is_one.then(|| other.take()).flatten();
                    (setting, handle.unwrap_or_else(serving))
                });
                Vec::from(servers)
            };
            let ended = timeout(LIMIT, first_end(or(tokio::spawn(async { Ok(()) })))).await;
            assert!(matches!(ended, Ok(BootError::Ended(setting)) if setting == one));
            let panicking = tokio::spawn(async { panic!("of this test") });
            let panicked = timeout(LIMIT, first_end(or(panicking))).await;
            assert!(matches!(panicked, Ok(BootError::Panicked(_))), "{one}");
        }
    }

    #[tokio::test]
    async fn the_service_ends_when_its_http_server_ends() {
        let home = tempfile::tempdir().unwrap();
        let lookup = |name: &str| match name {
            "DATA_DIR" => Some(home.path().display().to_string()),
            "GRPC_ADDR" | "HTTP_ADDR" | "ADMIN_ADDR" | "REST_ADDR" => {
                Some("127.0.0.1:0".to_owned())
            }
            _ => None,
        };
        let config = Config::read(Env::new(&lookup), true).unwrap();
        let service = Service::start(config).await.unwrap();
        // All that the server at HTTP_ADDR waits for; the others serve on.
        service.closing.cancel();
        let outcome = timeout(LIMIT, service.run(std::future::pending())).await;
        assert!(matches!(outcome, Ok(Err(BootError::Ended("HTTP_ADDR")))));
    }
}
