//! From the data types to the messages of the link.

use kobel_wire::{
    Container, ContainerId, ContainerState, Engine, EngineKind, EngineState, Facts, Health,
    LogPolicy, Pressure, Sample, SourceKind, Summary,
    proto::{
        ContainerHealth, ContainerReport, ContainerState as WireState, DeviceClaim,
        EngineKind as Kind, EngineReport, EngineState as WireEngine, HostFacts, HostInterface,
        HostMount, HostPressure, HostProcess, HostProcesses, HostSample, HostSummary,
        SourceKind as Source,
    },
};

use super::Claim;

pub(super) fn source(source: SourceKind) -> Source {
    match source {
        SourceKind::Simulated => Source::Simulated,
        _ => Source::Agent,
    }
}

pub(super) fn claim(device: u32, claim: &Claim) -> DeviceClaim {
    DeviceClaim {
        device,
        key: claim.key.clone(),
        name: claim.name.clone(),
        tags: claim.tags.clone(),
        facts: Some(facts(&claim.facts)),
        engine: Some(engine(&claim.engine)),
    }
}

pub(super) fn facts(facts: &Facts) -> HostFacts {
    HostFacts {
        hostname: facts.hostname.clone(),
        os: facts.os.clone(),
        kernel: facts.kernel.clone(),
        arch: facts.arch.clone(),
        cpu_model: facts.cpu_model.clone(),
        cpu_count: facts.cpu_count,
        booted_at_ms: facts.booted_at.map(|at| at.as_millis()),
    }
}

pub(super) fn engine(engine: &Engine) -> EngineReport {
    let state = match engine.state {
        EngineState::Unknown => WireEngine::Unknown,
        EngineState::Connected => WireEngine::Connected,
        EngineState::Absent => WireEngine::Absent,
        EngineState::Denied => WireEngine::Denied,
        EngineState::Error => WireEngine::Error,
    };
    let kind = engine.kind.map(|kind| match kind {
        EngineKind::Docker => Kind::Docker,
        EngineKind::Podman => Kind::Podman,
    });
    EngineReport {
        state: state.into(),
        kind: kind.map(Into::into),
        version: engine.version.clone(),
        endpoint: engine.endpoint.clone(),
        message: engine.message.clone(),
        since_ms: engine.since.as_millis(),
    }
}

pub(super) fn sample(device: u32, sample: &Sample) -> HostSample {
    let float = |value: Option<f64>| value.map(|value| value as f32);
    let pressure =
        |p: &Pressure| HostPressure { cpu: float(p.cpu), memory: float(p.memory), io: float(p.io) };
    HostSample {
        device,
        sampled_at_ms: sample.sampled_at.as_millis(),
        cpu: float(sample.cpu),
        cores: sample.cores.iter().map(|core| *core as f32).collect(),
        iowait: float(sample.iowait),
        steal: float(sample.steal),
        load: sample.load.iter().flatten().map(|load| *load as f32).collect(),
        memory: float(sample.memory),
        memory_used: sample.memory_used,
        memory_total: sample.memory_total,
        swap: float(sample.swap),
        disk: float(sample.disk),
        mounts: sample
            .mounts
            .iter()
            .map(|m| HostMount {
                path: m.path.clone(),
                fs: m.fs.clone(),
                used: m.used,
                total: m.total,
            })
            .collect(),
        disk_read: float(sample.disk_read),
        disk_write: float(sample.disk_write),
        temperature: float(sample.temperature),
        network_in: float(sample.network_in),
        network_out: float(sample.network_out),
        interfaces: sample
            .interfaces
            .iter()
            .map(|i| HostInterface {
                name: i.name.clone(),
                received: i.received as f32,
                sent: i.sent as f32,
            })
            .collect(),
        pressure: sample.pressure.as_ref().map(pressure),
        uptime: sample.uptime,
        processes: sample.processes.as_ref().map(|processes| HostProcesses {
            processes: processes
                .iter()
                .map(|p| HostProcess {
                    pid: p.pid,
                    name: p.name.clone(),
                    cpu: p.cpu as f32,
                    memory: p.memory,
                })
                .collect(),
        }),
    }
}

pub(super) fn summary(device: u32, summary: &Summary) -> HostSummary {
    let mut present = 0;
    let mut values = Vec::with_capacity(3 * summary.series.len());
    for (n, spread) in summary.series.iter().enumerate() {
        if let Some(spread) = spread {
            present |= 1 << n;
            values.extend([spread.min, spread.mean, spread.max]);
        }
    }
    HostSummary {
        device,
        from_ms: summary.from.as_millis(),
        to_ms: summary.to.as_millis(),
        samples: summary.samples,
        present,
        values,
    }
}

pub(super) fn container(device: u32, container: &Container) -> ContainerReport {
    let float = |value: Option<f64>| value.map(|value| value as f32);
    let state = match container.state {
        ContainerState::Created => WireState::Created,
        ContainerState::Running => WireState::Running,
        ContainerState::Paused => WireState::Paused,
        ContainerState::Restarting => WireState::Restarting,
        ContainerState::Exited => WireState::Exited,
        ContainerState::Removing => WireState::Removing,
        ContainerState::Dead => WireState::Dead,
        ContainerState::Removed => WireState::Removed,
        ContainerState::Unknown => WireState::Unknown,
    };
    let health = container.health.map(|health| match health {
        Health::Starting => ContainerHealth::Starting,
        Health::Healthy => ContainerHealth::Healthy,
        Health::Unhealthy => ContainerHealth::Unhealthy,
    });
    ContainerReport {
        device,
        container_id: id_bytes(&container.container_id).into(),
        name: container.name.clone(),
        image: container.image.clone(),
        project: container.project.clone(),
        service: container.service.clone(),
        state: state.into(),
        status: container.status.clone(),
        health: health.map(Into::into),
        exit_code: container.exit_code,
        created_at_ms: container.created_at.map(|at| at.as_millis()),
        started_at_ms: container.started_at.map(|at| at.as_millis()),
        restart_count: container.restart_count,
        cpu: float(container.cpu),
        memory: container.memory,
        memory_limit: container.memory_limit,
        network_in: float(container.network_in),
        network_out: float(container.network_out),
        block_read: float(container.block_read),
        block_write: float(container.block_write),
        pids: container.pids,
        logs_off: container.logs == Some(LogPolicy::Off),
    }
}

/// The id's digits as bytes. A last odd digit, which no engine gives, is left out.
pub(super) fn id_bytes(id: &ContainerId) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or_default() as u8;
    let (pairs, _) = id.as_str().as_bytes().as_chunks::<2>();
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// The digits of an id's bytes.
pub(super) fn id_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|d| char::from_digit(d.into(), 16).unwrap_or('0')));
    }
    text
}
