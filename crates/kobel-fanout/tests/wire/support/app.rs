//! An application with a little of everything.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kobel_fanout::{
    ConnectError, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler, Policy, Room,
    SocketId,
};
use serde_json::json;
use tokio::sync::Notify;

/// Lets clients into `/`, `/admin` and `/n/…`, refuses `/deny` with data, decides about `/later` when the
/// test does, and knows the events `echo`, `join`, `leave`, `block` and
/// `bye`.
#[derive(Default)]
pub(crate) struct App {
    connected: Mutex<Vec<SocketId>>,
    gone: Mutex<Vec<(SocketId, DisconnectReason)>>,
    later: Mutex<Vec<ConnectRequest>>,
    blocked: Notify,
}

impl App {
    /// Waits until a client's `block` holds a shard.
    pub(crate) async fn blocked(&self) {
        self.blocked.notified().await;
    }

    /// Every socket that was let in, oldest first.
    pub(crate) fn connected(&self) -> Vec<SocketId> {
        lock(&self.connected).clone()
    }

    pub(crate) fn gone(&self) -> Vec<(SocketId, DisconnectReason)> {
        lock(&self.gone).clone()
    }

    pub(crate) fn later(&self) -> Option<ConnectRequest> {
        lock(&self.later).pop()
    }
}

impl Handler for App {
    fn connect(&self, request: ConnectRequest) {
        match request.namespace() {
            name if matches!(name, "/" | "/admin") || name.starts_with("/n/") => {
                lock(&self.connected).push(request.socket());
                request.accept();
            }
            "/deny" => {
                let data = json!({ "code": "UNAUTHORIZED" });
                request.reject(ConnectError::new("Insufficient permissions").with_data(data));
            }
            "/later" => lock(&self.later).push(request),
            _ => request.reject(ConnectError::new("Invalid namespace")),
        }
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        let room = || {
            let name: String = serde_json::from_str(event.args[0].get()).unwrap();
            Room::from(name)
        };
        match (event.name.as_str(), event.ack) {
            ("echo", Some(ack)) => cx.ack_args(ack, &event.args, event.attachments).unwrap(),
            ("echo", None) => {
                let (args, attachments) = (&event.args, event.attachments);
                let ns = cx.namespace().to_owned();
                let back = Frame::binary_event(&ns, "echo", args, attachments, Policy::Deliver);
                cx.emit(&back.unwrap());
            }
            ("join", ack) => {
                cx.join(room());
                if let Some(ack) = ack {
                    cx.ack(ack, &"joined").unwrap();
                }
            }
            ("leave", ack) => {
                cx.leave(&room());
                if let Some(ack) = ack {
                    cx.ack(ack, &"left").unwrap();
                }
            }
            ("block", _) => {
                self.blocked.notify_one();
                let ms = serde_json::from_str(event.args[0].get()).unwrap();
                std::thread::sleep(Duration::from_millis(ms));
            }
            ("bye", _) => cx.disconnect(),
            _ => {}
        }
    }

    fn disconnect(&self, socket: SocketId, _: &str, reason: DisconnectReason) {
        lock(&self.gone).push((socket, reason));
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
