//! `kobel serve`: puts the parts together, and takes them apart in order.

mod cluster;
mod farewell;
mod fleet;
mod signals;
mod sockets;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use kobel_collect::{CollectStats, Target, agent::AgentLinks, local};
use kobel_fanout::{Accept, Listen, Plain, Server, Vouch};
use kobel_hub::{
    cluster::BusError,
    demand::Demand,
    hub::Hub,
    ingest,
    logs::{
        live::{LogHub, LogSources},
        store::{Keep, LogStore, LogStoreTask},
    },
    store::{SecretKeys, Store, StoreError, StoredDevice},
    system::Monitor,
};
use kobel_wire::{Device, DeviceState, Engine, Facts, SourceKind, Timestamp};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Clustering, Config, ConfigError, Docker},
    data_folder::{self, DataFolderError},
    devices::{Here, OverSsh, not_looked_for},
    http::{self, Guard, Readiness, Shared, Site},
    metrics::{self, Gather},
    sign_in::{self, Known, SignIn, Throttle},
    tls::{Tls, TlsError},
};

use fleet::Fleet;
pub(crate) use fleet::{Dial, FleetHandle, Pins, Reading};
pub(crate) use signals::Signals;

/// How long a printed sign-in link holds.
pub(crate) const LINK_LIFETIME: Duration = Duration::from_secs(3600);

/// How long viewers get to take what waits for them.
const DRAIN: Duration = Duration::from_secs(2);

/// How long each further step of the shutdown may take.
const STEP: Duration = Duration::from_secs(3);

/// Why the hub did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The store cannot be used.
    #[error("the store in {0} cannot be used: {1}")]
    Store(String, StoreError),
    /// The log store cannot be used.
    #[error("the log store in {0} cannot be used: {1}; do without it by --log-store off")]
    LogStore(String, io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; choose another address by --listen")]
    Listen(SocketAddr, io::Error),
    /// The nodes' Redis cannot be used.
    #[error("cannot join the other nodes: {0}; see --redis-url")]
    Redis(BusError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave no threads, no signals or no sockets.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A part that must run ended by itself.
    #[error("{0} ended unexpectedly; see the log")]
    Ended(&'static str),
}

/// Runs the hub until it is told to end.
pub(crate) async fn run(config: Config) -> Result<(), ServeError> {
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    sockets::raise_limit(config.serve.connections);
    let listener =
        sockets::listen(config.listen).map_err(|error| ServeError::Listen(config.listen, error))?;
    // The port may have been chosen by the system.
    let config = Config { listen: listener.local_addr()?, ..config };
    let _lock = data_folder::lock(&config.data, &config.base_url())?;
    let store_error = |error| ServeError::Store(config.database.to_string(), error);
    let store = Store::open_database(&config.database).await.map_err(store_error)?;

    let facts = local::facts();
    let guard = Guard::new(
        &facts.hostname,
        config.public_url.as_ref(),
        &config.allowed_hosts,
        &config.allowed_origins,
    );
    let device =
        this_machine(&store, &facts, config.cluster.as_ref()).await.map_err(store_error)?;
    let (ingest, inbox) = ingest::channel();
    let stats = Arc::new(CollectStats::default());

    // Ended in this order: sources, then viewers, then the hub between them.
    let (sources, hub_end, accept) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut tasks: JoinSet<&'static str> = JoinSet::new();

    let mut hub = Hub::new(&epoch(), config.max_subscriptions);
    let demand = Demand::default();
    let hostname = facts.hostname.clone();
    if config.cluster.is_none() {
        hub.add_device(described(&device, facts, &config), &demand);
    }
    let handle = hub.handle();
    let mut fanout = config.fanout.clone();
    let cluster = match &config.cluster {
        None => None,
        Some(clustering) => {
            let joining = cluster::node(clustering, &config, &hostname, device.uuid)?;
            fanout.node = joining.tag();
            let (cluster, node) = joining.join(ingest.clone(), &mut hub);
            // Its sources end before it leaves, or another node would begin too early.
            let (leaving, handle) = (hub_end.clone(), handle.clone());
            tasks.spawn(async move {
                node.run(handle, leaving).await;
                "the cluster's node"
            });
            Some(cluster)
        }
    };
    let known = Arc::new(Known::default());
    let sign_in = Arc::new(SignIn::new(store.clone(), guard.clone(), Arc::clone(&known)));
    let gate = Arc::new(hub.gate(sign_in, hub_end.clone()));
    let server = Server::start(fanout, gate)?;

    let log_sources = LogSources::default();
    let (mut logs, log_requests) = LogHub::new(log_sources.clone(), config.redaction.clone());
    let log_store = match config.log_store {
        Some(keep) => {
            let (log_store, storing) = open_log_store(&config.data, keep).await?;
            logs = logs.stored(log_store.clone());
            // It goes on for a moment: what the streams still hold goes there.
            let ending = hub_end.clone();
            tasks.spawn(async move {
                storing.run(ending).await;
                "the log store"
            });
            Some(log_store)
        }
        None => None,
    };
    if let Some(cluster) = &cluster {
        logs = logs.clustered(Arc::new(cluster.logs().clone()));
    }
    let log_volume = logs.volume();
    let following = logs.run(server.clone(), hub_end.clone());
    tasks.spawn(async {
        following.await;
        "the log streams"
    });
    let running = hub.run(inbox, server.clone(), log_requests, hub_end.clone());
    tasks.spawn(async {
        running.await;
        "the hub"
    });
    let agents = AgentLinks::new(
        store.clone(),
        handle.clone(),
        ingest.clone(),
        log_sources.clone(),
        sources.clone(),
    );
    let (ending, steward) = (agents.clone(), cluster.as_ref().map(|c| c.steward().clone()));
    tasks.spawn(async move {
        if let Some(steward) = steward {
            ending.clustered(steward).await;
        }
        ending.ended().await;
        "the agent links"
    });
    let secret_keys = SecretKeys::in_file(&config.secret_key_file);
    let here = Here {
        docker: config.docker.clone(),
        ingest: ingest.clone(),
        logs: log_sources.clone(),
        stats: Arc::clone(&stats),
    };
    let dial = OverSsh {
        ingest: ingest.clone(),
        logs: log_sources.clone(),
        stats: Arc::clone(&stats),
        store: store.clone(),
        keys: secret_keys.clone(),
        here: here.clone(),
    };
    let fleet =
        Fleet::new(store.clone(), handle.clone(), log_sources.clone(), dial, cluster.clone());
    let fleet_handle = fleet.handle();
    let keeping_step = fleet.run(sources.clone());
    tasks.spawn(async {
        keeping_step.await;
        "the watch over the inventory"
    });
    let watching =
        sign_in::watch(store.clone(), handle.clone(), agents.clone(), known, hub_end.clone());
    tasks.spawn(async {
        watching.await;
        "the watch over credentials"
    });
    let monitor = Monitor {
        server: server.clone(),
        hub: handle.clone(),
        process: metrics::read_process,
        version: env!("CARGO_PKG_VERSION"),
    };
    let measuring = monitor.run(hub_end.clone());
    tasks.spawn(async {
        measuring.await;
        "the reading of the hub's own figures"
    });
    if cluster.is_none() {
        let target = Target { device: device.uuid, id: device.id };
        let reading = here.read(target, demand, sources.clone());
        tasks.spawn(async {
            reading.await;
            "the reading of this machine"
        });
    }

    let forward = match &cluster {
        Some(cluster) => Some(cluster::forward(cluster, &config).await?),
        None => None,
    };
    let ready = Readiness::default();
    let shared = Arc::new(Shared {
        store: store.clone(),
        secret_keys,
        hub: handle.clone(),
        fleet: fleet_handle,
        tests: http::test_places(),
        guard: guard.clone(),
        session_lifetime: config.session_lifetime,
        secure: config.is_secure(),
        throttle: Mutex::new(Throttle::default()),
        metrics: Gather {
            server: server.clone(),
            hub: handle,
            ingest,
            collect: stats,
            logs: log_volume,
            log_store: log_store.clone(),
            agents: agents.clone(),
            forward: forward.clone(),
            cluster: cluster.clone(),
        },
        log_store,
        agents,
        ready: ready.clone(),
        cluster: cluster.clone(),
        forward: forward.clone(),
    });
    let site = Site::new(guard, server.clone(), forward.clone(), shared);
    let vouch = forward.clone().map(|forward| Arc::new(forward) as Arc<dyn Vouch>);
    match tls {
        None => listen(listener, Plain, vouch, &config, site, &accept, &mut tasks),
        Some((tls, renewal)) => {
            let renewing = renewal.run(hub_end.clone());
            tasks.spawn(async {
                renewing.await;
                "the watch over the certificate"
            });
            listen(listener, tls, vouch, &config, site, &accept, &mut tasks);
        }
    }

    let mut signals = Signals::new()?;
    ready.set(true);
    tracing::info!(
        address = %config.listen, data = %config.data.display(), database = %config.database,
        "listening"
    );
    greet(&config, &store, &device).await.map_err(store_error)?;

    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "shutting down; once more to end at once");
            Ok(())
        }
        ended = tasks.join_next() => match ended {
            Some(Ok(part)) => Err(ServeError::Ended(part)),
            _ => Err(ServeError::Ended("a part of the hub")),
        },
    };

    ready.set(false);
    let shutdown = async {
        if let Some(cluster) = &cluster {
            // Others take over what anybody can read, while this one still answers.
            cluster.steward().drain().await;
        }
        sources.cancel();
        // New sessions are refused by now; clients on polling come by once more for the farewell.
        server.shutdown(DRAIN, farewell::spread()).await;
        if let Some(forward) = forward {
            forward.shutdown().await;
        }
        accept.cancel();
        hub_end.cancel();
        if timeout(STEP, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        store.close().await;
    };
    tokio::select! {
        () = shutdown => tracing::info!("ended"),
        signal = signals.next() => tracing::warn!(signal, "ended at once"),
    }
    ended
}

async fn open_log_store(data: &Path, keep: Keep) -> Result<(LogStore, LogStoreTask), ServeError> {
    let folder = data.join("logs");
    let path = folder.display().to_string();
    let opened = tokio::task::spawn_blocking(move || LogStore::open(&folder, keep)).await;
    opened.map_err(io::Error::other).flatten().map_err(|error| ServeError::LogStore(path, error))
}

/// Starts to answer requests.
fn listen<A: Accept>(
    listener: TcpListener,
    accept: A,
    vouch: Option<Arc<dyn Vouch>>,
    config: &Config,
    site: Site,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<&'static str>,
) {
    let app = move |request, remote| {
        let site = site.clone();
        async move { site.answer(request, remote).await }
    };
    let (limits, proxies) = (config.serve.clone(), config.proxies.clone());
    let listen = Listen { limits, accept, proxies, vouch };
    let listening = kobel_fanout::serve_with(listener, listen, app, cancel.clone());
    tasks.spawn(async {
        if let Err(error) = listening.await {
            tracing::error!(%error, "the listener failed");
        }
        "the listener"
    });
}

/// This machine's identity; its machine-id(5) tells it from another one that the folder is moved
/// to.
async fn this_machine(
    store: &Store,
    facts: &Facts,
    cluster: Option<&Clustering>,
) -> Result<StoredDevice, StoreError> {
    let key = match (local::machine_id(), cluster) {
        (Some(id), _) => id,
        // As in a container: all of them would be one machine.
        (None, Some(cluster)) => cluster.name.clone().unwrap_or_else(|| facts.hostname.clone()),
        (None, None) => String::new(),
    };
    store.device(SourceKind::Local, &key, &facts.hostname, Timestamp::now()).await
}

fn described(device: &StoredDevice, facts: Facts, config: &Config) -> Device {
    let now = Timestamp::now();
    let engine = match config.docker {
        Docker::Off => not_looked_for(),
        _ => Engine::unknown(now),
    };
    Device {
        device_uuid: device.uuid,
        id: device.id,
        name: device.name.clone(),
        tags: device.tags.clone(),
        group: device.group.clone(),
        source: SourceKind::Local,
        state: DeviceState::Online,
        state_reason: None,
        state_since: now,
        facts,
        engine,
    }
}

/// Names this run, so that a viewer's position in a stream of the run before is known to be old.
fn epoch() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

async fn greet(config: &Config, store: &Store, device: &StoredDevice) -> Result<(), StoreError> {
    let base = config.base_url();
    println!("Kobel {} watches {} and its containers.", env!("CARGO_PKG_VERSION"), device.name);
    let admin = store.first_admin(Timestamp::now()).await?;
    if store.nobody_has_a_password().await? {
        let link = store.make_link(admin.id, LINK_LIFETIME, Timestamp::now()).await?;
        println!("\n  {base}/sign-in#{}\n", link.secret);
        println!("Open this link to sign in as {}. It works once, within an hour.", admin.name);
    } else {
        println!("\n  {base}\n");
    }
    if !config.listen.ip().is_loopback() && config.public_url.is_none() && config.tls.is_none() {
        tracing::warn!(
            "other machines can reach this hub, without encryption; give it a certificate by \
             --tls-cert and --tls-key, or put a proxy with TLS before it and name it by \
             --public-url"
        );
    }
    Ok(())
}

/// Where the link for a folder's hub points to.
pub(crate) fn link_base(folder: &Path) -> String {
    data_folder::base_url(folder).unwrap_or_else(|| "http://127.0.0.1:8000".into())
}
