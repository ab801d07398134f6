//! stub
#![allow(missing_docs)]
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use std::{net::SocketAddr, sync::Arc};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckId(pub u64);
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Room(Arc<str>);
impl From<String> for Room {
    fn from(s: String) -> Self {
        Room(s.into())
    }
}
#[derive(Debug)]
pub struct Frame {
    pub text: String,
}
#[derive(Debug, Clone, Copy)]
pub enum Policy {
    Deliver,
    Conflate(u64),
    DropOldest,
}
impl Frame {
    pub fn event<T: Serialize + ?Sized>(
        _ns: &str,
        e: &str,
        d: &T,
        _p: Policy,
    ) -> Result<Arc<Frame>, serde_json::Error> {
        Ok(Arc::new(Frame {
            text: format!("[{:?},{}]", e, serde_json::to_string(d)?),
        }))
    }
}
pub struct ConnectError;
impl ConnectError {
    pub fn new(_: impl Into<String>) -> Self {
        Self
    }
    #[must_use]
    pub fn with_data(self, _: Value) -> Self {
        self
    }
}
#[derive(Debug)]
pub struct Handshake {
    pub headers: http::HeaderMap,
    pub remote: SocketAddr,
}
pub struct ConnectRequest;
impl ConnectRequest {
    pub fn socket(&self) -> SocketId {
        todo!()
    }
    pub fn namespace(&self) -> &str {
        ""
    }
    pub fn handshake(&self) -> &Arc<Handshake> {
        todo!()
    }
    pub fn auth(&self) -> Option<&RawValue> {
        None
    }
    pub fn accept(self) {}
    pub fn reject(self, _: ConnectError) {}
}
pub struct Event {
    pub name: String,
    pub args: Vec<Box<RawValue>>,
    pub ack: Option<AckId>,
}
pub struct Context<'a>(&'a ());
impl Context<'_> {
    pub fn socket(&self) -> SocketId {
        todo!()
    }
    pub fn ack<T: Serialize>(&mut self, _: AckId, _: &T) {}
    pub fn emit(&mut self, _: &Arc<Frame>) {}
}
pub enum DisconnectReason {
    Server,
}
pub trait Handler: Send + Sync + 'static {
    fn connect(&self, r: ConnectRequest);
    fn event(&self, cx: &mut Context<'_>, e: Event);
    fn disconnect(&self, s: SocketId, ns: &str, r: DisconnectReason);
}
#[derive(Clone)]
pub struct Server;
impl Server {
    pub async fn publish(&self, _: &Room, _: Arc<Frame>) {}
    pub async fn emit(&self, _: SocketId, _: Arc<Frame>) {}
    pub async fn ack<T: Serialize>(&self, _: SocketId, _: AckId, _: &T) {}
    pub async fn join(&self, _: SocketId, _: Room) {}
    pub async fn leave(&self, _: SocketId, _: &Room) {}
    pub async fn disconnect(&self, _: SocketId, _: DisconnectReason) {}
}

impl SocketId {
    pub fn from_raw(n: u64) -> Self {
        Self(n)
    }
}
impl AckId {
    pub fn from_raw(n: u64) -> Self {
        Self(n)
    }
}
impl Frame {
    pub fn data(&self) -> &str {
        &self.text
    }
}
