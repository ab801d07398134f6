//! A run: its phases one after the other, and what the server costs meanwhile.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    LoadArgs, LoadError, PhaseReport, Report, Server, Storm, Transport,
    plan::{self, Command, Plan},
    prepare::plan,
    progress::Progress,
    report::Opening,
    scenario::{Step, steps},
    server,
    team::{Team, work_for_another},
    worker::tally::Tally,
};

/// How often reports and the server are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How often the memory is read for its peak.
const PEAK: Duration = Duration::from_millis(100);

/// The least time that a storm may take.
const STORM: Duration = Duration::from_secs(60);

/// Runs the load, and writes the report where `--json` says.
///
/// # Errors
/// When the run cannot be done as asked: see [`LoadError`]. Connections that fail are in the
/// report; [`Report::failed`] says whether there were any.
pub async fn run(args: LoadArgs) -> Result<Report, LoadError> {
    if args.worker {
        let worked = spawn_blocking(work_for_another).await;
        worked.map_err(|error| LoadError::Worker(error.into()))??;
        return Ok(Report::default());
    }
    let steps = steps(&args)?;
    let most = steps.iter().map(|step| step.phase.connections).max().unwrap_or(1);
    let plan = plan(&args, most).await?;
    let mut run = Run::start(&args, plan).await?;
    let mut phases = Vec::new();
    for step in &steps {
        phases.push(run.step(step).await?);
    }
    run.progress.done();
    let transport = match args.transport {
        Transport::Websocket => "websocket",
        Transport::Polling => "polling",
    };
    let report = Report {
        target: args.url.authority(),
        transport: transport.into(),
        processes: run.workers,
        phases,
    };
    // The connections are closed before anybody is told that it is over.
    let ended = spawn_blocking(move || drop(run.team)).await;
    ended.map_err(|error| LoadError::Worker(error.into()))?;
    if let Some(path) = &args.json {
        let wrong = |error| LoadError::Json { path: path.clone(), error };
        let json = serde_json::to_vec_pretty(&report).map_err(|error| wrong(error.into()))?;
        std::fs::write(path, json).map_err(wrong)?;
    }
    Ok(report)
}

/// What the server had used at a moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    server: Option<server::Reading>,
    core: Option<f64>,
    own: f64,
}

struct Run {
    team: Team,
    workers: u32,
    witnesses: u32,
    connect_timeout: Duration,
    progress: Progress,
    /// The newest of each worker: live, events, p99.
    seen: Vec<(u32, u64, u64)>,
    pids: Vec<u32>,
    core: Option<u32>,
    core_idle: Option<f64>,
    resident_before: u64,
    peak: u64,
    peaked: Instant,
}

impl Run {
    async fn start(args: &LoadArgs, plan: Plan) -> Result<Self, LoadError> {
        let pids = if args.server_pids.is_empty() {
            server::listening_on(plan.address)
        } else {
            args.server_pids.clone()
        };
        if let Some(pid) = args.server_pids.iter().find(|pid| server::read(&[**pid]).is_none()) {
            return Err(LoadError::NoProcess(*pid));
        }
        let core_idle = match args.server_core {
            Some(core) => server::idle_core(core, Duration::from_secs(1)).await,
            None => None,
        };
        let resident_before = server::read(&pids).map_or(0, |reading| reading.resident);
        let team = Team::start(&plan)?;
        Ok(Self {
            team,
            workers: plan.workers,
            witnesses: plan.subscriptions.witnesses,
            connect_timeout: args.connect_timeout,
            progress: Progress::new(),
            seen: vec![(0, 0, 0); plan.workers as usize],
            pids,
            core: args.server_core,
            core_idle,
            resident_before,
            peak: resident_before,
            peaked: Instant::now(),
        })
    }

    async fn step(&mut self, step: &Step) -> Result<PhaseReport, LoadError> {
        let begun = self.mark();
        self.team.tell(&Command::Open(step.phase.clone()))?;
        let opened = self.opened(step).await?;
        let ready = self.mark();
        let mut opening = Opening::new(&opened, ready.at.duration_since(begun.at).as_secs_f64());
        (opening.server_cpu_us, opening.core_cpu_us) = self.each(&begun, &ready, opening.opened);

        // Nobody is there: then there is nothing to wait for.
        let nobody = opened.live == 0;
        let (warm_up, duration) =
            if nobody { Default::default() } else { (step.warm_up, step.duration) };
        self.pass(step, "warming up", warm_up).await?;
        let before = self.mark();
        self.peak = before.server.map_or(0, |reading| reading.resident);
        self.team.tell(&Command::Measure)?;
        let back = if step.reconnect && !nobody {
            self.team.tell(&Command::Cut)?;
            self.all_back(step).await?
        } else {
            self.pass(step, "counting", duration).await?;
            None
        };
        let after = self.mark();
        self.team.tell(&Command::Stop)?;
        let counted = self.counted().await?;

        let storm = step.reconnect.then(|| {
            let cut = opened_by(&step.phase, &opened).saturating_sub(self.witnesses);
            let (server_cpu_us, core_cpu_us) = self.each(&before, &after, u64::from(cut));
            Storm {
                cut,
                all_back_seconds: back,
                back: (&counted.back).into(),
                witnesses: (&counted.witnesses).into(),
                server_cpu_us,
                core_cpu_us,
            }
        });
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        Ok(PhaseReport {
            name: step.name.clone(),
            connections: step.phase.connections,
            connected: counted.live,
            slow: counted.slow,
            opening,
            seconds,
            messages: counted.messages,
            messages_per_second: counted.messages as f64 / seconds,
            bytes_per_second: counted.bytes as f64 / seconds,
            unstamped: counted.unstamped,
            latency: (&counted.latency).into(),
            disconnects: counted.lost.clone(),
            errors: counted.errors.clone(),
            churned: counted.churned,
            failed: counted.failed.saturating_sub(opened.failed),
            back: (&counted.back).into(),
            storm,
            server: self.server(&ready, &before, &after, &counted, step),
            own_cpu_seconds: after.own - before.own,
        })
    }

    fn server(
        &self,
        ready: &Mark,
        before: &Mark,
        after: &Mark,
        counted: &Tally,
        step: &Step,
    ) -> Option<Server> {
        let (start, end) = (before.server?, after.server?);
        let connected = ready.server?.resident;
        let grown = |resident: u64| {
            let bytes = resident as f64 - self.resident_before as f64;
            bytes / f64::from(step.phase.connections)
        };
        let (cpu_us_per_delivery, core_us_per_delivery) =
            self.each(before, after, counted.messages);
        Some(Server {
            pids: self.pids.clone(),
            user_seconds: end.user - start.user,
            system_seconds: end.system - start.system,
            core_seconds: self.core_seconds(before, after),
            core_idle: self.core_idle,
            cpu_us_per_delivery,
            core_us_per_delivery,
            resident_before: self.resident_before,
            resident_connected: connected,
            resident_after: end.resident,
            resident_peak: self.peak.max(end.resident),
            bytes_per_connection: grown(connected),
            bytes_per_connection_after: grown(end.resident),
        })
    }

    /// What the server spent on each of so many, in µs: by its processes, and by its core.
    fn each(&self, from: &Mark, to: &Mark, count: u64) -> (Option<f64>, Option<f64>) {
        let each = |seconds: f64| (count > 0).then(|| seconds * 1e6 / count as f64);
        let own = from
            .server
            .zip(to.server)
            .and_then(|(from, to)| each(to.user - from.user + to.system - from.system));
        (own, self.core_seconds(from, to).and_then(each))
    }

    fn core_seconds(&self, from: &Mark, to: &Mark) -> Option<f64> {
        let idle = self.core_idle? * to.at.duration_since(from.at).as_secs_f64();
        Some((to.core? - from.core? - idle).max(0.0))
    }

    fn mark(&self) -> Mark {
        let mut own = self.team.pids();
        own.push(std::process::id());
        Mark {
            at: Instant::now(),
            server: server::read(&self.pids),
            core: self.core.and_then(server::core),
            own: server::read(&own).map_or(0.0, |reading| reading.user + reading.system),
        }
    }

    /// Looks once; gives what was said beside the progress.
    async fn look(&mut self, step: &Step, what: &str) -> Result<Vec<plan::Report>, LoadError> {
        sleep(LOOK).await;
        let mut said = Vec::new();
        for (worker, report) in self.team.heard() {
            match report {
                plan::Report::Progress { live, messages, p99 } => {
                    self.seen[worker] = (live, messages, p99);
                }
                plan::Report::Failed(why) => return Err(LoadError::GaveUp(why)),
                other => said.push(other),
            }
        }
        if self.peaked.elapsed() >= PEAK {
            self.peaked = Instant::now();
            let resident = server::read(&self.pids).map_or(0, |reading| reading.resident);
            self.peak = self.peak.max(resident);
        }
        let live = self.live();
        let messages = self.seen.iter().map(|(_, messages, _)| messages).sum();
        // Of the worst, until the end merges them all.
        let p99 = self.seen.iter().map(|(_, _, p99)| *p99).max().unwrap_or(0);
        let what = format!("{}, {what}", step.name);
        self.progress.say(&what, live, step.phase.connections, messages, p99);
        Ok(said)
    }

    fn live(&self) -> u32 {
        self.seen.iter().map(|(live, ..)| live).sum()
    }

    async fn pass(&mut self, step: &Step, what: &str, time: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + time;
        while Instant::now() + LOOK < end {
            self.look(step, what).await?;
        }
        tokio::time::sleep_until(end).await;
        Ok(())
    }

    async fn opened(&mut self, step: &Step) -> Result<Tally, LoadError> {
        let rate = step.phase.connect_rate;
        let paced = if rate > 0.0 { f64::from(step.phase.connections) / rate } else { 0.0 };
        let patience = Duration::from_secs_f64(paced.min(86_400.0)) + self.connect_timeout * 6;
        let end = Instant::now() + patience;
        let (mut all, mut ready) = (Tally::default(), 0);
        while ready < self.workers {
            for report in self.look(step, "connecting").await? {
                if let plan::Report::Ready(tally) = report {
                    all.merge(&tally);
                    ready += 1;
                }
            }
            if Instant::now() > end {
                return self.restless(step, patience).await;
            }
        }
        Ok(all)
    }

    /// A server that lets clients in and throws them out again.
    async fn restless<T>(&mut self, step: &Step, patience: Duration) -> Result<T, LoadError> {
        self.team.tell(&Command::Stop)?;
        let counted = self.counted().await?;
        Err(LoadError::Restless {
            seconds: patience.as_secs(),
            live: counted.live,
            connections: step.phase.connections,
            errors: kinds(&[&counted.errors, &counted.lost]),
        })
    }

    async fn counted(&mut self) -> Result<Tally, LoadError> {
        let (mut all, mut counted) = (Tally::default(), 0);
        let end = Instant::now() + Duration::from_secs(30);
        while counted < self.workers {
            sleep(Duration::from_millis(2)).await;
            for (_, report) in self.team.heard() {
                match report {
                    plan::Report::Counted(tally) => {
                        all.merge(&tally);
                        counted += 1;
                    }
                    plan::Report::Failed(why) => return Err(LoadError::GaveUp(why)),
                    _ => {}
                }
            }
            if Instant::now() > end {
                return Err(LoadError::GaveUp("a worker does not answer".into()));
            }
        }
        Ok(all)
    }

    /// Seconds until all that were cut were back; `None` when they were not in time.
    async fn all_back(&mut self, step: &Step) -> Result<Option<f64>, LoadError> {
        let begun = Instant::now();
        let patience = step.duration.max(STORM);
        let mut back = 0;
        while begun.elapsed() < patience {
            for report in self.look(step, "coming back").await? {
                back += u32::from(matches!(report, plan::Report::Back));
            }
            if back == self.workers {
                return Ok(Some(begun.elapsed().as_secs_f64()));
            }
        }
        Ok(None)
    }
}

/// The connections that were there once the phase had opened its own.
fn opened_by(phase: &plan::Phase, opened: &Tally) -> u32 {
    phase.connections.saturating_sub(opened.failed)
}

fn kinds(counts: &[&BTreeMap<String, u64>]) -> String {
    let mut kinds: Vec<_> = counts.iter().flat_map(|counts| counts.iter()).collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let texts: Vec<_> =
        kinds.iter().take(3).map(|(kind, count)| format!("{count} × {kind}")).collect();
    if texts.is_empty() { "nothing was heard of the others".into() } else { texts.join(", ") }
}
