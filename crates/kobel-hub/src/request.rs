//! What viewers ask: `subscribe`, `unsubscribe` and `activity`, read from JSON.
//!
//! Everything here comes from outside. A request that is wrong yields an error that names the
//! field; what it echoes of the request is short and free of control characters.

use kobel_wire::event::{ErrorBody, ErrorCode, ErrorEvent, Seq};
use serde_json::{Map, Value};

use crate::{
    logs::{
        LogFilter,
        live::{self as logs, LogOptions},
    },
    room::RoomName,
};

/// The longest text of a request that an error repeats, in characters.
const ECHO: usize = 80;

/// The types that a subscribe may name, for people.
const TYPES: &str = "device, container, dashboard, fleet, system or logs";

/// The refusal of a format that nobody here knows.
const FORMATS: &str = "options.format: expected \"json\", \"protobuf\" or \"metr\"";

/// A `subscribe`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The room.
    pub room: RoomName,
    /// How the viewer wants it.
    pub options: Options,
}

/// The `options` of a `subscribe`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// How samples are encoded.
    pub format: Format,
    /// At most one sample in so many seconds, 1 to 60; `None` is "auto".
    pub rate: Option<u8>,
    /// Whether the viewer wants `batchUpdate` in place of single events.
    pub batch: bool,
    /// The last event that the viewer has seen.
    pub since: Option<Since>,
    /// Of a container: how the viewer wants its log, where it does.
    pub logs: Option<LogOptions>,
}

/// How a room's samples are encoded; whatever else a room tells is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// Protocol Buffers, `kobel.v1.Metrics`.
    Protobuf,
    /// METR version 1.
    Metr1,
    /// METR version 2.
    Metr2,
}

impl Format {
    /// Its number, below [`Format::COUNT`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// The name that a subscribe asks for it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
            Self::Metr1 | Self::Metr2 => "metr",
        }
    }
}

/// A position in a room's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The epoch that the viewer knows.
    pub epoch: String,
    /// The last event that it has.
    pub seq: Seq,
}

/// A request that is refused, with what an answer repeats of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Why.
    pub error: ErrorBody,
    /// The request's `type`, where it was a text.
    pub kind: Option<String>,
    /// The request's `id`, where it was a text.
    pub id: Option<String>,
}

impl Refusal {
    /// The `error` event for this refusal.
    pub fn event(&self) -> ErrorEvent {
        ErrorEvent {
            code: self.error.code,
            message: self.error.message.clone(),
            kind: self.kind.clone(),
            id: self.id.clone(),
        }
    }
}

/// Reads the argument of `subscribe`.
pub fn subscribe(argument: Option<&str>) -> Result<Subscribe, Box<Refusal>> {
    let request = Request::read(argument)?;
    let room = request.room()?;
    let options = request.options(&room)?;
    Ok(Subscribe { room, options })
}

/// Reads the argument of `unsubscribe`.
pub fn unsubscribe(argument: Option<&str>) -> Result<RoomName, Box<Refusal>> {
    Request::read(argument)?.room()
}

/// Reads the argument of `activity`: whether the page can be seen.
pub fn activity(argument: Option<&str>) -> Result<bool, Box<Refusal>> {
    let request = Request::read(argument)?;
    match request.0.get("visible") {
        Some(Value::Bool(visible)) => Ok(*visible),
        _ => Err(request.bad("visible: expected true or false")),
    }
}

/// The refusal of an event that nobody here knows.
pub fn unknown_event(name: &str) -> Box<Refusal> {
    let message = format!("unknown event {:?}; use subscribe, unsubscribe or activity", echo(name));
    Request(Map::new()).bad(message)
}

struct Request(Map<String, Value>);

impl Request {
    fn read(argument: Option<&str>) -> Result<Self, Box<Refusal>> {
        match argument.map(serde_json::from_str) {
            Some(Ok(Value::Object(fields))) => Ok(Self(fields)),
            _ => Err(Self(Map::new()).bad("expected an object such as {\"type\": \"dashboard\"}")),
        }
    }

    fn refuse(&self, code: ErrorCode, message: impl Into<String>) -> Box<Refusal> {
        let text = |field| self.0.get(field).and_then(Value::as_str).map(echo);
        Box::new(Refusal {
            error: ErrorBody { code, message: message.into() },
            kind: text("type"),
            id: text("id"),
        })
    }

    fn bad(&self, message: impl Into<String>) -> Box<Refusal> {
        self.refuse(ErrorCode::BadRequest, message)
    }

    fn room(&self) -> Result<RoomName, Box<Refusal>> {
        let kind = match self.0.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(self.bad("type: expected a text")),
            None => return Err(self.bad(format!("type: missing; use {TYPES}"))),
        };
        let id = match self.0.get("id") {
            Some(Value::String(id)) => Some(id.as_str()),
            Some(Value::Null) | None => None,
            Some(_) => return Err(self.bad("id: expected a text")),
        };
        match (kind, id) {
            ("device", Some(id)) => {
                id.parse().map(RoomName::Device).map_err(|e| self.bad(format!("id: {e}")))
            }
            ("container", Some(id)) => {
                id.parse().map(RoomName::Container).map_err(|e| self.bad(format!("id: {e}")))
            }
            ("logs", Some(id)) => {
                id.parse().map(RoomName::Logs).map_err(|e| self.bad(format!("id: {e}")))
            }
            ("device" | "container" | "logs", None) => Err(self.bad("id: missing")),
            ("dashboard", None | Some("main")) => Ok(RoomName::Dashboard),
            ("fleet", None | Some("main")) => Ok(RoomName::Fleet),
            ("system", None | Some("main")) => Ok(RoomName::System),
            ("dashboard" | "fleet" | "system", Some(_)) => {
                Err(self.bad(format!("id: the only {kind} is \"main\"")))
            }
            (other, _) => Err(self.bad(format!("type: unknown {:?}; use {TYPES}", echo(other)))),
        }
    }

    fn options(&self, room: &RoomName) -> Result<Options, Box<Refusal>> {
        let given = match self.0.get("options") {
            None | Some(Value::Null) => &Map::new(),
            Some(Value::Object(given)) => given,
            Some(_) => return Err(self.bad("options: expected an object")),
        };
        let format = self.format(given, room)?;
        let logs = match (given.get("logs"), room) {
            (None | Some(Value::Null), RoomName::Logs(_)) => {
                Some(self.logs(&Value::Bool(true), room)?)
            }
            (None | Some(Value::Null | Value::Bool(false)), _) => None,
            (Some(logs), RoomName::Container(_) | RoomName::Logs(_)) => {
                Some(self.logs(logs, room)?)
            }
            (Some(_), _) => return Err(self.bad("options.logs: only a container has logs")),
        };
        let rate = match given.get("rate") {
            None | Some(Value::Null) => None,
            Some(Value::String(auto)) if auto == "auto" => None,
            Some(value) => match value.as_u64().and_then(|n| u8::try_from(n).ok()) {
                Some(seconds @ 1..=60) => Some(seconds),
                _ => {
                    return Err(
                        self.bad("options.rate: expected \"auto\" or whole seconds from 1 to 60")
                    );
                }
            },
        };
        let batch = match given.get("batch") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(batch)) => *batch,
            Some(_) => return Err(self.bad("options.batch: expected true or false")),
        };
        let since = match given.get("since") {
            None | Some(Value::Null) => None,
            Some(since) => Some(self.since("options.since", since)?),
        };
        Ok(Options { format, rate, batch, since, logs })
    }

    fn logs(&self, logs: &Value, room: &RoomName) -> Result<LogOptions, Box<Refusal>> {
        let merged = matches!(room, RoomName::Logs(_));
        let usual = if merged { logs::MERGED_TAIL } else { logs::TAIL };
        let given = match logs {
            Value::Bool(true) => return Ok(LogOptions { tail: usual, ..LogOptions::default() }),
            Value::Object(given) => given,
            _ => return Err(self.bad("options.logs: expected true, false or an object")),
        };
        let most = |name: &str, usual: u32| match given.get(name) {
            None | Some(Value::Null) => Ok(usual),
            Some(count) => match count.as_u64() {
                Some(count) => Ok(u32::try_from(count).unwrap_or(u32::MAX).min(logs::TAIL)),
                None => Err(self.bad(format!("options.logs.{name}: expected a number of lines"))),
            },
        };
        let tail = most("tail", usual)?.min(most("bufferSize", logs::TAIL)?);
        let since = match given.get("since") {
            None | Some(Value::Null) => None,
            Some(since) => Some(self.since("options.logs.since", since)?),
        };
        let filter = LogFilter::from_json(given.get("filters").unwrap_or(&Value::Null))
            .map_err(|error| self.bad(format!("options.logs.filters.{error}")))?;
        Ok(LogOptions { tail, since, filter })
    }

    fn format(&self, given: &Map<String, Value>, room: &RoomName) -> Result<Format, Box<Refusal>> {
        let version = match given.get("version") {
            None | Some(Value::Null) => None,
            Some(version) => match version.as_u64() {
                Some(version @ 1..=2) => Some(version),
                _ => return Err(self.bad("options.version: METR has the versions 1 and 2")),
            },
        };
        let format = match (given.get("format"), version) {
            (None | Some(Value::Null), None) => return Ok(Format::Json),
            (Some(Value::String(format)), version) => match (format.as_str(), version) {
                ("json", None) => return Ok(Format::Json),
                ("protobuf", None) => Format::Protobuf,
                ("metr", None | Some(1)) => Format::Metr1,
                ("metr", Some(_)) => Format::Metr2,
                ("json" | "protobuf", Some(_)) => {
                    return Err(self.bad("options.version: only the format \"metr\" has versions"));
                }
                _ => return Err(self.bad(FORMATS)),
            },
            (None | Some(Value::Null), Some(_)) => {
                return Err(self.bad("options.version: only the format \"metr\" has versions"));
            }
            (Some(_), _) => return Err(self.bad(FORMATS)),
        };
        if !matches!(room, RoomName::Device(_) | RoomName::Fleet) {
            let message = "options.format: only device and fleet rooms have binary formats";
            return Err(self.bad(message));
        }
        if given.get("batch").and_then(Value::as_bool) == Some(true) {
            return Err(self.bad("options.batch: batches are JSON; leave out format or batch"));
        }
        Ok(format)
    }

    fn since(&self, field: &str, since: &Value) -> Result<Since, Box<Refusal>> {
        match (since.get("epoch"), since.get("seq").and_then(Value::as_u64)) {
            (Some(Value::String(epoch)), Some(seq)) if epoch.len() <= 64 => {
                Ok(Since { epoch: epoch.clone(), seq })
            }
            _ => {
                let right = "expected {\"epoch\": text, \"seq\": number}";
                Err(self.bad(format!("{field}: {right}")))
            }
        }
    }
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "0198c0de-0000-7000-8000-0000000000ab";

    fn refused(json: &str) -> (ErrorCode, String) {
        let refusal = subscribe(Some(json)).unwrap_err();
        (refusal.error.code, refusal.error.message)
    }

    #[test]
    fn reads_a_subscribe() {
        let json = format!(
            r#"{{"type":"device","id":"{UUID}","options":
               {{"format":"json","rate":5,"batch":true,"since":{{"epoch":"e","seq":7}},"new":1}}}}"#
        );
        let asked = subscribe(Some(&json)).unwrap();
        assert_eq!(asked.room, RoomName::Device(UUID.parse().unwrap()));
        let since = Some(Since { epoch: "e".into(), seq: 7 });
        assert_eq!(
            asked.options,
            Options { format: Format::Json, rate: Some(5), batch: true, since, logs: None }
        );
        for dashboard in [r#"{"type":"dashboard"}"#, r#"{"type":"dashboard","id":"main"}"#] {
            assert_eq!(subscribe(Some(dashboard)).unwrap().room, RoomName::Dashboard);
        }
        for system in [r#"{"type":"system"}"#, r#"{"type":"system","id":"main"}"#] {
            assert_eq!(subscribe(Some(system)).unwrap().room, RoomName::System);
        }
    }

    #[test]
    fn reads_a_format() {
        for (options, format) in [
            (r"{}", Format::Json),
            (r#"{"format":"json"}"#, Format::Json),
            (r#"{"format":"protobuf"}"#, Format::Protobuf),
            (r#"{"format":"metr"}"#, Format::Metr1),
            (r#"{"format":"metr","version":1}"#, Format::Metr1),
            (r#"{"format":"metr","version":2}"#, Format::Metr2),
        ] {
            let json = format!(r#"{{"type":"fleet","options":{options}}}"#);
            let asked = subscribe(Some(&json)).unwrap();
            assert_eq!((asked.room, asked.options.format), (RoomName::Fleet, format), "{options}");
        }
    }

    #[test]
    fn reads_how_logs_are_wanted() {
        let id = "a".repeat(64);
        let read = |logs: &str| {
            let json = format!(r#"{{"type":"container","id":"{id}","options":{{"logs":{logs}}}}}"#);
            subscribe(Some(&json)).map(|asked| asked.options.logs).map_err(|e| e.error.message)
        };
        assert_eq!(read("false"), Ok(None));
        assert_eq!(read("true"), Ok(Some(LogOptions::default())));
        let logs = read(
            r#"{"tail":50,"bufferSize":9999999,"since":{"epoch":"e","seq":7},"filters":{"level":"warn"}}"#,
        )
        .unwrap()
        .unwrap();
        assert_eq!((logs.tail, logs.since.unwrap().seq), (50, 7));
        assert!(!logs.filter.is_empty());
        for (wrong, field) in [
            ("3", "options.logs:"),
            (r#"{"tail":"all"}"#, "options.logs.tail:"),
            (r#"{"since":1}"#, "options.logs.since:"),
            (r#"{"filters":{"regex":"("}}"#, "options.logs.filters.regex:"),
        ] {
            let message = read(wrong).unwrap_err();
            assert!(message.starts_with(field), "{wrong}: {message}");
        }
    }

    #[test]
    fn reads_whose_logs_are_wanted_in_one() {
        let read = |id: &str, options: &str| {
            let json = format!(r#"{{"type":"logs","id":"{id}","options":{options}}}"#);
            let asked = subscribe(Some(&json)).map_err(|e| e.error.message)?;
            Ok::<_, String>((asked.room.to_string(), asked.options.logs.map(|logs| logs.tail)))
        };
        for (options, tail) in [
            ("null", 200),
            ("{}", 200),
            (r#"{"logs":true}"#, 200),
            (r#"{"logs":{"tail":5}}"#, 5),
            (r#"{"logs":{"tail":5000}}"#, 1000),
        ] {
            assert_eq!(read("tag:web", options), Ok(("logs:tag:web".into(), Some(tail))));
        }
        for (id, options, wanted) in [
            ("web", "{}", "id: expected device:<uuid>, project:<name>"),
            ("tag:web", r#"{"logs":7}"#, "options.logs: expected"),
            ("tag:web", r#"{"logs":{"filters":{"regex":"("}}}"#, "options.logs.filters.regex:"),
            ("tag:web", r#"{"format":"metr"}"#, "options.format"),
        ] {
            let message = read(id, options).unwrap_err();
            assert!(message.starts_with(wanted), "{message}");
        }
    }

    #[test]
    fn says_which_field_is_wrong() {
        let device =
            |options: &str| format!(r#"{{"type":"device","id":"{UUID}","options":{options}}}"#);
        for (json, field) in [
            ("7".to_owned(), "expected an object"),
            ("[]".into(), "expected an object"),
            ("\"dashboard\"".into(), "expected an object"),
            ("{}".into(), "type: missing"),
            (r#"{"type":1}"#.into(), "type: expected"),
            (r#"{"type":"planet"}"#.into(), "type: unknown \"planet\""),
            (r#"{"type":"device"}"#.into(), "id: missing"),
            (r#"{"type":"device","id":3}"#.into(), "id: expected"),
            (r#"{"type":"device","id":"a\u0000\u001b[31m"}"#.into(), "id: not a UUID"),
            (r#"{"type":"container","id":"web"}"#.into(), "id: not a container id"),
            (r#"{"type":"dashboard","id":"x"}"#.into(), "id: the only dashboard"),
            (r#"{"type":"system","id":"x"}"#.into(), "id: the only system"),
            (r#"{"type":"system","options":{"logs":true}}"#.into(), "options.logs"),
            (device("3"), "options: expected"),
            (device(r#"{"format":"xml"}"#), "options.format"),
            (device(r#"{"rate":0}"#), "options.rate"),
            (device(r#"{"rate":61}"#), "options.rate"),
            (device(r#"{"rate":1.5}"#), "options.rate"),
            (device(r#"{"batch":"yes"}"#), "options.batch"),
            (device(r#"{"since":4}"#), "options.since"),
            (device(r#"{"since":{"epoch":"e","seq":-1}}"#), "options.since"),
            (device(r#"{"logs":true}"#), "options.logs"),
            (device(r#"{"format":"metr","version":3}"#), "options.version"),
            (device(r#"{"format":"json","version":2}"#), "options.version"),
            (device(r#"{"version":1}"#), "options.version"),
            (device(r#"{"format":7}"#), "options.format"),
            (device(r#"{"format":"metr","batch":true}"#), "options.batch"),
            (r#"{"type":"dashboard","options":{"format":"metr"}}"#.into(), "options.format"),
        ] {
            let (code, message) = refused(&json);
            assert_eq!(code, ErrorCode::BadRequest, "{json}");
            assert!(message.starts_with(field), "{json}: {message}");
        }
        assert!(subscribe(None).is_err());
    }

    #[test]
    fn an_echo_is_short_and_printable() {
        let long = format!(r#"{{"type":"{}","id":"\u0007\u001b"}}"#, "x".repeat(5000));
        let refusal = subscribe(Some(&long)).unwrap_err();
        assert_eq!(refusal.kind.as_deref().map(str::len), Some(ECHO));
        assert_eq!(refusal.id.as_deref(), Some("\u{fffd}\u{fffd}"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            let _ = (subscribe(Some(&text)), unsubscribe(Some(&text)), activity(Some(&text)));
        }
    }
}
