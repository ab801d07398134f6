//! Messages, encoded once for everybody who gets them.

use std::sync::{Arc, OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;

use crate::{
    Loss,
    engineio::SEPARATOR,
    socketio::{self, Kind},
    websocket::{self, Opcode, header},
};

/// What may happen to a frame that a slow client has not yet taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It must arrive; a client that lets too many of these wait is closed.
    Deliver,
    /// A newer frame with the same key takes its place; where frames of another policy wait
    /// behind it, the newer one goes behind those, so that it never overtakes them.
    Conflate(u64),
    /// The oldest such frames are dropped when too much waits, and counted; see also
    /// [`Frame::with_loss`].
    DropOldest,
}

/// Why a message cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be encoded as JSON: {0}")]
pub struct FrameError(#[from] serde_json::Error);

/// Whose key, the server's own or the application's, and the key.
pub(crate) type ConflationKey = (bool, u64);

/// An encoded message: the bytes that go to a WebSocket, header included, and the form for
/// polling, made when first needed. Shared by all of its recipients.
#[derive(Debug)]
pub struct Frame {
    /// Complete WebSocket frames: the packet, then its attachments.
    pub(crate) socket: Bytes,
    /// The Engine.IO packet as text, inside `socket`.
    text: Bytes,
    attachments: Vec<Bytes>,
    polling: OnceLock<Bytes>,
    /// The same as `socket` with the packet deflated; `None` inside where that is not worth it.
    deflated: OnceLock<Option<Bytes>>,
    pub(crate) policy: Policy,
    /// Made by the server itself: its conflation key is none of the application's.
    own: bool,
    pub(crate) namespace: Arc<str>,
    pub(crate) event: Arc<str>,
    /// Where the JSON begins in `text`.
    data: usize,
    /// What a client is told where this is dropped for it.
    pub(crate) loss: Option<Box<Loss>>,
}

impl Frame {
    /// An event with one argument.
    pub fn event<T: Serialize + ?Sized>(
        namespace: &str,
        event: &str,
        argument: &T,
        policy: Policy,
    ) -> Result<Arc<Self>, FrameError> {
        let args = serde_json::to_string(&(event, argument))?;
        Ok(Self::packet(namespace, event, Kind::Event, None, &args, Vec::new(), policy))
    }

    /// An event with these arguments.
    pub fn event_args<T: Serialize>(
        namespace: &str,
        event: &str,
        arguments: &[T],
        policy: Policy,
    ) -> Result<Arc<Self>, FrameError> {
        Self::binary_event(namespace, event, arguments, Vec::new(), policy)
    }

    /// An event with attachments. In the arguments an attachment stands as
    /// `{"_placeholder": true, "num": n}`.
    pub fn binary_event<T: Serialize>(
        namespace: &str,
        event: &str,
        arguments: &[T],
        attachments: Vec<Bytes>,
        policy: Policy,
    ) -> Result<Arc<Self>, FrameError> {
        let mut args = serde_json::to_string(&[event])?;
        args.pop();
        for argument in arguments {
            args.push(',');
            args.push_str(&serde_json::to_string(argument)?);
        }
        args.push(']');
        let kind = if attachments.is_empty() { Kind::Event } else { Kind::BinaryEvent };
        Ok(Self::packet(namespace, event, kind, None, &args, attachments, policy))
    }

    /// The frame with what a client is told where it is dropped. To be called before it is shared; a
    /// frame that is shared already stays as it is.
    #[must_use]
    pub fn with_loss(mut self: Arc<Self>, loss: Loss) -> Arc<Self> {
        if let Some(frame) = Arc::get_mut(&mut self) {
            frame.loss = Some(Box::new(loss));
        }
        self
    }

    pub(crate) fn packet(
        namespace: &str,
        event: &str,
        kind: Kind,
        ack: Option<u64>,
        json: &str,
        attachments: Vec<Bytes>,
        policy: Policy,
    ) -> Arc<Self> {
        let mut text = String::with_capacity(json.len() + namespace.len() + 16);
        text.push('4');
        socketio::head(&mut text, kind, attachments.len(), namespace, ack);
        let data = text.len();
        text.push_str(json);
        let mut frame = Self::engine(&text, attachments);
        frame.policy = policy;
        frame.namespace = namespace.into();
        frame.event = event.into();
        frame.data = data;
        Arc::new(frame)
    }

    /// A bare Engine.IO packet, then binary messages.
    fn engine(text: &str, attachments: Vec<Bytes>) -> Self {
        let binary: usize = attachments.iter().map(|a| a.len() + 10).sum();
        let mut socket = Vec::with_capacity(text.len() + 10 + binary);
        let mut start = 0;
        if !text.is_empty() {
            header(&mut socket, Opcode::Text, text.len());
            start = socket.len();
            socket.extend_from_slice(text.as_bytes());
        }
        let end = start + text.len();
        for attachment in &attachments {
            header(&mut socket, Opcode::Binary, attachment.len());
            socket.extend_from_slice(attachment);
        }
        let socket = Bytes::from(socket);
        Self {
            text: socket.slice(start..end),
            socket,
            attachments,
            polling: OnceLock::new(),
            deflated: OnceLock::new(),
            policy: Policy::Deliver,
            own: false,
            namespace: Arc::default(),
            event: Arc::default(),
            data: 0,
            loss: None,
        }
    }

    /// A packet of the protocol itself, such as `2`.
    pub(crate) fn control(text: &str) -> Arc<Self> {
        Arc::new(Self::engine(text, Vec::new()))
    }

    /// A WebSocket's pong. Means nothing on polling. The newest is the answer to all pings before
    /// it (RFC 6455, section 5.5.3), so a client that pings and never reads fills nothing.
    pub(crate) fn pong(data: &[u8]) -> Arc<Self> {
        let mut socket = Vec::with_capacity(data.len() + 4);
        header(&mut socket, Opcode::Pong, data.len());
        socket.extend_from_slice(data);
        Arc::new(Self {
            socket: socket.into(),
            policy: Policy::Conflate(0),
            own: true,
            ..Self::engine("", Vec::new())
        })
    }

    /// Under which key a newer frame takes this one's place.
    pub(crate) fn conflation(&self) -> Option<ConflationKey> {
        match self.policy {
            Policy::Conflate(key) => Some((self.own, key)),
            Policy::Deliver | Policy::DropOldest => None,
        }
    }

    /// A binary Engine.IO message without a packet before it.
    pub(crate) fn binary(data: Bytes) -> Arc<Self> {
        Arc::new(Self::engine("", vec![data]))
    }

    /// The packet's JSON: for an event, the array of its name and arguments.
    pub fn data(&self) -> &str {
        // The text was a `String` before it was bytes.
        std::str::from_utf8(&self.text).unwrap_or_default().get(self.data..).unwrap_or_default()
    }

    /// The binary attachments, in their order.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Bytes on a WebSocket, headers included, not deflated.
    pub fn len(&self) -> usize {
        self.socket.len()
    }

    /// Deflates the packet, if it has at least `least` bytes and gets smaller. To be called before
    /// the frame is given to a shard, which must not be held up by it.
    pub(crate) fn deflate(&self, least: usize) {
        self.deflated.get_or_init(|| {
            let packet = (self.text.len() >= least).then(|| websocket::deflate(&self.text))??;
            let mut plain_header = Vec::with_capacity(10);
            header(&mut plain_header, Opcode::Text, self.text.len());
            let attachments = &self.socket[plain_header.len() + self.text.len()..];
            let mut socket = Vec::with_capacity(packet.len() + attachments.len() + 10);
            websocket::deflated_header(&mut socket, Opcode::Text, packet.len());
            socket.extend_from_slice(&packet);
            socket.extend_from_slice(attachments);
            Some(socket.into())
        });
    }

    /// The bytes for a WebSocket, by whether deflate was negotiated there. Once asked for, they
    /// never change: a socket may have taken half of them.
    pub(crate) fn wire(&self, deflate: bool) -> &Bytes {
        if deflate {
            self.deflated.get_or_init(|| None).as_ref().unwrap_or(&self.socket)
        } else {
            &self.socket
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.socket.is_empty()
    }

    /// The packets as they stand in a polling payload.
    pub(crate) fn polling(&self) -> &Bytes {
        if self.attachments.is_empty() {
            return &self.text;
        }
        self.polling.get_or_init(|| {
            let mut payload = self.text.to_vec();
            for attachment in &self.attachments {
                if !payload.is_empty() {
                    payload.push(SEPARATOR);
                }
                payload.push(b'b');
                payload.extend_from_slice(STANDARD.encode(attachment).as_bytes());
            }
            payload.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_ready_for_both_transports() {
        let frame = Frame::event("/", "news", &[1], Policy::Deliver).unwrap();
        assert_eq!(&frame.socket[..], b"\x81\x0e42[\"news\",[1]]");
        assert_eq!(&frame.polling()[..], b"42[\"news\",[1]]");
        assert_eq!(frame.data(), r#"["news",[1]]"#);
        let frame = Frame::event("/admin", "news", "x", Policy::Deliver).unwrap();
        assert_eq!(&frame.polling()[..], br#"42/admin,["news","x"]"#);
    }

    #[test]
    fn attachments_follow_their_packet() {
        let holder = serde_json::json!({ "_placeholder": true, "num": 0 });
        let data = Bytes::from_static(&[1, 2, 3, 4]);
        let frame = Frame::binary_event("/", "up", &[holder], vec![data], Policy::Deliver).unwrap();
        let text = br#"451-["up",{"_placeholder":true,"num":0}]"#;
        assert_eq!(&frame.socket[2..2 + text.len()], text);
        assert_eq!(&frame.socket[2 + text.len()..], [0x82, 4, 1, 2, 3, 4]);
        assert!(frame.polling().ends_with(b"\x1ebAQIDBA=="));
        assert_eq!(&Frame::binary(Bytes::from_static(&[1])).polling()[..], b"bAQ==");
    }

    #[test]
    fn events_without_arguments() {
        let frame = Frame::event_args::<u8>("/", "hi", &[], Policy::Deliver).unwrap();
        assert_eq!(frame.data(), r#"["hi"]"#);
    }
}
