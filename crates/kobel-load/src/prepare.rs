//! From the options to the plan: addresses, devices, processes.

use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{net::lookup_host, task::spawn_blocking};

use crate::{LoadArgs, LoadError, Transport, plan::Plan, probe};

/// Open files that a process needs beside its connections.
const OTHER_FILES: u64 = 64;

/// Connections from one source address on a loopback: of some 28,000 ports by default, and at
/// Kobel's own limit.
const PER_SOURCE: u32 = 20_000;

/// What the workers are told, for at most so many connections.
pub(crate) async fn plan(args: &LoadArgs, most: u32) -> Result<Plan, LoadError> {
    let address = resolve(args).await?;
    let authority = args.url.authority();
    let mut headers = format!("Host: {authority}\r\nUser-Agent: kobel-load\r\n");
    for header in &args.headers {
        headers.push_str(header);
        headers.push_str("\r\n");
    }
    let auth = args.token.as_ref().map(|token| serde_json::json!({ "token": token }));
    let workers = args.processes.unwrap_or_else(|| processes(most, args.transport));
    let many = address.ip().is_loopback() && address.is_ipv4() && most > PER_SOURCE;
    let mut plan = Plan {
        address,
        resource: format!("{}?EIO=4", args.url.path),
        headers,
        connect: format!("40{}", auth.map_or(String::new(), |auth| auth.to_string())),
        transport: args.transport,
        subscriptions: Default::default(),
        stamp: args.stamp.clone(),
        connect_timeout_ms: args.connect_timeout.as_millis() as u64,
        worker: 0,
        workers: workers.min(most),
        per_source: if many { PER_SOURCE } else { 0 },
    };
    let devices = if args.asks_for_devices() {
        let plan = plan.clone();
        let asked = spawn_blocking(move || probe::devices(&plan)).await;
        asked.map_err(|error| LoadError::Devices(error.to_string()))??
    } else {
        Vec::new()
    };
    plan.subscriptions = args.subscriptions(devices).map_err(LoadError::Emit)?;
    Ok(plan)
}

async fn resolve(args: &LoadArgs) -> Result<SocketAddr, LoadError> {
    let (host, port) = (args.url.host.clone(), args.url.port);
    let wrong = |why| LoadError::Resolve { host: host.clone(), why };
    let found = lookup_host((host.as_str(), port)).await;
    let mut found: Vec<_> = found.map_err(|error| wrong(error.to_string()))?.collect();
    // Source addresses can be spread over IPv4's loopback only.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| wrong("none".into()))
}

/// As many as the limit of open files asks for, after it has been raised to what it may be.
fn processes(connections: u32, transport: Transport) -> u32 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // It stays as it is otherwise.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let sockets = u64::from(connections) * if transport == Transport::Polling { 2 } else { 1 };
    match getrlimit(Resource::Nofile).current {
        None => 1,
        Some(files) => {
            let each = files.saturating_sub(OTHER_FILES).max(1);
            u32::try_from(sockets.div_ceil(each)).unwrap_or(u32::MAX).clamp(1, 64)
        }
    }
}
