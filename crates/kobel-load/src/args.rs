//! The options, and what they mean together.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls, reason = "they are help texts, too")]

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    client::{Emit, Subscriptions},
    plan::{Phase, Transport},
};

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
What is measured: each connection is a Socket.IO client in the main namespace that subscribes, reads
every event and answers pings. The latency of an event is from the publisher's stamp in it to the
read of it here, so both must have the same clock: the same machine, or one kept in step. A
connection that is lost returns after a second, as stock clients do.

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

    /// What each connection subscribes to, in Kobel: dashboard; device for all devices in turn, one
    /// a connection; device:UUID; container:ID [repeatable] [default: dashboard, without --emit]
    #[arg(long = "room", value_name = "ROOM")]
    pub rooms_of_kobel: Vec<RoomArg>,

    /// The format of a Kobel's samples
    #[arg(long, value_enum, default_value = "json")]
    pub format: FormatArg,

    /// At most one of a Kobel's samples in so many seconds; auto: each
    #[arg(long, value_name = "SECONDS", default_value = "auto", value_parser = sample_rate)]
    pub rate: SampleRate,

    /// Ask a Kobel for batches in place of single events
    #[arg(long)]
    pub batch: bool,

    /// For other servers: an event to emit once connected, with one JSON argument. In it {n} is the
    /// connection's number, {room} that modulo --rooms [repeatable]
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

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address: write it as http://hub.example.com:8000");
        let rest = match text.split_once("://") {
            None => text,
            Some(("http" | "ws", rest)) => rest,
            Some(("https" | "wss", _)) => {
                return Err("TLS is not spoken here: measure behind whatever ends it".into());
            }
            Some(_) => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(80), |port| port.parse().map_err(|_| wrong()))?;
        let good = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if host.is_empty() || !good(host) || !good(path) || path.contains(['?', '#']) {
            return Err(wrong());
        }
        let path = if path.len() > 1 { path } else { "/socket.io/" };
        Ok(Self { host: host.into(), port, path: path.into() })
    }
}

impl Target {
    /// Host and port as they stand in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What a viewer of a Kobel subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomArg {
    /// The dashboard.
    Dashboard,
    /// A device in turn.
    EachDevice,
    /// A device, by its uuid.
    Device(String),
    /// A container, by the engine's id.
    Container(String),
}

impl FromStr for RoomArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "dashboard" => Ok(Self::Dashboard),
            None if text == "device" => Ok(Self::EachDevice),
            Some(("device", id)) if !id.is_empty() => Ok(Self::Device(id.into())),
            Some(("container", id)) if !id.is_empty() => Ok(Self::Container(id.into())),
            _ => Err(format!(
                "{text:?} is no room: write dashboard, device, device:UUID or container:ID"
            )),
        }
    }
}

/// The format of a Kobel's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// JSON.
    Json,
    /// Protocol Buffers; such events have no latency, as they have no stamp as text.
    Protobuf,
    /// METR; the same holds.
    Metr,
}

/// How often a Kobel sends samples: `None` for each.
pub type SampleRate = Option<f64>;

fn sample_rate(text: &str) -> Result<SampleRate, String> {
    match text {
        "auto" => Ok(None),
        _ => text
            .parse()
            .ok()
            .filter(|seconds| (1.0..=60.0).contains(seconds))
            .map(Some)
            .ok_or_else(|| format!("{text:?} is neither auto nor 1 to 60 seconds")),
    }
}

/// A length of time as people write it.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: write it as 500ms, 25s or 1m 30s");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    span.try_into().map_err(|_| wrong())
}

fn rate(text: &str) -> Result<f64, String> {
    let good = |rate: &f64| rate.is_finite() && (0.0..=1e9).contains(rate);
    text.parse().ok().filter(good).ok_or_else(|| format!("{text:?} is no number from 0 up"))
}

fn percent(text: &str) -> Result<f64, String> {
    let good = |percent: &f64| (0.0..=100.0).contains(percent);
    text.parse().ok().filter(good).ok_or_else(|| format!("{text:?} is not between 0 and 100"))
}

fn header(text: &str) -> Result<String, String> {
    let good = text.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if good && !text.contains(['\r', '\n']) {
        Ok(text.into())
    } else {
        Err(format!("{text:?} is no header: write it as 'Name: value'"))
    }
}

fn stamp(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.contains(['"', '\\']) {
        Ok(text.into())
    } else {
        Err("a key is a name without quotes, such as ts".into())
    }
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
            RoomArg::EachDevice => ("device", Some("{device}")),
            RoomArg::Device(id) => ("device", Some(id.as_str())),
            RoomArg::Container(id) => ("container", Some(id.as_str())),
        };
        let mut options = serde_json::Map::new();
        if self.format != FormatArg::Json {
            let format = if self.format == FormatArg::Metr { "metr" } else { "protobuf" };
            options.insert("format".into(), format.into());
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
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn args(args: &[&str]) -> LoadArgs {
        Cli::parse_from([&["load"], args].concat()).load
    }

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn targets() {
        for (text, expected) in [
            ("http://hub:8000", Some(("hub", 8000, "/socket.io/"))),
            ("hub:8000/", Some(("hub", 8000, "/socket.io/"))),
            ("ws://127.0.0.1/live/", Some(("127.0.0.1", 80, "/live/"))),
            ("http://[::1]:9", Some(("::1", 9, "/socket.io/"))),
            ("https://hub", None),
            ("http://", None),
            ("http://hub:x", None),
            ("http://user@hub", None),
            ("http://hub/a b", None),
            ("http://hub/?x", None),
            ("ftp://hub", None),
        ] {
            let read = text.parse::<Target>().ok();
            let expected = expected.map(|(host, port, path)| Target {
                host: host.into(),
                port,
                path: path.into(),
            });
            assert_eq!(read, expected, "{text}");
        }
        assert_eq!("http://[::1]:9".parse::<Target>().unwrap().authority(), "[::1]:9");
    }

    #[test]
    fn what_is_emitted() {
        let of = |list: &[&str], number| -> Vec<String> {
            args(list)
                .subscriptions(vec!["d0".into(), "d1".into()])
                .unwrap()
                .packets(number)
                .collect()
        };
        assert_eq!(of(&[], 0), [r#"420["subscribe",{"options":{},"type":"dashboard"}]"#]);
        let kobel = ["--room", "device", "--rate", "5", "--format", "metr", "--batch"];
        assert_eq!(
            of(&kobel, 3),
            [
                r#"420["subscribe",{"id":"d1","options":{"batch":true,"format":"metr","rate":5.0},"type":"device"}]"#
            ]
        );
        let other = ["--emit", "join", "\"room-{room}\"", "--rooms", "10", "--emit", "hi", "{n}"];
        assert_eq!(of(&other, 13), [r#"420["join","room-3"]"#, r#"421["hi",13]"#]);
        let wrong = args(&["--emit", "join", "room-{room}"]).subscriptions(Vec::new());
        assert!(wrong.unwrap_err().contains("not JSON"));
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            &["--connections", "0"][..],
            &["--slow-readers", "101"],
            &["--churn", "-1"],
            &["--duration", "soon"],
            &["--room", "everything"],
            &["--rate", "0"],
            &["--header", "x"],
            &["--header", "x: y\r\nz: w"],
            &["--stamp", "a\"b"],
            &["--emit", "join"],
        ] {
            assert!(Cli::try_parse_from([&["load"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }
}
