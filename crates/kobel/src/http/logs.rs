//! Stored log lines: searched, exported, followed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Query, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use kobel_hub::{
    access::Access,
    logs::store::{
        FoundLine, LogFollow, LogOrder, LogQuery, LogSearch, LogStore, SearchEvent, SearchProgress,
        StoreFigures, StreamFigures, Whose,
    },
};
use kobel_wire::{
    DeviceUuid, Timestamp,
    log::{Level, LogLine, LogStreamId},
};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{State, error::ApiError, who};
use crate::config::Span;

/// Lines of a page, where nobody says how many; and the most.
const PAGE: usize = 200;
const LONGEST_PAGE: usize = 10_000;

/// Lines before the first that is followed, where nobody says how many.
const TAIL: usize = 10;

/// How often new lines are looked for.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is looked whether somebody may still see what flows.
const RECHECK: Duration = Duration::from_secs(1);

/// How often a sign of life goes out while there is nothing to say.
const ALIVE: Duration = Duration::from_secs(15);

/// Parts of an answer that wait for the client. Full: the search waits.
const PARTS: usize = 16;

/// Lines of NDJSON that go at once, in bytes.
const PART: usize = 32 * 1024;

const NDJSON: &str = "application/x-ndjson";

/// How lines that flow are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Shape {
    /// A line of JSON each.
    #[default]
    Json,
    /// For reading, as the page saves them.
    Text,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    search: LogSearch,
    follow: bool,
    progress: bool,
    limited: bool,
    /// A file of this shape, for the browser to save.
    download: Option<Shape>,
}

/// A line in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    place: String,
    stream_id: LogStreamId,
    device_uuid: DeviceUuid,
    device_name: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(flatten)]
    line: &'a LogLine,
}

impl<'a> From<&'a FoundLine> for Line<'a> {
    fn from(found: &'a FoundLine) -> Self {
        let identity = &*found.identity;
        Self {
            place: found.place.to_string(),
            stream_id: identity.stream(),
            device_uuid: identity.device_uuid,
            device_name: &identity.device_name,
            name: &identity.name,
            project: identity.project.as_deref(),
            service: identity.service.as_deref(),
            line: &found.line,
        }
    }
}

/// A page of what was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    lines: Vec<serde_json::Value>,
    /// Where the next page begins; `null` when there is no more.
    cursor: Option<String>,
    progress: SearchProgress,
    store: StoreFigures,
}

/// What is stored of which containers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Streams {
    streams: Vec<StreamFigures>,
    store: StoreFigures,
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// `GET /api/v1/logs/streams`
pub(crate) async fn streams(shared: State, headers: HeaderMap) -> Result<Json<Streams>, ApiError> {
    let access = who::viewer(&shared, &headers).await?;
    let store = store(&shared)?;
    let mut streams = store.streams(|device| access.may_see(device));
    streams.sort_by_key(|stream| std::cmp::Reverse(stream.last));
    Ok(Json(Streams { streams, store: store.figures() }))
}

/// `GET /api/v1/logs/search`: a page of JSON, or with `Accept: application/x-ndjson` all there is, a
/// line each.
pub(crate) async fn search(
    shared: State,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let access = who::viewer(&shared, &headers).await?;
    let store = store(&shared)?;
    let Query(parameters) =
        parameters.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    // A link can set no headers, but a parameter.
    let file = parameters.iter().any(|(name, value)| name == "download" && !value.is_empty());
    let lines = file || accept.is_some_and(|accept| accept.contains(NDJSON));
    let asked = asked(&parameters, lines, Timestamp::now())
        .map_err(|(name, why)| ApiError::bad_request(format!("{name}: {why}")))?;
    if lines {
        return Ok(flow(shared, headers, access, store, asked));
    }
    let limit = asked.search.limit;
    let mut events = store.search(asked.search, may_see(&access));
    let (mut lines, mut last, mut progress) = (Vec::new(), None, SearchProgress::default());
    while let Some(event) = events.recv().await {
        match event {
            SearchEvent::Found(found) => {
                last = Some(found.place);
                // A line of texts and numbers is always written.
                lines.push(serde_json::to_value(Line::from(&*found)).unwrap_or_default());
            }
            SearchEvent::Progress(now) => progress = now,
        }
    }
    let cursor = last.filter(|_| lines.len() == limit).map(|place| place.to_string());
    let page = Page { lines, cursor, progress, store: store.figures() };
    Ok(Json(page).into_response())
}

fn may_see(access: &Arc<Access>) -> Arc<dyn Fn(DeviceUuid) -> bool + Send + Sync> {
    let access = Arc::clone(access);
    Arc::new(move |device| access.may_see(device))
}

fn store(shared: &State) -> Result<LogStore, ApiError> {
    shared.log_store.clone().ok_or_else(|| {
        ApiError::unavailable("this hub stores no log lines: it was started with --log-store off")
    })
}

/// Reads the parameters; names the one that is wrong.
fn asked(
    parameters: &[(String, String)],
    lines: bool,
    now: Timestamp,
) -> Result<Asked, (String, String)> {
    let (mut query, mut search) = (LogQuery::default(), LogSearch::default());
    let (mut limit, mut order) = (None, None);
    let (mut follow, mut progress, mut download) = (false, false, None);
    let mut whose = Vec::new();
    for (name, value) in parameters {
        let wrong = |why: String| (name.clone(), why);
        match name.as_str() {
            _ if value.is_empty() => {}
            "q" => query = LogQuery::parse(value).map_err(|error| wrong(error.to_string()))?,
            "from" => search.from = time(value, now).map_err(wrong)?,
            "to" => search.to = time(value, now).map_err(wrong)?,
            "container" => whose.push((Whose::Container, value)),
            "device" => whose.push((Whose::Device, value)),
            "project" => whose.push((Whose::Project, value)),
            "service" => whose.push((Whose::Service, value)),
            "stream" => {
                let stream = value.parse();
                search.only =
                    Some(stream.map_err(|_| wrong("expected deviceUuid:containerId".into()))?);
            }
            "limit" => {
                let most = if lines { usize::MAX } else { LONGEST_PAGE };
                let given = value.parse().ok().filter(|given| (1..=most).contains(given));
                limit =
                    Some(given.ok_or_else(|| {
                        wrong(format!("expected a number from 1 to {LONGEST_PAGE}"))
                    })?);
            }
            "order" => {
                order = Some(match value.as_str() {
                    "newest" => LogOrder::NewestFirst,
                    "oldest" => LogOrder::OldestFirst,
                    _ => return Err(wrong("expected newest or oldest".into())),
                });
            }
            "cursor" => search.after = Some(value.parse().map_err(wrong)?),
            "follow" | "progress" => {
                let on = match value.as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("expected true or false".into())),
                };
                if on && !lines {
                    return Err(wrong(format!("needs Accept: {NDJSON}")));
                }
                *(if name == "follow" { &mut follow } else { &mut progress }) = on;
            }
            "download" => {
                download = Some(match value.as_str() {
                    "ndjson" => Shape::Json,
                    "text" => Shape::Text,
                    _ => return Err(wrong("expected ndjson or text".into())),
                });
            }
            _ => {
                let known = "q, from, to, container, device, project, service, stream, limit, \
                             order, cursor, follow, progress, download";
                return Err((name.chars().take(40).collect(), format!("unknown; use {known}")));
            }
        }
    }
    for (whose, name) in whose {
        query.of(whose, name);
    }
    search.query = query;
    search.order = order.unwrap_or_default();
    let limited = limit.is_some();
    search.limit = limit.unwrap_or(if lines { usize::MAX } else { PAGE });
    if download.is_some() && (follow || progress) {
        return Err(("download".into(), "ends, and is of lines alone".into()));
    }
    Ok(Asked { search, follow, progress, limited, download })
}

/// A time: RFC 3339, milliseconds since 1970, or how long ago, such as `15m`.
fn time(text: &str, now: Timestamp) -> Result<i64, String> {
    let ms = if let Some(at) = Timestamp::parse(text) {
        at.as_millis()
    } else if text.len() > 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(i64::MAX)
    } else if let Ok(span) = text.parse::<Span>() {
        now.as_millis().saturating_sub(i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX))
    } else {
        return Err(format!(
            "{text:?} is no time: write it as 2026-11-18T11:06:40Z, as milliseconds since 1970, or \
             as how long ago, such as 15m"
        ));
    };
    Ok(ms.saturating_mul(1_000_000))
}

/// An answer of lines, as they are found.
fn flow(
    shared: State,
    headers: HeaderMap,
    access: Arc<Access>,
    store: LogStore,
    asked: Asked,
) -> Response {
    let (send, receive) = mpsc::channel(PARTS);
    let download = asked.download;
    let flowing = Flow {
        shape: download.unwrap_or_default(),
        shared,
        headers,
        checked: Instant::now(),
        sent: Instant::now(),
        access,
        out: send,
        part: Vec::new(),
    };
    // Owned by the answer: it runs as the client reads, and goes with it.
    let parts = futures_util::stream::unfold(
        (receive, Some(Box::pin(flowing.run(store, asked)))),
        |(mut receive, mut flowing)| async move {
            loop {
                let part: Option<Bytes> = match &mut flowing {
                    Some(running) => tokio::select! {
                        biased;
                        part = receive.recv() => part,
                        () = running => {
                            flowing = None;
                            continue;
                        }
                    },
                    None => receive.recv().await,
                };
                return part.map(|part| (Ok::<_, Infallible>(part), (receive, flowing)));
            }
        },
    );
    let kind = match download {
        Some(Shape::Text) => "text/plain; charset=utf-8",
        _ => NDJSON,
    };
    let mut answer = ([(header::CONTENT_TYPE, kind)], Body::from_stream(parts)).into_response();
    if download.is_some() {
        // Without a name: the link that was clicked has one.
        let attachment = HeaderValue::from_static("attachment");
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, attachment);
    }
    answer
}

/// Lines on their way to one client.
struct Flow {
    shared: State,
    headers: HeaderMap,
    access: Arc<Access>,
    /// When it was last made sure that the client may see them.
    checked: Instant,
    sent: Instant,
    out: mpsc::Sender<Bytes>,
    part: Vec<u8>,
    shape: Shape,
}

/// The client has gone, or may see no more.
struct Over;

impl Flow {
    async fn run(mut self, store: LogStore, asked: Asked) {
        // Either way it is over.
        let _ = self.all(&store, asked).await;
        let _ = self.send().await;
    }

    async fn all(&mut self, store: &LogStore, asked: Asked) -> Result<(), Over> {
        let Asked { mut search, follow, progress, limited, .. } = asked;
        let follow = follow.then(|| store.follow(search.query.clone()));
        // Before what is followed: a tail, or all from a time on.
        let tail = follow.is_some() && search.from == i64::MIN && search.after.is_none();
        if tail {
            search.order = LogOrder::NewestFirst;
            search.limit = if limited { search.limit } else { TAIL };
        } else if follow.is_some() {
            search.order = LogOrder::OldestFirst;
        }
        let mut events = store.search(search, may_see(&self.access));
        let mut held = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                SearchEvent::Found(found) => {
                    if follow.as_ref().is_some_and(|follow| !follow.is_before(found.place)) {
                        // It comes again.
                    } else if tail {
                        held.push(found);
                    } else {
                        self.found(&found).await?;
                    }
                }
                SearchEvent::Progress(now) if progress => {
                    self.line(&serde_json::json!({ "progress": now })).await?;
                    self.send().await?;
                }
                SearchEvent::Progress(_) => {}
            }
            if events.is_empty() && !self.part.is_empty() {
                self.send().await?;
            }
        }
        for found in held.iter().rev() {
            self.found(found).await?;
        }
        self.send().await?;
        match follow {
            Some(follow) => self.follow(follow).await,
            None => Ok(()),
        }
    }

    async fn follow(&mut self, mut follow: LogFollow) -> Result<(), Over> {
        loop {
            let access = Arc::clone(&self.access);
            let looked = tokio::task::spawn_blocking(move || {
                let found = follow.look(&|device| access.may_see(device));
                (follow, found)
            });
            let Ok((same, found)) = looked.await else { return Err(Over) };
            follow = same;
            for found in &found {
                self.found(found).await?;
            }
            if found.is_empty() && self.sent.elapsed() > ALIVE {
                // An empty line, so that both ends notice when the other has gone.
                self.part.push(b'\n');
            }
            self.send().await?;
            self.check().await?;
            if found.is_empty() {
                sleep(LOOK).await;
            }
        }
    }

    async fn found(&mut self, found: &FoundLine) -> Result<(), Over> {
        match self.shape {
            Shape::Json => self.line(&Line::from(found)).await,
            Shape::Text => {
                self.part.extend_from_slice(text(found).as_bytes());
                self.pass().await
            }
        }
    }

    async fn line<T: Serialize>(&mut self, line: &T) -> Result<(), Over> {
        serde_json::to_writer(&mut self.part, line).map_err(|_| Over)?;
        self.part.push(b'\n');
        self.pass().await
    }

    /// Sends what has become enough.
    async fn pass(&mut self) -> Result<(), Over> {
        if self.part.len() >= PART {
            self.send().await?;
            self.check().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Over> {
        if self.part.is_empty() {
            return Ok(());
        }
        self.sent = Instant::now();
        let part = Bytes::from(std::mem::take(&mut self.part));
        self.out.send(part).await.map_err(|_| Over)
    }

    /// Whether the client may still see what it sees: its token may have been revoked.
    async fn check(&mut self) -> Result<(), Over> {
        if self.checked.elapsed() < RECHECK {
            return Ok(());
        }
        self.checked = Instant::now();
        match who::viewer(&self.shared, &self.headers).await {
            Ok(access) if access == self.access => Ok(()),
            _ => {
                let over = "the token or session has ended, or may see other devices now";
                self.part =
                    serde_json::json!({ "error": { "code": "UNAUTHORIZED", "message": over } })
                        .to_string()
                        .into_bytes();
                self.part.push(b'\n');
                Err(Over)
            }
        }
    }
}

/// A line with its end: when, how grave, of what, and as it came.
fn text(found: &FoundLine) -> String {
    let FoundLine { identity, line, .. } = found;
    let level = line.level.map_or("-", Level::as_str);
    let said = match line.marker {
        Some(marker) if line.message.is_empty() => format!("---- {marker:?}").to_lowercase(),
        Some(_) => format!("---- {}", line.message),
        None => line.raw().to_owned(),
    };
    let cut = line.cut.map(|bytes| format!(" [{bytes} bytes cut off]")).unwrap_or_default();
    format!(
        "{} {level:<5} {}/{} | {said}{cut}\n",
        line.timestamp, identity.device_name, identity.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], lines: bool) -> Result<Asked, String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        asked(&pairs, lines, Timestamp::from_millis(1_795_000_000_000))
            .map_err(|(name, why)| format!("{name}: {why}"))
    }

    #[test]
    fn times_are_instants_or_how_long_ago() {
        let now = 1_795_000_000_000_000_000;
        for (text, wanted) in [
            ("2026-11-18T11:06:40Z", now),
            ("1795000000000", now),
            ("15m", now - 900_000_000_000),
            ("2d", now - 172_800_000_000_000),
        ] {
            assert_eq!(read(&[("from", text)], false).unwrap().search.from, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, wanted) in [
            ("q", "/(/", "q: /(/: unclosed group"),
            ("from", "soon", "from: \"soon\" is no time"),
            ("limit", "0", "limit: expected a number from 1 to 10000"),
            ("limit", "10001", "limit: expected"),
            ("order", "up", "order: expected newest or oldest"),
            ("cursor", "x", "cursor: not one that a search gave"),
            ("stream", "x", "stream: expected deviceUuid:containerId"),
            ("follow", "true", "follow: needs Accept"),
            ("download", "pdf", "download: expected ndjson or text"),
            ("colour", "red", "colour: unknown; use q, from"),
        ] {
            let error = read(&[(name, value)], false).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
        assert_eq!(read(&[], false).unwrap().search.limit, PAGE);
        assert_eq!(read(&[("limit", "")], true).unwrap().search.limit, usize::MAX);
    }
}
