//! `kobel simulate`
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::{
    io::{IsTerminal, Write, stderr},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use clap::{Args, value_parser};
use kobel_collect::{
    agent::{Hub, Progress},
    simulate::{MOST_CONTAINERS, MOST_DEVICES, MOST_LINES, Simulation},
};
use kobel_hub::{
    access::DeviceScope,
    store::{Store, TokenRequest},
};
use kobel_wire::{Role, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{CliError, link::HubTrust, open_used};
use crate::{
    config::{Common, LogFormat, Span},
    logging,
    serve::{self, Signals},
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
The fleet is the same for the same seed, and a larger one begins with the hosts of a smaller one.
What somebody watches comes each second, the rest as a summary each half minute. Containers come and
go, have figures, and write logs that are made only while somebody follows them: text, JSON or logfmt,
with levels and now and then a stack trace, crowded in bursts. Each line has a number n that counts up.

Examples:
  kobel simulate
      100 devices of 5 containers on the hub of this machine, by a token that it makes itself
  kobel simulate --devices 2000 --containers 10 --seed 7
      a larger one, and another
  kobel simulate --hub https://kobel.example.com --token kobel_…
      on another machine's hub, by a token of: kobel token create simulation --role agent
  kobel simulate --log-rate 200
      with talkative containers
  kobel simulate --duration 5m
      for five minutes

Stop it by Ctrl-C or SIGTERM: its devices stay on the hub, as unreachable ones.";

/// How long a token holds that is made for one run.
const TOKEN: Duration = Duration::from_secs(86_400);

/// How often the progress is shown: on a terminal in one line that changes, elsewhere in lines.
const PROGRESS: Duration = Duration::from_secs(1);
const PROGRESS_LINES: Duration = Duration::from_secs(30);

/// Options of `kobel simulate`.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// How many devices
    #[arg(long, value_name = "COUNT", default_value_t = 100,
        value_parser = value_parser!(u32).range(1..=i64::from(MOST_DEVICES)))]
    devices: u32,

    /// How many containers each has
    #[arg(long, value_name = "COUNT", default_value_t = 5,
        value_parser = value_parser!(u16).range(0..=i64::from(MOST_CONTAINERS)))]
    containers: u16,

    /// Which fleet: the same seed is the same hosts with the same ups and downs
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Log lines a second of each container, on the whole; made only while it is followed
    #[arg(long, value_name = "LINES", default_value_t = 1.0, value_parser = lines)]
    log_rate: f64,

    /// The hub [default: the one that runs on the data folder, or http://127.0.0.1:8000]
    #[arg(long, value_name = "URL", env = "KOBEL_HUB")]
    hub: Option<Hub>,

    /// A token of the role agent [default: where the hub's data folder is on this machine, one that
    /// is made for this run]
    #[arg(long, value_name = "TOKEN", env = "KOBEL_AGENT_TOKEN", hide_env_values = true)]
    token: Option<String>,

    #[command(flatten)]
    trust: HubTrust,

    /// How long, such as 5m [default: until it is stopped]
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,

    /// Which log lines there are: error, warn, info, debug or trace
    #[arg(long, value_name = "FILTER", env = "KOBEL_LOG", default_value = "warn")]
    log: String,
}

fn lines(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=MOST_LINES).contains(&rate) => Ok(rate),
        _ => Err(format!("a number from 0 to {MOST_LINES} is needed, such as 0.5")),
    }
}

/// A token that was made for this run; revoked when it ends.
struct OwnToken {
    store: Store,
    number: i64,
}

impl Simulate {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        logging::start(LogFormat::Human, &self.log)?;
        let mut signals = Signals::new().map_err(CliError::Signals)?;
        let (hub, token, own) = self.attach(common).await?;
        let hub = self.trust.of(hub)?;
        let fleet = Simulation {
            devices: self.devices,
            containers: self.containers,
            seed: self.seed,
            log_rate: self.log_rate,
        };
        let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
        eprintln!(
            "Simulating {} devices with {} containers each (seed {}) on {hub}.",
            self.devices, self.containers, self.seed
        );
        let until = self.duration.map(|span| Instant::now() + span.0);
        // As large as all that a link may do.
        let running = fleet.run(hub, &token, Arc::clone(&progress), cancel.clone());
        let mut running = Box::pin(running);
        let mut shown = Shown::new();
        let mut tick = interval(if shown.terminal { PROGRESS } else { PROGRESS_LINES });
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                _ = signals.next() => cancel.cancel(),
                () = sleep_until(until.unwrap_or_else(Instant::now)),
                    if until.is_some() && !cancel.is_cancelled() => cancel.cancel(),
                _ = tick.tick() => shown.show(&progress),
            }
        };
        shown.end();
        if let Some(own) = own {
            // It ends by itself within a day, whatever becomes of this.
            let _ = own.store.revoke_token(&own.number.to_string(), Timestamp::now()).await;
            own.store.close().await;
        }
        Ok(ended?)
    }

    /// Which hub, and by which token.
    async fn attach(&self, common: &Common) -> Result<(Hub, String, Option<OwnToken>), CliError> {
        let here = |folder: &Path| Ok::<Hub, CliError>(serve::link_base(folder).parse()?);
        if let Some(token) = &self.token {
            let hub = match &self.hub {
                Some(hub) => hub.clone(),
                None => here(&crate::config::data_folder_of(common)?)?,
            };
            return Ok((hub, token.clone(), None));
        }
        let folder = crate::config::data_folder_of(common)?;
        let Some((store, folder)) = open_used(common).await? else {
            return Err(CliError::NoToken(folder));
        };
        let hub = self.hub.clone().map_or_else(|| here(&folder), Ok)?;
        let now = Timestamp::now();
        let account = store.first_admin(now).await?;
        let request = TokenRequest {
            account: account.id,
            name: &format!("simulate-{}-{}", std::process::id(), now.as_millis()),
            role: Role::Agent,
            devices: DeviceScope::All,
            lifetime: Some(TOKEN),
        };
        let made = store.create_token(&request, now).await?;
        Ok((hub, made.secret, Some(OwnToken { store, number: made.id })))
    }
}

/// The line that shows how it goes.
struct Shown {
    terminal: bool,
    at: Instant,
    samples: u64,
    summaries: u64,
    bytes: u64,
}

impl Shown {
    fn new() -> Self {
        let at = Instant::now();
        Self { terminal: stderr().is_terminal(), at, samples: 0, summaries: 0, bytes: 0 }
    }

    fn show(&mut self, progress: &Progress) {
        let now = Instant::now();
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        if seconds < 0.5 {
            return;
        }
        self.at = now;
        let rate = |last: &mut u64, new: u64| {
            let rate = (new - *last) as f64 / seconds;
            *last = new;
            rate
        };
        let samples = rate(&mut self.samples, progress.samples.load(Relaxed));
        let summaries = rate(&mut self.summaries, progress.summaries.load(Relaxed));
        let bytes = rate(&mut self.bytes, progress.bytes.load(Relaxed));
        let shed = match progress.shed.load(Relaxed) {
            0 => String::new(),
            shed => format!(", {shed} reports given up"),
        };
        let (links, devices) = (progress.links.load(Relaxed), progress.devices.load(Relaxed));
        let line = format!(
            "{devices} devices on {links} links: {samples:.0} samples/s, {summaries:.0} summaries/s, \
             {:.1} KB/s{shed}",
            bytes / 1e3
        );
        let (begin, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody may be looking.
        let _ = write!(stderr(), "{begin}{line}{end}");
    }

    fn end(&self) {
        if self.terminal {
            let _ = writeln!(stderr());
        }
    }
}
