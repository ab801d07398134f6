//! One request under the server's path (Engine.IO protocol document, "HTTP long-polling" and
//! "WebSocket").

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{self, HeaderName},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use super::{Admission, cors};
use crate::{
    Server,
    handler::KeptHandshake,
    server::{new_sid, shard_of},
    shard::{Command, Handed, Opening, Reply, Stream, Turn},
    websocket,
};

/// The body of an answer.
pub type Body = Full<Bytes>;

/// Codes of the reference server's errors.
const UNKNOWN_TRANSPORT: Reply = Reply::Refused(0, "Transport unknown");
const UNKNOWN_SID: Reply = Reply::Refused(1, "Session ID unknown");
const BAD_METHOD: Reply = Reply::Refused(2, "Bad handshake method");
const BAD_REQUEST: Reply = Reply::Refused(3, "Bad request");
const BAD_VERSION: Reply = Reply::Refused(5, "Unsupported protocol version");

/// The query of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query<'a> {
    version: Option<&'a str>,
    transport: Option<&'a str>,
    sid: Option<&'a str>,
}

/// The session id in a request's query, as [`Server::handle`] reads it.
pub fn sid_of(uri: &Uri) -> Option<&str> {
    Query::read(uri.query()?).sid
}

/// Why a request under the server's path is not answered by the application that has the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such session (any more): a client opens another one at once.
    UnknownSession,
    /// The body is too large.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The server is about to end: a client tries again later.
    Closing,
    /// There is no room: a client tries again later.
    Full,
}

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Self {
        let mut read = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            // None of the values that are known here has a character that needs an escape.
            match name {
                "EIO" => read.version = Some(value),
                "transport" => read.transport = Some(value),
                "sid" => read.sid = Some(value),
                _ => {}
            }
        }
        read
    }
}

impl Server {
    /// Answers a request under the server's path. For a WebSocket the connection is taken from
    /// hyper as soon as the answer is out, and hyper's buffers are given up.
    ///
    /// The request may come from any hyper 1 server, so also from an axum handler; `remote` is the
    /// address that counts as the client's.
    pub async fn handle<B>(&self, mut request: Request<B>, remote: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let asked = Query::read(&query);
        let headers = head.headers.clone();
        let mut answer = if head.method == Method::OPTIONS {
            empty(StatusCode::NO_CONTENT)
        } else if asked.version != Some("4") {
            reply(BAD_VERSION)
        } else {
            match asked.transport {
                Some("polling") => reply(self.polling(head, &asked, &query, body, remote).await),
                Some("websocket") => self.websocket(head, &asked, &query, upgrade, remote).await,
                _ => reply(UNKNOWN_TRANSPORT),
            }
        };
        cors::allow(&self.config().cors, &headers, answer.headers_mut());
        answer
    }

    /// An answer that says no, in the words of the protocol and with what CORS needs. For who takes a
    /// request under the path elsewhere, such as to the server that its session is on.
    pub fn refuse(&self, request: &HeaderMap, refusal: Refusal) -> Response<Body> {
        let mut answer = reply(match refusal {
            Refusal::UnknownSession => UNKNOWN_SID,
            Refusal::TooLarge => Reply::TooLarge,
            Refusal::TooSlow => Reply::TooSlow,
            Refusal::Closing => Reply::Closing,
            Refusal::Full => Reply::Full,
        });
        cors::allow(&self.config().cors, request, answer.headers_mut());
        answer
    }

    async fn polling<B>(
        &self,
        head: http::request::Parts,
        asked: &Query<'_>,
        query: &str,
        body: B,
        remote: SocketAddr,
    ) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (send, replied) = oneshot::channel();
        match (head.method.clone(), asked.sid) {
            (Method::GET, None) => {
                if self.closing().is_cancelled() {
                    return Reply::Closing;
                }
                let shard = self.next_shard();
                let Some(opening) = self.opening(shard, head, query, remote) else {
                    return Reply::Full;
                };
                self.send(shard, Command::OpenPolling { opening, reply: send }).await;
            }
            (_, None) => return BAD_METHOD,
            (Method::GET, Some(sid)) => {
                let Some(shard) = shard_of(sid) else {
                    return UNKNOWN_SID;
                };
                self.send(shard, Command::Poll { sid: sid.into(), reply: send }).await;
            }
            (Method::POST, Some(sid)) => {
                let Some(shard) = shard_of(sid) else {
                    return UNKNOWN_SID;
                };
                return self.post(shard, sid.into(), body).await;
            }
            _ => return BAD_METHOD,
        }
        // Without an answer the shard has ended or the session is gone.
        replied.await.unwrap_or(UNKNOWN_SID)
    }

    async fn post<B>(&self, shard: usize, sid: Box<str>, body: B) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (send, begun) = oneshot::channel();
        self.send(shard, Command::BeginPost { sid: sid.clone(), reply: send }).await;
        // Given back when this request ends, however it does.
        let _turn = match begun.await {
            Ok(Ok(turn)) => turn,
            Ok(Err(refused)) => return refused,
            Err(_) => return UNKNOWN_SID,
        };
        let body = Limited::new(body, self.config().max_payload).collect();
        let body = tokio::select! {
            body = timeout(self.config().limits.body_timeout, body) => body,
            () = self.closing().cancelled() => return Reply::Closing,
        };
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.send(shard, Command::TooLarge { sid }).await;
                return Reply::TooLarge;
            }
            // The client broke off; nobody reads the answer.
            Ok(Err(_)) => return BAD_REQUEST,
            Err(_) => return Reply::TooSlow,
        };
        let (send, replied) = oneshot::channel();
        self.send(shard, Command::Post { sid, body, reply: send }).await;
        replied.await.unwrap_or(UNKNOWN_SID)
    }

    async fn websocket(
        &self,
        head: http::request::Parts,
        asked: &Query<'_>,
        query: &str,
        upgrade: Option<OnUpgrade>,
        remote: SocketAddr,
    ) -> Response<Body> {
        if head.method != Method::GET {
            return reply(BAD_METHOD);
        }
        let accept = match (websocket::accept(&head.headers), &upgrade) {
            (Ok(accept), Some(_)) => accept,
            (Err(websocket::HandshakeError::Version), _) => {
                let mut answer = reply(BAD_REQUEST);
                *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
                let version = HeaderValue::from_static("13");
                answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
                return answer;
            }
            _ => return reply(BAD_REQUEST),
        };
        let deflate = self.config().deflate_from.and_then(|_| websocket::negotiate(&head.headers));
        let deflates = deflate.is_some();
        let (shard, target) = match asked.sid {
            None if self.closing().is_cancelled() => return reply(Reply::Closing),
            None => {
                let shard = self.next_shard();
                match self.opening(shard, head, query, remote) {
                    Some(opening) => (shard, Target::New(opening)),
                    None => return reply(Reply::Full),
                }
            }
            Some(sid) => {
                let Some(shard) = shard_of(sid) else {
                    return reply(UNKNOWN_SID);
                };
                let (send, claimed) = oneshot::channel();
                let sid: Box<str> = sid.into();
                self.send(shard, Command::Claim { sid: sid.clone(), reply: send }).await;
                // A session that is gone, or has a WebSocket already, shows as a socket that is
                // closed at once, as with the reference server.
                let turn = claimed.await.unwrap_or_default();
                (shard, turn.map_or(Target::Nothing, |turn| Target::Session(sid, turn)))
            }
        };
        if let Some(upgrade) = upgrade {
            let server = self.clone();
            self.upgrades().spawn(async move {
                let upgraded = tokio::select! {
                    upgraded = upgrade => upgraded,
                    () = server.closing().cancelled() => return,
                };
                // Where the client broke off it may try again.
                let Ok((handed, early)) = upgraded.map(take) else { return };
                let command = match target {
                    Target::New(opening) => {
                        Command::OpenWebSocket { opening, handed, deflate: deflates, early }
                    }
                    Target::Session(sid, turn) => {
                        Command::Upgrade { sid, turn, handed, deflate: deflates, early }
                    }
                    Target::Nothing => return,
                };
                server.send(shard, command).await;
            });
        }
        let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = answer.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(deflate) = deflate {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate);
        }
        answer
    }

    /// What a new session is made of; `None` when there is no room or no randomness for it.
    fn opening(
        &self,
        shard: usize,
        mut head: http::request::Parts,
        query: &str,
        remote: SocketAddr,
    ) -> Option<Opening> {
        let place = self.reserve()?;
        let sid = new_sid(self.config().node.as_ref(), shard).ok()?;
        let admission = head.extensions.remove::<Admission>();
        let handshake = KeptHandshake::new(&head.headers, remote, query);
        Some(Opening { sid, handshake, admission, place })
    }
}

enum Target {
    New(Opening),
    Session(Box<str>, Turn),
    Nothing,
}

/// Takes the socket out of hyper, with the bytes that hyper has read ahead.
fn take(upgraded: Upgraded) -> (Handed, Bytes) {
    // From hyper's own connection, or from hyper-util's that axum serves by.
    let taken = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Ok((parts.io, parts.read_buf)),
        Err(upgraded) => auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
            .map(|parts| (parts.io, parts.read_buf)),
    };
    match taken.map(|(io, early)| (io.into_inner().into_std(), early)) {
        Ok((Ok(stream), early)) => (Handed::Tcp(stream), early),
        // It cannot leave its reactor, because it is broken: its session ends at the first read.
        Ok((Err(_), _)) => (Handed::Other(Box::new(tokio::io::empty())), Bytes::new()),
        Err(upgraded) => {
            let stream: Box<dyn Stream> = Box::new(TokioIo::new(upgraded));
            (Handed::Other(stream), Bytes::new())
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = status;
    answer
}

fn reply(reply: Reply) -> Response<Body> {
    let (status, kind, body) = match reply {
        Reply::Payload(payload) => (StatusCode::OK, "text/plain; charset=UTF-8", payload),
        Reply::Done => (StatusCode::OK, "text/html", "ok".into()),
        Reply::Refused(code, message) => {
            let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
            (StatusCode::BAD_REQUEST, "application/json", body.into())
        }
        Reply::TooLarge => {
            let body = r#"{"code":3,"message":"Payload too large"}"#;
            (StatusCode::PAYLOAD_TOO_LARGE, "application/json", body.into())
        }
        Reply::TooSlow => {
            let body = r#"{"code":3,"message":"The body did not come in time"}"#;
            (StatusCode::REQUEST_TIMEOUT, "application/json", body.into())
        }
        Reply::Closing => {
            let body = r#"{"code":4,"message":"The server is shutting down; try again later"}"#;
            (StatusCode::SERVICE_UNAVAILABLE, "application/json", body.into())
        }
        Reply::Full => {
            let body = r#"{"code":4,"message":"Too many sessions; try again later"}"#;
            (StatusCode::SERVICE_UNAVAILABLE, "application/json", body.into())
        }
    };
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_query() {
        let read = Query::read("EIO=4&transport=polling&t=abc&sid=x-_1&&b");
        assert_eq!(
            read,
            Query { version: Some("4"), transport: Some("polling"), sid: Some("x-_1") }
        );
        assert_eq!(Query::read(""), Query::default());
    }
}
