//! A Socket.IO client as a state machine without I/O: the bytes of its connection in, the bytes to
//! send and the events out. Small, since a process holds tens of thousands of them.
//!
//! [`websocket`] and [`polling`] are the transports; [`Core`] is what they share.

pub(crate) mod polling;
mod subscriptions;
pub(crate) mod websocket;

pub(crate) use subscriptions::{Emit, Subscriptions};

use crate::protocol::{
    ProtocolError,
    packet::{Packet, refusal, refused_answer},
    websocket::{Opcode, write},
};

/// What all sessions of a run have in common.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Path and the beginning of the query, `/socket.io/?EIO=4`.
    pub(crate) resource: String,
    /// The request's headers, each line ended.
    pub(crate) headers: String,
    /// The CONNECT packet.
    pub(crate) connect: String,
    /// What is emitted after the connect.
    pub(crate) subscriptions: Subscriptions,
}

/// Where a session's events go.
pub(crate) trait Sink {
    /// An event, as the JSON array of its name and arguments.
    fn event(&mut self, json: &[u8]);

    /// An attachment of the event before it, of so many bytes.
    fn attachment(&mut self, _len: usize) {}
}

/// Why a session ended or did not come to be. The text is what it is counted under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("http: status {0}")]
    Http(u16),
    #[error("connect refused: {0}")]
    Refused(String),
    #[error("subscribe refused: {0}")]
    Subscribe(String),
    #[error("closed by the server: WebSocket code {0}")]
    Closed(u16),
    #[error("closed by the server")]
    Ended,
    #[error("disconnected by the server")]
    Disconnected,
    #[error("{0}")]
    Io(String),
    #[error("timeout: not connected in time")]
    Timeout,
}

impl Failure {
    /// Whether the same attempt may succeed a second later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Subscribe(_) | Self::Protocol(_) => false,
            // Too many, too early, or a proxy without a server behind it.
            Self::Http(status) => matches!(status, 429 | 500..=599),
            _ => true,
        }
    }
}

/// Bytes to send, and the masks that they get.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    mask: u32,
}

impl Outgoing {
    pub(crate) fn new(seed: u32) -> Self {
        Self { bytes: Vec::new(), mask: seed | 1 }
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        // Marsaglia's xorshift: proxies must not be able to foresee what is on the wire of others
        // (RFC 6455, section 10.3), which is no danger in a measurement.
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        write(&mut self.bytes, opcode, payload, self.mask.to_le_bytes());
    }
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for the open packet.
    Opening,
    /// Waits for the answer to the CONNECT packet.
    Connecting,
    /// Waits for so many answers to what it emitted.
    Subscribing(u16),
    /// Receives.
    Live,
}

/// What does not depend on the transport.
#[derive(Debug)]
struct Core {
    /// The number of the connection in the run, over all processes.
    number: u32,
    state: State,
}

impl Core {
    fn new(number: u32) -> Self {
        Self { number, state: State::Opening }
    }

    /// Takes a packet; `reply` is given the packets to send.
    #[inline]
    fn packet(
        &mut self,
        text: &[u8],
        setup: &Setup,
        reply: &mut impl FnMut(&[u8]),
        sink: &mut impl Sink,
    ) -> Result<(), Failure> {
        match (Packet::read(text)?, self.state) {
            (Packet::Event(json), State::Live | State::Subscribing(_)) => sink.event(json),
            (Packet::Ping, _) => reply(b"3"),
            (Packet::Noop, _) => {}
            (Packet::Open(_), State::Opening) => {
                reply(setup.connect.as_bytes());
                self.state = State::Connecting;
            }
            (Packet::Connected, State::Connecting) => self.connected(setup, reply),
            (Packet::ConnectError(json), State::Connecting) => {
                return Err(Failure::Refused(refusal(json)));
            }
            (Packet::Ack(_, json), State::Subscribing(left)) => {
                if let Some(code) = refused_answer(json) {
                    return Err(Failure::Subscribe(code));
                }
                self.state = if left > 1 { State::Subscribing(left - 1) } else { State::Live };
            }
            (Packet::Disconnected, _) => return Err(Failure::Disconnected),
            (Packet::Close, _) => return Err(Failure::Ended),
            _ => return Err(ProtocolError::Unexpected.into()),
        }
        Ok(())
    }

    fn connected(&mut self, setup: &Setup, reply: &mut impl FnMut(&[u8])) {
        let acked = setup.subscriptions.acked();
        let mut emitted = 0;
        for packet in setup.subscriptions.packets(self.number) {
            reply(packet.as_bytes());
            emitted += 1;
        }
        self.state = if acked && emitted > 0 { State::Subscribing(emitted) } else { State::Live };
    }
}

#[cfg(test)]
pub(crate) mod support {
    use super::*;

    /// Keeps the events.
    #[derive(Default)]
    pub(crate) struct Heard(pub(crate) Vec<String>);

    impl Sink for Heard {
        fn event(&mut self, json: &[u8]) {
            self.0.push(String::from_utf8_lossy(json).into_owned());
        }
    }

    pub(crate) fn setup() -> Setup {
        let join = Emit { event: "join".into(), json: "\"room-{room}\"".into() };
        Setup {
            resource: "/socket.io/?EIO=4".into(),
            headers: "Host: hub:8000\r\n".into(),
            connect: "40{\"token\":\"t\"}".into(),
            subscriptions: Subscriptions { emits: vec![join], rooms: 10, ..Default::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{support::*, *};

    /// Runs packets through a session and gives what it sent, heard and how it stood.
    fn run(packets: &[&str]) -> (Vec<String>, Vec<String>, Result<State, Failure>) {
        let (mut core, mut heard, mut sent) = (Core::new(13), Heard::default(), Vec::new());
        let mut reply = |packet: &[u8]| sent.push(String::from_utf8_lossy(packet).into_owned());
        let done = packets
            .iter()
            .try_for_each(|text| core.packet(text.as_bytes(), &setup(), &mut reply, &mut heard));
        (sent, heard.0, done.map(|()| core.state))
    }

    #[test]
    fn connects_subscribes_listens_and_answers_pings() {
        let packets = [
            "0{\"sid\":\"a\"}",
            "40{\"sid\":\"b\"}",
            "42[\"early\"]",
            "430[]",
            "2",
            "42[\"a\",1]",
            "6",
        ];
        let (sent, heard, state) = run(&packets);
        assert_eq!(sent, ["40{\"token\":\"t\"}", "420[\"join\",\"room-3\"]", "3"]);
        assert_eq!(heard, ["[\"early\"]", "[\"a\",1]"]);
        assert_eq!(state, Ok(State::Live));
        assert_eq!(run(&packets[..3]).2, Ok(State::Subscribing(1)));
    }

    #[test]
    fn says_why_it_failed() {
        let refused = "44{\"message\":\"m\",\"data\":{\"code\":\"UNAUTHORIZED\"}}";
        let denied = "430[{\"ok\":false,\"error\":{\"code\":\"NOT_FOUND\"}}]";
        let (open, joined) = ("0{\"sid\":\"a\"}", "40{}");
        let unexpected = || Failure::Protocol(ProtocolError::Unexpected);
        for (packets, failure, passes) in [
            (&[open, refused][..], Failure::Refused("UNAUTHORIZED".into()), false),
            (&[open, joined, denied], Failure::Subscribe("NOT_FOUND".into()), false),
            (&[open, joined, "430[]", "41"], Failure::Disconnected, true),
            (&[open, "1"], Failure::Ended, true),
            (&[open, open], unexpected(), false),
            (&[joined], unexpected(), false),
            (&[open, "42[\"a\"]"], unexpected(), false),
            (&[open, joined, "430[]", "430[]"], unexpected(), false),
        ] {
            assert_eq!(failure.passes(), passes);
            assert_eq!(run(packets).2, Err(failure), "{packets:?}");
        }
        assert!(Failure::Http(503).passes() && !Failure::Http(404).passes());
    }
}
