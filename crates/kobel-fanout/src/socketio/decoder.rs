//! From Engine.IO messages to whole packets: JSON read, attachments gathered.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Kind, Packet, PacketError};

/// A whole packet from a client.
#[derive(Debug)]
pub enum Incoming {
    /// Join a namespace.
    Connect {
        /// The namespace.
        namespace: String,
        /// The `auth` object.
        auth: Option<Box<RawValue>>,
    },
    /// Leave a namespace.
    Disconnect {
        /// The namespace.
        namespace: String,
    },
    /// An event.
    Event {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its arguments; an attachment stands as `{"_placeholder":true,"num":n}`.
        args: Vec<Box<RawValue>>,
        /// The attachments, in their order.
        attachments: Vec<Bytes>,
        /// Present when the client wants an answer.
        ack: Option<u64>,
    },
    /// The answer to an event of ours.
    Ack {
        /// The namespace.
        namespace: String,
        /// Which event.
        id: u64,
        /// The answer.
        args: Vec<Box<RawValue>>,
        /// The attachments, in their order.
        attachments: Vec<Bytes>,
    },
}

impl Incoming {
    /// About how many bytes an event or an answer has, attachments included.
    pub fn size(&self) -> usize {
        match self {
            Self::Connect { namespace, .. } | Self::Disconnect { namespace } => namespace.len(),
            Self::Event { namespace, args, attachments, .. }
            | Self::Ack { namespace, args, attachments, .. } => {
                let args = args.iter().map(|arg| arg.get().len() + 1).sum::<usize>();
                namespace.len() + args + attachments.iter().map(Bytes::len).sum::<usize>()
            }
        }
    }
}

/// Puts packets and their attachments together. Holds memory only while attachments are due.
#[derive(Debug, Default)]
pub struct Decoder(Option<Box<Waiting>>);

#[derive(Debug)]
struct Waiting {
    packet: Incoming,
    due: usize,
    bytes: usize,
}

impl Decoder {
    /// Takes a text message.
    pub fn text(&mut self, text: &str) -> Result<Option<Incoming>, PacketError> {
        if self.0.is_some() {
            return Err(PacketError::Order);
        }
        let packet = Packet::parse(text)?;
        let namespace = packet.namespace.to_owned();
        let incoming = match packet.kind {
            Kind::Connect | Kind::Disconnect if packet.ack.is_some() => {
                return Err(PacketError::Payload);
            }
            Kind::Connect => Incoming::Connect { namespace, auth: object(packet.data)? },
            Kind::Disconnect => Incoming::Disconnect { namespace },
            Kind::Event | Kind::BinaryEvent => {
                let mut args = array(packet.data)?;
                if args.is_empty() {
                    return Err(PacketError::Payload);
                }
                let name = args.remove(0);
                // An event's name is a text; Node's client sends a number where one was given.
                let name = match serde_json::from_str::<serde_json::Value>(name.get()) {
                    Ok(serde_json::Value::String(name)) => name,
                    Ok(serde_json::Value::Number(name)) => name.to_string(),
                    _ => return Err(PacketError::Payload),
                };
                let (attachments, ack) = (Vec::new(), packet.ack);
                Incoming::Event { namespace, name, args, attachments, ack }
            }
            Kind::Ack | Kind::BinaryAck => {
                let (args, attachments) = (array(packet.data)?, Vec::new());
                let id = packet.ack.ok_or(PacketError::Ack)?;
                Incoming::Ack { namespace, id, args, attachments }
            }
            Kind::ConnectError => return Err(PacketError::Type),
        };
        if packet.attachments == 0 {
            return Ok(Some(incoming));
        }
        self.0 = Some(Box::new(Waiting { packet: incoming, due: packet.attachments, bytes: 0 }));
        Ok(None)
    }

    /// Takes a binary message; `limit` is the most bytes that a packet's attachments may have
    /// together.
    pub fn binary(&mut self, data: Bytes, limit: usize) -> Result<Option<Incoming>, PacketError> {
        let waiting = self.0.as_mut().ok_or(PacketError::Order)?;
        waiting.bytes += data.len();
        if waiting.bytes > limit {
            return Err(PacketError::TooLarge);
        }
        let (Incoming::Event { attachments, .. } | Incoming::Ack { attachments, .. }) =
            &mut waiting.packet
        else {
            return Err(PacketError::Order);
        };
        attachments.push(data);
        if attachments.len() < waiting.due {
            return Ok(None);
        }
        Ok(self.0.take().map(|waiting| waiting.packet))
    }
}

fn array(json: &str) -> Result<Vec<Box<RawValue>>, PacketError> {
    serde_json::from_str(json).map_err(|_| PacketError::Payload)
}

fn object(json: &str) -> Result<Option<Box<RawValue>>, PacketError> {
    if json.is_empty() {
        return Ok(None);
    }
    let raw: Box<RawValue> = serde_json::from_str(json).map_err(|_| PacketError::Payload)?;
    if raw.get().starts_with('{') { Ok(Some(raw)) } else { Err(PacketError::Payload) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gathers_several_attachments() {
        let mut decoder = Decoder::default();
        let text = r#"52-7["up",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert!(decoder.text(text).unwrap().is_none());
        assert!(decoder.binary(Bytes::from_static(&[1]), 10).unwrap().is_none());
        let whole = decoder.binary(Bytes::from_static(&[2, 3]), 10).unwrap().unwrap();
        let Incoming::Event { name, args, attachments, ack, .. } = whole else { panic!() };
        assert_eq!((name.as_str(), args.len(), ack), ("up", 2, Some(7)));
        assert_eq!(attachments, [&[1][..], &[2, 3]]);
        assert!(matches!(decoder.text("1"), Ok(Some(Incoming::Disconnect { .. }))));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for text in ["2", "2{}", "2[]", "2[{}]", "2[null]", "2[\"a\"", "3[]", "0[]", "4{}", "01"] {
            assert!(Decoder::default().text(text).is_err(), "{text}");
        }
        let attachment = || Bytes::from_static(&[0; 8]);
        assert_eq!(Decoder::default().binary(attachment(), 10).unwrap_err(), PacketError::Order);
        let mut decoder = Decoder::default();
        decoder.text(r#"52-["a"]"#).unwrap();
        assert_eq!(decoder.text(r#"2["a"]"#).unwrap_err(), PacketError::Order);
        decoder.binary(attachment(), 10).unwrap();
        assert_eq!(decoder.binary(attachment(), 10).unwrap_err(), PacketError::TooLarge);
    }

    #[test]
    fn deep_json_is_not_followed() {
        let deep = format!("2[\"a\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let Ok(Some(Incoming::Event { args, .. })) = Decoder::default().text(&deep) else {
            panic!()
        };
        // Whoever reads it further meets serde_json's own limit.
        assert!(serde_json::from_str::<serde_json::Value>(args[0].get()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(steps in prop::collection::vec((any::<bool>(), "[0-6]?[0-9]?-?.{0,30}"), 0..20)) {
            let mut decoder = Decoder::default();
            for (text, data) in steps {
                let _ = if text {
                    decoder.text(&data).map(drop)
                } else {
                    decoder.binary(Bytes::from(data), 100).map(drop)
                };
            }
        }
    }
}
