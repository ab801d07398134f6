//! The door for viewers: signs sockets in and hands their requests to the hub.
//!
//! Runs on the fan-out's shards, so nothing here blocks. Requests are read here, in parallel, and
//! the hub gets only what is well-formed or a ready refusal.

use std::{
    collections::HashMap,
    future::Future,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use kobel_fanout::{
    AckId, ConnectError, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler,
    Handshake, Policy, SocketId,
};
use kobel_wire::{
    Device, DeviceId, DeviceUuid,
    event::{Ack, ErrorBody, ErrorCode},
};
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::{Access, CredentialId, Principal},
    demand::Demand,
    live::DeviceLabel,
    request::{self, Refusal, Subscribe},
    room::RoomName,
};

/// The Socket.IO namespace that the hub serves.
pub const NAMESPACE: &str = "/";

/// Client events that the hub knows; others count as `other` in metrics.
pub const KNOWN_EVENTS: [&str; 3] = ["subscribe", "unsubscribe", "activity"];

/// Requests that wait for the hub. Full: the request is refused with `UNAVAILABLE`.
const WAITING_REQUESTS: usize = 16_384;

/// Tells who a socket is.
pub trait Authenticate: Send + Sync + 'static {
    /// Who connects, by the handshake's headers and the `auth` of the CONNECT packet; or the error
    /// that the client gets.
    fn authenticate(
        &self,
        handshake: &Handshake,
        auth: Option<&RawValue>,
    ) -> impl Future<Output = Result<Principal, ErrorBody>> + Send;
}

/// What reaches the hub from the viewers' side.
#[derive(Debug)]
pub(crate) enum Request {
    Connected { socket: SocketId, principal: Principal },
    Subscribe { socket: SocketId, asked: Subscribe, ack: Option<AckId> },
    Unsubscribe { socket: SocketId, room: RoomName, ack: Option<AckId> },
    Activity { socket: SocketId, visible: bool, ack: Option<AckId> },
    Refused { socket: SocketId, refusal: Box<Refusal>, ack: Option<AckId> },
    AddDevices { devices: Vec<Device>, demand: Demand, done: oneshot::Sender<()> },
    LabelDevice { device: DeviceUuid, label: DeviceLabel },
    RemoveDevice { device: DeviceUuid },
    Redirect { devices: Vec<DeviceUuid>, demand: Demand, unknown: oneshot::Sender<Vec<DeviceUuid>> },
    OthersNeed { devices: HashMap<DeviceId, u8> },
    Devices { answer: oneshot::Sender<Vec<Device>> },
    Revoke { credential: CredentialId },
    Credentials { answer: oneshot::Sender<Vec<(CredentialId, Arc<Access>)>> },
}

/// Sockets that are gone. Bounded by the number of sockets: each is put here once.
#[derive(Default)]
pub(crate) struct Gone {
    sockets: Mutex<Vec<SocketId>>,
    pub(crate) ready: Notify,
}

impl Gone {
    pub(crate) fn take(&self) -> Vec<SocketId> {
        mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hub's ends of the queues from the viewers' side.
pub(crate) struct Requests {
    pub(crate) queue: mpsc::Receiver<Request>,
    pub(crate) gone: Arc<Gone>,
}

/// The sending ends.
#[derive(Clone)]
pub(crate) struct ToHub {
    pub(crate) queue: mpsc::Sender<Request>,
    gone: Arc<Gone>,
}

pub(crate) fn queues() -> (ToHub, Requests) {
    let (tx, rx) = mpsc::channel(WAITING_REQUESTS);
    let gone = Arc::new(Gone::default());
    (ToHub { queue: tx, gone: Arc::clone(&gone) }, Requests { queue: rx, gone })
}

/// The fan-out's handler.
pub struct Gate<A> {
    authenticator: Arc<A>,
    hub: ToHub,
    /// Sign-ins under way; at most one per socket.
    sign_ins: TaskTracker,
    cancel: CancellationToken,
}

impl<A: Authenticate> Gate<A> {
    pub(crate) fn new(authenticator: Arc<A>, hub: ToHub, cancel: CancellationToken) -> Self {
        Self { authenticator, hub, sign_ins: TaskTracker::new(), cancel }
    }

    fn pass(&self, cx: &mut Context<'_>, request: Request, ack: Option<AckId>) {
        if self.hub.queue.try_send(request).is_err() {
            let message = "the hub is overloaded; try again in a few seconds";
            let error = ErrorBody { code: ErrorCode::Unavailable, message: message.into() };
            if let Some(ack) = ack {
                // Plain data always encodes.
                let _ = cx.ack(ack, &Ack::refused(error.code, message));
            }
            if let Ok(frame) = Frame::event(NAMESPACE, "error", &error, Policy::DropOldest) {
                cx.emit(&frame);
            }
        }
    }
}

impl<A: Authenticate> Handler for Gate<A> {
    fn connect(&self, request: ConnectRequest) {
        if request.namespace() != NAMESPACE {
            return request.reject(ConnectError::new("Invalid namespace"));
        }
        let authenticator = Arc::clone(&self.authenticator);
        let hub = self.hub.clone();
        let cancel = self.cancel.clone();
        self.sign_ins.spawn(async move {
            let known = tokio::select! {
                known = authenticator.authenticate(request.handshake(), request.auth()) => known,
                () = cancel.cancelled() => Err(ErrorBody {
                    code: ErrorCode::Unavailable,
                    message: "the hub is shutting down".into(),
                }),
            };
            match known {
                Ok(principal) => {
                    let socket = request.socket();
                    // The hub must know the viewer before its first request can come.
                    let told = hub.queue.send(Request::Connected { socket, principal }).await;
                    match told {
                        Ok(()) => request.accept(),
                        Err(_) => request.reject(ConnectError::new("the hub is shutting down")),
                    }
                }
                Err(ErrorBody { code, message }) => {
                    let data = serde_json::json!({ "code": code.as_str() });
                    request.reject(ConnectError::new(message).with_data(data));
                }
            }
        });
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        let (socket, ack) = (cx.socket(), event.ack);
        let argument = event.args.first().map(|a| a.get());
        let refused = |refusal| Request::Refused { socket, refusal, ack };
        let request = match event.name.as_str() {
            "subscribe" => request::subscribe(argument)
                .map_or_else(refused, |asked| Request::Subscribe { socket, asked, ack }),
            "unsubscribe" => request::unsubscribe(argument)
                .map_or_else(refused, |room| Request::Unsubscribe { socket, room, ack }),
            "activity" => request::activity(argument)
                .map_or_else(refused, |visible| Request::Activity { socket, visible, ack }),
            other => refused(request::unknown_event(other)),
        };
        self.pass(cx, request, ack);
    }

    fn disconnect(&self, socket: SocketId, _namespace: &str, _reason: DisconnectReason) {
        self.hub.gone.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        self.hub.gone.ready.notify_one();
    }
}
