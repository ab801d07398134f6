//! The options, and what they mean together.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls, reason = "they are help texts, too")]

mod values;

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    client::{Emit, Subscriptions},
    plan::{Phase, Transport},
};
pub(crate) use values::span;
pub use values::{FormatArg, RoomArg, SampleRate, Target};
use values::{header, percent, rate, sample_rate, stamp};

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
What is measured: each connection is a Socket.IO client in the main namespace that subscribes, reads
every event and answers pings. The latency of an event is from the publisher's stamp in it to the
read of it here (which adds up to 0.5 ms), so both must have the same clock: the same machine, or one
kept in step. A connection that is lost returns after a second, as stock clients do.

Examples:
  kobel-load --token $TOKEN
      1,000 viewers of a Kobel's dashboard on http://127.0.0.1:8000, for 10 s
  kobel-load --token $TOKEN --room device --connections 10000 --duration 1m
      10,000 viewers, each of one device, the devices in turn
  kobel-load --token $TOKEN --slow-readers 10 --churn 50
      a tenth does not read, and 50 a second leave and come
  kobel-load --token $TOKEN --connections 10000 --reconnect --witnesses 100
      cuts 9,900 at once: how long until all are back, and what the other 100 notice
  kobel-load --url http://127.0.0.1:3000 --emit join '\"room-{room}\"' --rooms 100 --stamp ts
      another Socket.IO server, whose events have {\"ts\": µs since 1970}
  kobel-load --token $TOKEN --scenario day.toml --json day.json
      several phases one after the other; flags say what a phase does not

A scenario:
  [[phase]]
  name = \"morning\"
  connections = 5000
  duration = \"1m\"

  [[phase]]
  name = \"a bad network\"
  churn = 100
  slow-readers = 5
  duration = \"1m\"

  [[phase]]
  name = \"the proxy restarts\"
  reconnect = true

Exit status: 0 when every connection came to be, 1 otherwise.";

/// Options of the load generator.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The server; a path is that of its Socket.IO endpoint, /socket.io/ by default
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub url: Target,

    /// A token to sign in by, sent as `auth: {token}`; see `kobel token create`
    #[arg(long, value_name = "TOKEN", env = "KOBEL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Another header of each request, such as 'Origin: https://hub.example.com' [repeatable]
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<String>,

    /// How the packets travel
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,

    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,

    /// Connections opened a second; 0: all at once
    #[arg(long, value_name = "COUNT", default_value_t = 1000.0, value_parser = rate)]
    pub connect_rate: f64,

    /// How long one connection may take to be there
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span)]
    pub connect_timeout: Duration,

    /// Time between the last connection and the first count
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = span)]
    pub warm_up: Duration,

    /// How long is counted. With --reconnect at most: it ends when all are back
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub duration: Duration,

    /// What each connection subscribes to, in Kobel: dashboard; fleet; device for all devices in turn,
    /// one a connection; device:UUID; container:ID [repeatable] [default: dashboard, without --emit]
    #[arg(long = "room", value_name = "ROOM")]
    pub rooms_of_kobel: Vec<RoomArg>,

    /// The format of a Kobel's samples
    #[arg(long, value_enum, default_value = "json")]
    pub format: FormatArg,

    /// At most one of a Kobel's samples in so many seconds; auto: by how lately a client did something,
    /// and these do nothing once they have subscribed
    #[arg(long, value_name = "SECONDS", default_value = "auto", value_parser = sample_rate)]
    pub rate: SampleRate,

    /// Ask a Kobel for batches in place of single events
    #[arg(long)]
    pub batch: bool,

    /// For other servers: an event to emit once connected, with one JSON argument. In it {number} is
    /// the connection's number, {room} that modulo --rooms [repeatable]
    #[arg(long, num_args = 2, value_names = ["EVENT", "JSON"])]
    pub emit: Vec<String>,

    /// What {room} counts to
    #[arg(long, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub rooms: u32,

    /// The server does not acknowledge what is emitted, so do not wait for that
    #[arg(long)]
    pub no_ack: bool,

    /// The key in an event under which its publisher says when: µs or ms since 1970, or ISO 8601
    /// [default: the envelope's `timestamp` of Kobel's events, which is in ms]
    #[arg(long, value_name = "KEY", value_parser = stamp)]
    pub stamp: Option<String>,

    /// Percent of the connections that stay open and do not read
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub slow_readers: f64,

    /// Connections a second that leave and come back at once
    #[arg(long, value_name = "PER SECOND", default_value_t = 0.0, value_parser = rate)]
    pub churn: f64,

    /// A storm: after the warm-up cut all connections, connect again at once, and measure how long
    /// it takes until all are back
    #[arg(long)]
    pub reconnect: bool,

    /// With --reconnect: so many connections are not cut, and their latency meanwhile is told
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub witnesses: u32,

    /// What the witnesses emit in place of --emit [repeatable]
    #[arg(long, num_args = 2, value_names = ["EVENT", "JSON"])]
    pub witness_emit: Vec<String>,

    /// Phases one after the other, in TOML; see below
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// The server's process, for its processor time and memory [repeatable] [default: whoever
    /// listens on the port, if that is on this machine]
    #[arg(long = "server-pid", value_name = "PID")]
    pub server_pids: Vec<u32>,

    /// A processor core that only the server uses (taskset -c CORE): count its user, system and
    /// softirq time, too, less what it had before anybody connected
    #[arg(long, value_name = "CORE")]
    pub server_core: Option<u32>,

    /// Processes that share the connections [default: as many as the limit of open files asks for]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processes: Option<u32>,

    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    // Said to the processes that share the connections; their plan comes on standard input.
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}

impl LoadArgs {
    /// The phase that the flags describe.
    pub(crate) fn phase(&self) -> Phase {
        Phase {
            connections: self.connections,
            connect_rate: self.connect_rate,
            slow: self.slow_readers,
            churn: self.churn,
        }
    }

    /// What is emitted. `devices` are for `--room device`.
    ///
    /// # Errors
    /// When what is to be emitted is not JSON once its placeholders are filled.
    pub(crate) fn subscriptions(&self, devices: Vec<String>) -> Result<Subscriptions, String> {
        let mut emits = pairs(&self.emit);
        let own = if emits.is_empty() && self.rooms_of_kobel.is_empty() {
            &[RoomArg::Dashboard][..]
        } else {
            &self.rooms_of_kobel
        };
        emits.extend(own.iter().map(|room| self.subscribe(room)));
        let subscriptions = Subscriptions {
            emits,
            witness_emits: pairs(&self.witness_emit),
            witnesses: self.witnesses,
            rooms: self.rooms,
            devices,
            unanswered: self.no_ack,
        };
        for number in [0, self.witnesses] {
            for packet in subscriptions.packets(number) {
                let json = packet.trim_start_matches(|c: char| c.is_ascii_digit());
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(json) {
                    return Err(format!("--emit: {json} is not JSON: {error}"));
                }
            }
        }
        Ok(subscriptions)
    }

    /// Whether the devices must be known.
    pub(crate) fn asks_for_devices(&self) -> bool {
        self.rooms_of_kobel.contains(&RoomArg::EachDevice)
    }

    fn subscribe(&self, room: &RoomArg) -> Emit {
        let (kind, id) = match room {
            RoomArg::Dashboard => ("dashboard", None),
            RoomArg::Fleet => ("fleet", None),
            RoomArg::EachDevice => ("device", Some("{device}")),
            RoomArg::Device(id) => ("device", Some(id.as_str())),
            RoomArg::Container(id) => ("container", Some(id.as_str())),
        };
        let mut options = serde_json::Map::new();
        if self.format != FormatArg::Json {
            let (format, version) = self.format.asked();
            options.insert("format".into(), format.into());
            options.extend(version.map(|version| ("version".into(), version.into())));
        }
        if let Some(seconds) = self.rate {
            options.insert("rate".into(), seconds.into());
        }
        if self.batch {
            options.insert("batch".into(), true.into());
        }
        let mut payload = serde_json::json!({ "type": kind, "options": options });
        if let Some(id) = id {
            payload["id"] = id.into();
        }
        Emit { event: "subscribe".into(), json: payload.to_string() }
    }
}

fn pairs(flat: &[String]) -> Vec<Emit> {
    let (pairs, _) = flat.as_chunks::<2>();
    pairs.iter().map(|[event, json]| Emit { event: event.clone(), json: json.clone() }).collect()
}

#[cfg(test)]
mod tests;
